package server

import (
	"net"
	"net/http"
	"strconv"

	"cauase/pkg/audit"
)

// Content types of answers.
const (
	typeCRL    = "application/pkix-crl"
	typeCSR    = "application/pkcs10"
	typeCRT    = "application/pkix-cert"
	typeCACRT  = "application/x-x509-ca-cert"
	typeJSON   = "application/json"
	typeHAL    = "application/hal+json"
	typeHTML   = "text/html; charset=utf-8"
	typeText   = "text/plain; charset=utf-8"
	typeForm   = "application/x-www-form-urlencoded"
	noStore    = "no-store"
	onlyCaller = "private"
)

// An exchange is one request and its answer, on their way through the stages.
type exchange struct {
	r         *http.Request
	w         *recorder
	requestID string
	path      []string // components of the decoded path

	route  *route      // nil until one is found
	param  string      // what stands for {…} in the route's path
	access access      // the route's, or what prepare has narrowed it to
	actor  audit.Actor // who asks, as far as known

	lists   *listTexts    // the server's
	large   chan struct{} // the server's turns for long bodies
	isLarge bool          // has one
}

// anonymous is the sender before it has shown who it is.
func anonymous(r *http.Request, requestID string) audit.Actor {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return audit.Actor{Kind: audit.Anonymous, Address: host, RequestID: requestID}
}

func (x *exchange) authority() Authority { return x.route.authority }

// reply answers with a body, whose length it announces: peers written against the
// reference expect it.
func (x *exchange) reply(status int, contentType string, body []byte) error {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	// If the peer has gone, nobody is left to tell.
	_, _ = x.w.Write(body)
	return nil
}

// empty answers without a body.
func (x *exchange) empty(status int) error {
	x.w.WriteHeader(status)
	return nil
}

// A recorder is a ResponseWriter that remembers what the access log wants to know.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the header is written
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
