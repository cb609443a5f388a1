package server

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/audit"
)

// Content types that front-ends have in common.
const (
	TypeJSON = "application/json"
	TypeText = "text/plain; charset=utf-8"
	TypeForm = "application/x-www-form-urlencoded"
)

// Values of Cache-Control.
const (
	NoStore    = "no-store"
	onlyCaller = "private"
)

// An Exchange is one request and its answer, on their way through the stages.
type Exchange struct {
	Request *http.Request

	w         *recorder
	requestID string
	front     FrontEnd // whose path this is

	route  *Route      // nil until one is found
	params parameters  // what stands for {…} in the route's path
	access Access      // the route's, or what its handler has narrowed it to
	actor  audit.Actor // who asks, as far as known
	peer   peer        // of its address

	server     *Server
	conn       *conn     // nil in tests without a network
	waitsSince time.Time // since when it waits for its peer, zero while it does not; the ledger's lock guards it
	holds      int64     // bytes of its body that the ledger knows
	handlers   int64     // places among the requests that it has

	parked bool          // waits for news; the ledger's lock guards it
	shed   chan struct{} // closed when it may no longer; nil if it never has
	ended  bool          // it was closed
	waited time.Duration // for that, altogether

	awaited bool    // has asked to wait
	outcome Outcome // of the last time

	// What most exchanges need, in one piece of memory.
	recorder   recorder
	ids        [1]string
	path       [8]string
	parameters [4]parameter
}

// unixAddress stands for the addresses of all who come over Unix sockets: what is before those may speak for the whole world, and
// limits per address are about all of them together.
const unixAddress = "unix"

// anonymous is the sender before it has shown who it is.
func anonymous(r *http.Request, requestID string) audit.Actor {
	if r.RemoteAddr == "" || r.RemoteAddr == "@" {
		return audit.Actor{Kind: audit.Anonymous, Address: unixAddress, RequestID: requestID}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return audit.Actor{Kind: audit.Anonymous, Address: host, RequestID: requestID}
}

// Header is the header of the answer, until that begins.
func (x *Exchange) Header() http.Header { return x.w.Header() }

// Param returns what stands in the path for this parameter of the route's.
func (x *Exchange) Param(name string) string { return x.params.value(name) }

// Actor is who asks, as far as that is known yet.
func (x *Exchange) Actor() audit.Actor { return x.actor }

// Secure reports whether the request came over TLS.
func (x *Exchange) Secure() bool { return x.Request.TLS != nil }

// Vary declares that the answer depends on this header of the request.
func (x *Exchange) Vary(header string) {
	h := x.Header()
	if slices.Contains(h["Vary"], header) {
		return
	}
	h.Add("Vary", header)
}

// Narrow settles which of the two callers of a HolderOrUser route the message is from. On any other
// route, and with anything else, nobody may call it.
func (x *Exchange) Narrow(to Access) {
	if x.access != HolderOrUser || to != Holder && to != User {
		to = undeclared
	}
	x.access = to
}

// Reply answers with a body, whose length it announces: peers written against the reference expect
// it.
func (x *Exchange) Reply(status int, contentType string, body []byte) error {
	h := x.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	return x.send(status, body)
}

func (x *Exchange) send(status int, body []byte) error {
	x.w.WriteHeader(status)
	if x.Request.Method != http.MethodHead {
		// If the peer has gone, nobody is left to tell.
		_, _ = x.w.Write(body)
	}
	return nil
}

// Empty answers without a body.
func (x *Exchange) Empty(status int) error {
	x.w.WriteHeader(status)
	return nil
}

// linger reads some of a body that was refused for its size. Closing a connection with unread data
// resets it, and the reset can overtake the answer that says why; a peer that sends first and reads
// later would never see it. Once more MaxBody is the limit.
func (x *Exchange) linger() {
	if x.Request.Header.Get("Expect") != "" {
		return // this one waits for a go-ahead before it sends anything
	}
	if err := http.NewResponseController(x.w).Flush(); err == nil {
		_, _ = io.CopyN(io.Discard, x.paced(x.Request.Body), MaxBody)
	}
}

// Accepts reports whether the request asks for this media type by name. A wildcard does not count:
// every client sends one.
func (x *Exchange) Accepts(mediaType string) bool {
	for _, value := range x.Request.Header.Values("Accept") {
		for item := range strings.SplitSeq(value, ",") {
			name, parameters, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), mediaType) && !refusesByWeight(parameters) {
				return true
			}
		}
	}
	return false
}

// refusesByWeight reports whether the parameters of a media range say "not this one": a weight of
// zero (RFC 9110 12.4.2).
func refusesByWeight(parameters string) bool {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			weight, err := strconv.ParseFloat(value, 64)
			return err != nil || weight <= 0
		}
	}
	return false
}
