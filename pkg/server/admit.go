package server

import (
	"net/http"
)

// errBusy is for whoever comes when everything is taken by those who make use of it.
var errBusy = Refuse(http.StatusServiceUnavailable, "too many requests at once, try again")

// maxRefusing is how many answers that there is no room a connection may have under way. A peer that takes
// none of them is told no more.
const maxRefusing = 2

// admit reports whether there is room for the request, and answers it if there is none, or if it should not
// be looked at any further.
func (s *Server) admit(x *Exchange) bool {
	if x.conn != nil && x.conn.ambiguous.Load() {
		s.limited("ambiguous_framing")
		x.Header().Set("Connection", "close")
		s.fail(x, Refuse(http.StatusBadRequest, "Content-Length and Transfer-Encoding exclude each other"))
		return false
	}
	s.judge(x)
	if s.ledger.take(x.conn, ofHandlers, 1) {
		x.handlers = 1
		return true
	}
	if x.Request.ProtoMajor == 1 {
		s.fail(x, errBusy)
		return false
	}
	// Without a body, which would wait for the peer to make room for it.
	if x.conn.refusing.Add(1) > maxRefusing {
		x.conn.refusing.Add(-1)
		x.w.status = http.StatusServiceUnavailable
		panic(http.ErrAbortHandler)
	}
	defer x.conn.refusing.Add(-1)
	x.Header().Set("Retry-After", retryAfter)
	_ = x.Empty(http.StatusServiceUnavailable)
	return false
}

// dismiss gives back what the request has taken.
func (s *Server) dismiss(x *Exchange) {
	s.ledger.give(x.conn, ofBodies, x.holds)
	s.ledger.give(x.conn, ofHandlers, x.handlers)
	s.ledger.settle(x)
}

// judge finds out, once for each connection, whether it is a user's, for whom there is room that strangers
// cannot take. It opens no door: who may do what is found out for each request.
func (s *Server) judge(x *Exchange) {
	if x.conn == nil || !x.Secure() || len(x.Request.TLS.PeerCertificates) == 0 || x.conn.judged.Swap(true) {
		return
	}
	for _, front := range s.cfg.FrontEnds {
		if _, err := front.Identify(x.Request.Context(), x.actor, x.Request.TLS.PeerCertificates[0]); err == nil {
			s.ledger.know(x.conn, true)
			s.handshakes.know(x.actor.Address, now())
			return
		}
	}
}

// isUser reports whether the request came over a user's connection.
func (x *Exchange) isUser() bool {
	if x.conn == nil {
		return false
	}
	x.server.ledger.mu.Lock()
	defer x.server.ledger.mu.Unlock()
	return x.conn.user
}

// mayWrite refuses what an address that shows no user's certificate writes too often.
func (s *Server) mayWrite(x *Exchange) error {
	if x.route.Method == http.MethodGet || s.writes == nil || x.isUser() {
		return nil
	}
	wait := s.writes.take(x.peer, now())
	if wait <= 0 {
		return nil
	}
	s.limited("write_rate")
	return &refusal{Problem{Status: http.StatusTooManyRequests, RetryAfter: wait,
		Reason: "too many requests of this address that write, try again later"}}
}
