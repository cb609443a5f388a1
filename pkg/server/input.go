package server

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
)

// MaxBody bounds a request's body, in bytes (docs/protocol.md, section 2).
const MaxBody = 10 << 20

const (
	// smallBody is what every request may have, in bytes: more than a certificate and a request usually
	// need together. Longer ones take turns, as thousands of connections could each hold one.
	smallBody = 16 << 10
	maxLarge  = 64
	// largeWait is how long a request waits for its turn.
	largeWait = 5 * time.Second
)

// enterLarge waits for this request's turn to have a long body. It lasts until leaveLarge.
func (x *Exchange) enterLarge() error {
	timeout := time.NewTimer(largeWait)
	defer timeout.Stop()
	select {
	case x.large <- struct{}{}:
		x.isLarge = true
		return nil
	case <-timeout.C:
		return Refuse(http.StatusServiceUnavailable, "too many long requests at once, try again")
	case <-x.Request.Context().Done():
		return Refuse(http.StatusServiceUnavailable, "given up")
	}
}

func (x *Exchange) leaveLarge() {
	if x.isLarge {
		<-x.large
	}
}

// Body reads the request's body, of which at most keep bytes are acceptable. More is read, up to
// MaxBody, to tell 400 from 413, but not kept: what strangers can make us remember must not grow with
// that limit. Compressed bodies are refused, not inflated.
func (x *Exchange) Body(keep int64) ([]byte, error) {
	if enc := x.Request.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, Refuse(http.StatusUnsupportedMediaType, "Content-Encoding is not supported")
	}
	limited := http.MaxBytesReader(x.w.ResponseWriter, x.Request.Body, MaxBody)
	data, err := io.ReadAll(io.LimitReader(limited, smallBody))
	if err == nil && len(data) == smallBody {
		if err := x.enterLarge(); err != nil {
			return nil, err
		}
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(limited, keep+1-smallBody))
		data = append(data, rest...)
	}
	if err == nil && int64(len(data)) > keep {
		if _, err = io.Copy(io.Discard, limited); err == nil {
			return nil, Refuse(http.StatusBadRequest, "body is longer than %d bytes", keep)
		}
	}
	if err != nil {
		return nil, bodyError(err)
	}
	return data, nil
}

// bodyError says what kept a body from being read: its size, its slowness, or anything
// else, such as chunks that are not.
func bodyError(err error) error {
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Refuse(http.StatusRequestTimeout, "body did not arrive in time")
	}
	return Refuse(http.StatusBadRequest, "body cannot be read")
}

// ContentType demands that the body be declared as want. Parameters are accepted, except
// for a charset that is not UTF-8; the reference refuses all of them.
func (x *Exchange) ContentType(want string) error {
	values := x.Request.Header.Values("Content-Type")
	if len(values) == 1 {
		got, params, err := mime.ParseMediaType(values[0])
		if charset, ok := params["charset"]; err == nil && got == want && (!ok || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return Refuse(http.StatusBadRequest, "Content-Type must be %s", want)
}

func isDecimal(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
