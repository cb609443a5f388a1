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

// firstBuffer is what every body is read into at first, in bytes: more than most requests have.
const firstBuffer = 4 << 10

// Body reads the request's body, of which at most keep bytes are acceptable. More is read, up to
// MaxBody, to tell 400 from 413, but not kept: what strangers can make us remember must not grow with
// that limit. Compressed bodies are refused, not inflated.
func (x *Exchange) Body(keep int64) ([]byte, error) {
	if enc := x.Request.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, Refuse(http.StatusUnsupportedMediaType, "Content-Encoding is not supported")
	}
	limited := x.paced(http.MaxBytesReader(x.w.ResponseWriter, x.Request.Body, MaxBody))
	var data []byte
	var err error
	for err == nil && int64(len(data)) <= keep {
		if len(data) == cap(data) {
			if data, err = x.grow(data, keep+1); err != nil {
				return nil, err
			}
		}
		var n int
		n, err = limited.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
	}
	if err == nil {
		if _, err = io.Copy(io.Discard, limited); err == nil {
			err = io.EOF
		}
	}
	switch {
	case !errors.Is(err, io.EOF):
		return nil, bodyError(err)
	case int64(len(data)) > keep: // also if its end came along with the byte that is too many
		return nil, Refuse(http.StatusBadRequest, "body is longer than %d bytes", keep)
	}
	return data, nil
}

// grow returns data with more room, at most limit bytes, which the ledger knows of.
func (x *Exchange) grow(data []byte, limit int64) ([]byte, error) {
	size := min(max(2*int64(cap(data)), firstBuffer), limit)
	if !x.server.ledger.take(x.conn, ofBodies, size-x.holds) {
		return nil, errBusy
	}
	x.holds = size
	return append(make([]byte, 0, size), data...), nil
}

// A pacedReader reads from a peer that has to send at a certain pace.
type pacedReader struct {
	x     *Exchange
	from  io.Reader
	start time.Time
	moved int64
}

// paced returns a reader of the request's body, or of what is left of it, with the pace that bodies have.
func (x *Exchange) paced(body io.Reader) *pacedReader {
	return &pacedReader{x: x, from: body, start: now()}
}

func (r *pacedReader) Read(p []byte) (n int, err error) {
	timeouts := r.x.server.cfg.timeouts
	r.deadline(timeouts.body.deadline(now(), r.start, r.moved))
	// Since it began, not since the last byte: a byte now and then is no reason to be waited for.
	r.x.conn.waitFor(r.x, r.start, func() { n, err = r.from.Read(p) })
	r.moved += int64(n)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.x.server.limited("slow_body")
	case err != nil:
		// What is done with the body may take longer than the body.
		r.deadline(now().Add(timeouts.exchange))
	}
	return n, err
}

func (r *pacedReader) deadline(at time.Time) {
	_ = http.NewResponseController(r.x.w.ResponseWriter).SetReadDeadline(at) // tests have writers without
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
	if len(values) == 1 && values[0] == want {
		return nil
	}
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
