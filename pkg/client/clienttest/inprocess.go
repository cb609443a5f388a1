package clienttest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"cauase/pkg/clock"
)

// A Wire connects clients with a daemon in the same process, without sockets, so that both
// can live in simulated time.
type Wire struct {
	daemon *Daemon
	now    clock.Clock
	cut    atomic.Bool
}

// NewWired makes a daemon that no socket leads to, and the wire to it. The daemon goes by
// the time of now.
func NewWired(t testing.TB, now clock.Clock) (*Daemon, *Wire) {
	t.Helper()
	fake := clock.NewFake(now.Now())
	d := &Daemon{
		URL:   "http://ca.test",
		Clock: fake,
		CAS:   NewAuthority(t, fake, "CAS"),
		CAU:   NewAuthority(t, fake, "CAU"),
		HTTPS: NewAuthority(t, fake, "HTTPS"),
	}
	return d, &Wire{daemon: d, now: now}
}

// Cut ends all contact, or begins it again.
func (w *Wire) Cut(cut bool) { w.cut.Store(cut) }

// Transport is for client.Options.
func (w *Wire) Transport(*tls.Config) http.RoundTripper { return w }

// RoundTrip hands a request to the daemon.
func (w *Wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.cut.Load() {
		return nil, errCut
	}
	w.daemon.Clock.Set(w.now.Now())
	recorder := httptest.NewRecorder()
	w.daemon.handle(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	response := recorder.Result()
	response.Request = r
	return response, nil
}

type cutError struct{}

func (cutError) Error() string   { return "the wire is cut" }
func (cutError) Timeout() bool   { return true }
func (cutError) Temporary() bool { return true }

var errCut error = cutError{}

// Reject removes a pending request.
func (a *Authority) Reject(id uint64) { a.RejectFor(id, "") }

// RejectFor is Reject with a reason.
func (a *Authority) RejectFor(id uint64, reason string) {
	r := httptest.NewRequest(http.MethodDelete, "/", http.NoBody)
	if reason != "" {
		r.Header.Set("Cauase-Reason", url.PathEscape(reason))
	}
	a.reject(httptest.NewRecorder(), r, id)
}

// Approve signs a pending request, as an administrator would.
func (a *Authority) Approve(id uint64) {
	r := httptest.NewRequest(http.MethodPut, "/", http.NoBody)
	a.sign(httptest.NewRecorder(), r, id, nil)
}

// Request returns the request with an id, nil if there is none.
func (a *Authority) Request(id uint64) []byte { return a.request(id) }

// Renew answers a renewal into w, which goes on to lie about it.
func (a *Authority) Renew(w io.Writer, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	a.must(err)
	answer := httptest.NewRecorder()
	a.renew(answer, r, body)
	_, err = w.Write(answer.Body.Bytes())
	a.must(err)
}

// Revoke puts a serial number on the list.
func (a *Authority) Revoke(serial *big.Int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = append(a.revoked, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: a.clock.Now()})
	a.Number++
}
