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
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		lists, err := a.CRLs(ctx)
		if err != nil {
			return err
		}
		var body sequence
		for i, list := range lists {
			if i > 0 {
				body = append(body, pki.Octets{[]byte("\n")})
			}
			body = append(body, pki.CRLText(list.Octets))
		}
		return replyLists(x, lists, body)
	}, nil
}

func (f *FrontEnd) getCRL(x *server.Exchange) (server.Perform, error) {
	return f.readCRL(x, func(list ca.List) sequence { return sequence{pki.CRLText(list.Octets)} })
}

func (f *FrontEnd) getCRLDER(x *server.Exchange) (server.Perform, error) {
	return f.readCRL(x, func(list ca.List) sequence { return sequence{list.Octets} })
}

func (f *FrontEnd) readCRL(x *server.Exchange, encode func(ca.List) sequence) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	keyID, err := pathKeyID(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		list, err := a.CRL(ctx, keyID)
		if err != nil {
			return err
		}
		return replyLists(x, []ca.List{list}, encode(list))
	}, nil
}

// replyLists answers with lists, of which there is one copy in memory for all who ask, in whatever
// form. Their number tells one state from another; hashing megabytes for every host that asks would not be cheap.
func replyLists(x *server.Exchange, lists []ca.List, body sequence) error {
	var newest ca.List
	for i, l := range lists {
		if i == 0 || l.Number > newest.Number {
			newest = l
		}
	}
	etag := fmt.Sprintf(`"%d-%d-%d"`, newest.Number, newest.ThisUpdate.Unix(), body.Size())
	return x.ReplyTagged(typeCRL, etag, newest.Modified, io.NewSectionReader(body, 0, body.Size()))
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
