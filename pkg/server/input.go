package server

import (
	"errors"
	"io"
	"math/big"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/pki"
)

// maxBody bounds a request's body, in bytes (docs/protocol.md, section 2).
const maxBody = 10 << 20

// What is kept of a body, in bytes. More is read, up to maxBody, to tell 400 from 413, but
// not kept: what strangers can make us remember must not grow with the protocol's limit.
const (
	keepCSR = pki.MaxCSRSize
	// keepEnvelope is room for a certificate and a request, each at its limit and with
	// its line ends escaped twice.
	keepEnvelope = 1 << 20
	keepForm     = 64 << 10
)

const (
	// smallBody is what every request may have, in bytes: more than a certificate and a request usually
	// need together. Longer ones take turns, as thousands of connections could each hold one.
	smallBody = 16 << 10
	maxLarge  = 64
	// largeWait is how long a request waits for its turn.
	largeWait = 5 * time.Second
)

// enterLarge waits for this request's turn to have a long body. It lasts until leaveLarge.
func (x *exchange) enterLarge() error {
	timeout := time.NewTimer(largeWait)
	defer timeout.Stop()
	select {
	case x.large <- struct{}{}:
		x.isLarge = true
		return nil
	case <-timeout.C:
		return refuse(http.StatusServiceUnavailable, "too many long requests at once, try again")
	case <-x.r.Context().Done():
		return x.r.Context().Err()
	}
}

func (x *exchange) leaveLarge() {
	if x.isLarge {
		<-x.large
	}
}

// body reads the request's body, of which at most keep bytes are acceptable. Compressed
// bodies are refused, not inflated.
func (x *exchange) body(keep int64) ([]byte, error) {
	if enc := x.r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding is not supported")
	}
	limited := http.MaxBytesReader(x.w.ResponseWriter, x.r.Body, maxBody)
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
			return nil, refuse(http.StatusBadRequest, "body is longer than %d bytes", keep)
		}
	}
	if err != nil {
		return nil, bodyError(err)
	}
	return data, nil
}

// bodyError tells what kept a body from being read: its size, its slowness, or anything
// else, such as chunks that are not.
func bodyError(err error) error {
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "body did not arrive in time")
	}
	return refuse(http.StatusBadRequest, "body cannot be read")
}

// contentType demands that the body be declared as want. Parameters are accepted, except
// for a charset that is not UTF-8; the reference refuses all of them.
func (x *exchange) contentType(want string) error {
	values := x.r.Header.Values("Content-Type")
	if len(values) == 1 {
		got, params, err := mime.ParseMediaType(values[0])
		if charset, ok := params["charset"]; err == nil && got == want && (!ok || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return refuse(http.StatusBadRequest, "Content-Type must be %s", want)
}

// id reads the path parameter as the id of a request or certificate. Every integer is an
// id; one that was never given out is simply unknown.
func (x *exchange) id() (int64, error) {
	digits := strings.TrimLeft(x.param, "+-")
	if digits == "" || len(x.param)-len(digits) > 1 || !isDecimal(digits) {
		return 0, refuse(http.StatusBadRequest, "id is not an integer")
	}
	id, err := strconv.ParseInt(x.param, 10, 64)
	if err != nil || id < 0 {
		return 0, errNotFound
	}
	return id, nil
}

// maxKeyID bounds the decimal digits of an authority key identifier. RFC 5280 4.2.1.2
// makes them of 20 bytes, other software of 32.
const maxKeyID = 200

// keyID reads the path parameter as an authority key identifier. What is none is not
// found, rather than refused, as in the reference.
func (x *exchange) keyID() (*big.Int, error) {
	if len(x.param) > maxKeyID || !isDecimal(x.param) {
		return nil, errNotFound
	}
	aki, ok := new(big.Int).SetString(x.param, 10)
	if !ok {
		return nil, errNotFound
	}
	return aki, nil
}

func isDecimal(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
