package caucase

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/store"
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
		var parts segments
		for i, pem := range f.lists.pem(a.Name(), lists) {
			if i > 0 {
				parts = append(parts, []byte("\n"))
			}
			parts = append(parts, pem)
		}
		return replyLists(x, lists, parts)
	}, nil
}

func (f *FrontEnd) getCRL(x *server.Exchange) (server.Perform, error) {
	return f.readCRL(x, func(a Authority, list ca.List) segments {
		return f.lists.pem(a.Name(), []ca.List{list})
	})
}

func (f *FrontEnd) getCRLDER(x *server.Exchange) (server.Perform, error) {
	return f.readCRL(x, func(_ Authority, list ca.List) segments { return segments{list.DER} })
}

func (f *FrontEnd) readCRL(x *server.Exchange, encode func(Authority, ca.List) segments) (server.Perform, error) {
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
		return replyLists(x, []ca.List{list}, encode(a, list))
	}, nil
}

// replyLists answers with lists. Their number tells one state from another; hashing megabytes for
// every host that asks would not be cheap.
func replyLists(x *server.Exchange, lists []ca.List, body segments) error {
	var newest ca.List
	for i, l := range lists {
		if i == 0 || l.Number > newest.Number {
			newest = l
		}
	}
	etag := fmt.Sprintf(`"%d-%d-%d"`, newest.Number, newest.ThisUpdate.Unix(), body.size())
	return x.ReplyTagged(typeCRL, etag, newest.Modified, &segmentReader{parts: body, size: body.size()})
}

// encodedLists are revocation lists as PEM: each is encoded when it is first asked for, once. The
// zero value is empty.
type encodedLists struct {
	mu sync.Mutex
	of map[store.AuthorityName]*authorityLists
}

// authorityLists are those of one authority.
type authorityLists struct {
	mu    sync.Mutex             // held while a list is encoded: for the others who want it
	lists map[string]encodedList // by the CA's key identifier
}

type encodedList struct {
	number     int64
	thisUpdate time.Time
	size       int // of the DER
	pem        []byte
}

// pem returns lists of an authority's as PEM. The result is shared by all who ask.
func (e *encodedLists) pem(name store.AuthorityName, lists []ca.List) segments {
	e.mu.Lock()
	if e.of == nil {
		e.of = make(map[store.AuthorityName]*authorityLists)
	}
	known := e.of[name]
	if known == nil {
		known = &authorityLists{lists: make(map[string]encodedList)}
		e.of[name] = known
	}
	e.mu.Unlock()

	known.mu.Lock()
	defer known.mu.Unlock()
	parts := make(segments, len(lists))
	for i, l := range lists {
		parts[i] = known.pem(l)
	}
	return parts
}

func (k *authorityLists) pem(l ca.List) []byte {
	have, ok := k.lists[string(l.KeyID)]
	if ok && have.number == l.Number && have.thisUpdate.Equal(l.ThisUpdate) && have.size == len(l.DER) {
		return have.pem
	}
	// The lists of a CA that has expired are asked for no more, and need not be kept.
	for keyID, other := range k.lists {
		if other.number < l.Number {
			delete(k.lists, keyID)
		}
	}
	made := encodedList{l.Number, l.ThisUpdate, len(l.DER), pki.EncodeCRLPEM(l.DER)}
	k.lists[string(l.KeyID)] = made
	return made.pem
}

// segments are a body in parts, which may be long and are not to be copied together.
type segments [][]byte

func (s segments) size() (n int64) {
	for _, part := range s {
		n += int64(len(part))
	}
	return n
}

// A segmentReader reads segments one after another.
type segmentReader struct {
	parts segments
	size  int64
	at    int64
}

func (r *segmentReader) Read(p []byte) (int, error) {
	skip := r.at
	for _, part := range r.parts {
		if skip < int64(len(part)) {
			n := copy(p, part[skip:])
			r.at += int64(n)
			return n, nil
		}
		skip -= int64(len(part))
	}
	return 0, io.EOF
}

func (r *segmentReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("caucase: seek to %d", offset)
	}
	r.at = offset
	return offset, nil
}
