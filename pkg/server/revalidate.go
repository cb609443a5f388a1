package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
)

// revalidate lets caches keep a copy, but ask each time whether it is still the one: a
// revocation must be seen at once, and asking costs next to nothing.
const revalidate = "public, no-cache"

// replyCached answers with a body that the peer may have already (RFC 9110 13): 304 then. A
// modified time of zero is not announced. The time a peer sends back must be exactly ours, not any
// later one: ours goes back when the clock is set back.
func (x *exchange) replyCached(contentType, etag string, modified time.Time, body []byte) error {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", revalidate)
	h.Set("ETag", etag)
	if since := x.r.Header.Get("If-Modified-Since"); since != modified.UTC().Format(http.TimeFormat) {
		x.r.Header.Del("If-Modified-Since")
	}
	http.ServeContent(x.w, x.r, "", modified, bytes.NewReader(body))
	return nil
}

// readLists makes the route of revocation lists, PEM, with an empty line between them. Their number
// tells one from another; hashing megabytes for every host that asks would not be cheap.
func readLists(x *exchange, get func(context.Context) ([]ca.List, error)) (perform, error) {
	return func(ctx context.Context, _ audit.Actor) error {
		lists, err := get(ctx)
		if err != nil {
			return err
		}
		text, first := x.lists.text(lists), lists[0]
		etag := fmt.Sprintf(`"%d-%d-%d"`, first.Number, first.ThisUpdate.Unix(), len(text))
		return x.replyCached(typeCRL, etag, first.Modified, text)
	}, nil
}

// listTexts keeps the text of the lists that are served: of a long one it takes a while to write.
type listTexts struct {
	mu     sync.Mutex
	served []listText
}

type listText struct {
	of   []ca.List
	text []byte
}

// maxListTexts is how many are kept: each authority's, together and one by one.
const maxListTexts = 32

func (c *listTexts) text(lists []ca.List) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.served {
		if slices.EqualFunc(s.of, lists, func(a, b ca.List) bool { return &a.DER[0] == &b.DER[0] }) {
			return s.text
		}
	}
	texts := make([][]byte, len(lists))
	for i, l := range lists {
		texts[i] = pki.EncodeCRLPEM(l.DER)
	}
	text := texts[0]
	if len(texts) > 1 {
		text = bytes.Join(texts, []byte("\n"))
	}
	// What one of the same CAs said before is served no more.
	c.served = slices.DeleteFunc(c.served, func(s listText) bool {
		return slices.EqualFunc(s.of, lists, func(a, b ca.List) bool { return bytes.Equal(a.KeyID, b.KeyID) })
	})
	if len(c.served) == maxListTexts {
		c.served = c.served[1:]
	}
	c.served = append(c.served, listText{lists, text})
	return text
}

// readCached makes the route of something small that rarely changes.
func readCached(x *exchange, contentType string, get func(context.Context) ([]byte, error)) (perform, error) {
	return func(ctx context.Context, _ audit.Actor) error {
		data, err := get(ctx)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		return x.replyCached(contentType, `"`+hex.EncodeToString(sum[:16])+`"`, time.Time{}, data)
	}, nil
}
