package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
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

// readList makes the route of revocation lists. Their number tells one from another; hashing
// megabytes for every host that asks would not be cheap.
func readList(x *exchange, get func(context.Context) (ca.List, error)) (perform, error) {
	return func(ctx context.Context, _ audit.Actor) error {
		list, err := get(ctx)
		if err != nil {
			return err
		}
		etag := fmt.Sprintf(`"%d-%d-%d"`, list.Number, list.ThisUpdate.Unix(), len(list.PEM))
		return x.replyCached(typeCRL, etag, list.Modified, list.PEM)
	}, nil
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
