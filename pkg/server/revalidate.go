package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"time"
)

// revalidate lets caches keep a copy, but ask each time whether it is still the one: a
// revocation must be seen at once, and asking costs next to nothing.
const revalidate = "public, no-cache"

// ReplyTagged answers with a body that the peer may have already (RFC 9110 13): 304 then. A
// modified time of zero is not announced. The time a peer sends back must be exactly ours, not any
// later one: ours goes back when the clock is set back.
func (x *Exchange) ReplyTagged(contentType, etag string, modified time.Time, body io.ReadSeeker) error {
	h := x.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", revalidate)
	h.Set("ETag", etag)
	if since := x.Request.Header.Get("If-Modified-Since"); since != modified.UTC().Format(http.TimeFormat) {
		x.Request.Header.Del("If-Modified-Since")
	}
	http.ServeContent(x.w, x.Request, "", modified, body)
	return nil
}

// ReplyCached does so with something small that rarely changes, and is its own tag.
func (x *Exchange) ReplyCached(contentType string, body []byte) error {
	sum := sha256.Sum256(body)
	return x.ReplyTagged(contentType, `"`+hex.EncodeToString(sum[:16])+`"`, time.Time{}, bytes.NewReader(body))
}
