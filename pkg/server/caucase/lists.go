package caucase

import (
	"context"
	"fmt"
	"io"
	"math/big"
	"sync"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

const typeCRL = "application/pkix-crl"

// A listForm is a form in which lists are served.
type listForm int

const (
	allLists listForm = iota // PEM of all CAs' lists, oldest CA first, with an empty line between them
	listText                 // PEM of one
	listDER
)

func (f *FrontEnd) getCRLs(x *server.Exchange) (server.Perform, error) {
	return f.getLists(x, allLists)
}

func (f *FrontEnd) getCRL(x *server.Exchange) (server.Perform, error) { return f.getLists(x, listText) }

func (f *FrontEnd) getCRLDER(x *server.Exchange) (server.Perform, error) {
	return f.getLists(x, listDER)
}

// getLists answers with the lists of all CAs that are valid, or with that of the one in the path.
func (f *FrontEnd) getLists(x *server.Exchange, form listForm) (server.Perform, error) {
	if _, err := f.authority(x); err != nil {
		return nil, err
	}
	wanted := listQuery{form: form}
	if form != allLists {
		var err error
		if wanted.keyID, err = pathKeyID(x); err != nil {
			return nil, err
		}
	}
	poll, err := f.readPoll(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error { return f.serveLists(ctx, x, poll, wanted) }, nil
}

// A listQuery says which lists are asked for, and in what form.
type listQuery struct {
	form  listForm
	keyID *big.Int // of the one CA whose list is asked for; nil: of all
}

func (q listQuery) read(ctx context.Context, a Core) ([]ca.List, error) {
	if q.keyID == nil {
		return a.CRLs(ctx)
	}
	list, err := a.CRL(ctx, q.keyID)
	if err != nil {
		return nil, err
	}
	return []ca.List{list}, nil
}

// answer returns the answer with lists, of which there is one copy in memory for all who ask, in whatever form. It is made once for
// as long as they are served.
func (q listQuery) answer(lists []ca.List) (*server.Kept, error) {
	var made *sync.Map
	if len(lists) > 0 {
		made = lists[0].Made
	}
	if made != nil {
		if kept, found := made.Load(q.form); found {
			return kept.(*server.Kept), nil
		}
	}
	body := q.body(lists)
	kept, err := server.NewKept(typeCRL, listsTag(lists, body), newest(lists).Modified, body, body.Size())
	if err == nil && made != nil {
		made.Store(q.form, kept)
	}
	return kept, err
}

func (q listQuery) body(lists []ca.List) (body sequence) {
	for i, list := range lists {
		if i > 0 {
			body = append(body, pki.Octets{[]byte("\n")})
		}
		if q.form == listDER {
			body = append(body, list.Octets)
			continue
		}
		body = append(body, pki.CRLText(list.Octets))
	}
	return body
}

// newest returns the list with the highest number, the zero List if there is none.
func newest(lists []ca.List) (newest ca.List) {
	for i, l := range lists {
		if i == 0 || l.Number > newest.Number {
			newest = l
		}
	}
	return newest
}

// listsTag tells one state of lists from another by their number; hashing megabytes for every host that asks would not
// be cheap. Those of CAs that are kept elsewhere may have a number each.
func listsTag(lists []ca.List, body sequence) string {
	of := newest(lists)
	tag := fmt.Sprintf("%d-%d-%d", of.Number, of.ThisUpdate.Unix(), body.Size())
	for _, l := range lists {
		if l.Number != of.Number {
			tag += fmt.Sprintf("-%d-%d", l.Number, l.ThisUpdate.Unix())
		}
	}
	return `"` + tag + `"`
}

// A sized text can be read from anywhere. Reading changes nothing in it, so that any number of requests can.
type sized interface {
	io.ReaderAt
	Size() int64
}

// A sequence is texts one after the other.
type sequence []sized

func (s sequence) Size() (n int64) {
	for _, text := range s {
		n += text.Size()
	}
	return n
}

// ReadAt is that of io.ReaderAt.
func (s sequence) ReadAt(p []byte, at int64) (n int, err error) {
	for _, text := range s {
		size := text.Size()
		if at < size {
			got, err := text.ReadAt(p[n:min(int64(len(p)), int64(n)+size-at)], at)
			n += got
			if err != nil || n == len(p) {
				return n, err
			}
			at = size
		}
		at -= size
	}
	return n, io.EOF
}
