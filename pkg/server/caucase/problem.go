package caucase

import (
	"context"
	"errors"
	"net/http"

	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/ledger"
	"cauase/pkg/pki"
	"cauase/pkg/proof"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// A class says how the errors of a sentinel are answered.
type class struct {
	sentinel error
	status   int
	show     bool   // the error's text goes to the client
	reason   string // otherwise this does
}

// classes is the one table from errors to statuses, the first match counts. What it does
// not list is an internal error.
var classes = [...]class{
	{ca.ErrNotFound, http.StatusNotFound, false, "not found"},
	{ledger.ErrNotLogged, http.StatusNotFound, true, ""},
	{ledger.ErrSize, http.StatusNotFound, true, ""},
	{ledger.ErrNone, http.StatusServiceUnavailable, true, ""},
	{ca.ErrRetired, http.StatusGone, true, ""}, // before ErrInvalid, which it is, too
	{ca.ErrPolicy, http.StatusForbidden, true, ""},
	{ca.ErrUninvited, http.StatusForbidden, true, ""}, // likewise
	{proof.ErrRefused, http.StatusForbidden, true, ""},
	{ca.ErrAddressNames, http.StatusServiceUnavailable, true, ""},
	{ca.ErrTooManyPending, http.StatusInsufficientStorage, true, ""},
	{ca.ErrBudget, http.StatusTooManyRequests, true, ""},
	{ca.ErrRejected, http.StatusConflict, true, ""},
	{ca.ErrConflict, http.StatusConflict, true, ""},
	{ca.ErrOther, http.StatusPreconditionFailed, true, ""},
	{ca.ErrUnauthorized, http.StatusUnauthorized, true, ""},
	{ca.ErrInvalid, http.StatusBadRequest, true, ""},
	{envelope.ErrInvalid, http.StatusBadRequest, true, ""},
	{pki.ErrInvalid, http.StatusBadRequest, true, ""},
	{store.ErrUnavailable, http.StatusServiceUnavailable, false, "the database is not available, try again"},
	{store.ErrUncertain, http.StatusServiceUnavailable, false, "the database was lost on the way; look whether it has happened, then try again"},
	{ca.ErrToken, http.StatusServiceUnavailable, false, "the private keys of the CA are on a token that cannot be used now: an operator has to look"},
	{ca.ErrLocked, http.StatusServiceUnavailable, false, "the private keys of the CA are locked: an operator has to unlock them"},
	{ca.ErrNoSigner, http.StatusServiceUnavailable, false, "no CA certificate is valid now, try again later"},
	{ca.ErrSignoff, http.StatusServiceUnavailable, false, "no CA certificate is valid now: one has to be signed off by the parent"},
	{context.Canceled, http.StatusServiceUnavailable, false, "given up"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, false, "took too long, try again"},
}

// Problem returns the status that err is answered with, and the reason to give.
func (f *FrontEnd) Problem(err error) server.Problem {
	for _, c := range classes {
		if !errors.Is(err, c.sentinel) {
			continue
		}
		p := server.Problem{Status: c.status, Reason: c.reason}
		if c.show {
			p.Reason = pki.EscapeText(err.Error())
		}
		if spent := (*ca.Exhausted)(nil); errors.As(err, &spent) {
			p.RetryAfter = spent.After
		}
		if errors.Is(err, ca.ErrLocked) {
			p.RetryAfter = server.LockedRetry
		}
		return p
	}
	return server.Problem{}
}

// Answer sends a problem as a line of text. Whoever has not shown a certificate that counts is told
// where one would be looked for, unless the route has said already what it needs.
func (f *FrontEnd) Answer(x *server.Exchange, p server.Problem) {
	h := x.Header()
	if p.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", "transport")
	}
	_ = x.Reply(p.Status, server.TypeText, []byte(p.Reason+"\n"))
}
