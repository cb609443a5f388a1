package caucase

import (
	"context"
	"fmt"
	"io"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

const typeCRL = "application/pkix-crl"

// getCRLs answers with the lists of all CAs that are valid, oldest CA first, with an empty line
// between them.
func (f *FrontEnd) getCRLs(x *server.Exchange) (server.Perform, error) {
	if _, err := f.authority(x); err != nil {
		return nil, err
	}
	poll, err := f.readPoll(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		return f.serveLists(ctx, x, poll, func(ctx context.Context, a Core) ([]ca.List, sequence, error) {
			lists, err := a.CRLs(ctx)
			var body sequence
			for i, list := range lists {
				if i > 0 {
					body = append(body, pki.Octets{[]byte("\n")})
				}
				body = append(body, pki.CRLText(list.Octets))
			}
			return lists, body, err
		})
	}, nil
}

func (f *FrontEnd) getCRL(x *server.Exchange) (server.Perform, error) {
	return f.readCRL(x, func(list ca.List) sequence { return sequence{pki.CRLText(list.Octets)} })
}

func (f *FrontEnd) getCRLDER(x *server.Exchange) (server.Perform, error) {
	return f.readCRL(x, func(list ca.List) sequence { return sequence{list.Octets} })
}

func (f *FrontEnd) readCRL(x *server.Exchange, encode func(ca.List) sequence) (server.Perform, error) {
	if _, err := f.authority(x); err != nil {
		return nil, err
	}
	keyID, err := pathKeyID(x)
	if err != nil {
		return nil, err
	}
	poll, err := f.readPoll(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		return f.serveLists(ctx, x, poll, func(ctx context.Context, a Core) ([]ca.List, sequence, error) {
			list, err := a.CRL(ctx, keyID)
			if err != nil {
				return nil, nil, err
			}
			return []ca.List{list}, encode(list), nil
		})
	}, nil
}

// replyLists answers with lists, of which there is one copy in memory for all who ask, in whatever
// form.
func replyLists(x *server.Exchange, lists []ca.List, body sequence) error {
	return x.ReplyTagged(typeCRL, listsTag(lists, body), newest(lists).Modified, io.NewSectionReader(body, 0, body.Size()))
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
