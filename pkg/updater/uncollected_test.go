package updater

import (
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/pki"
)

// TestUncollectedBeforeWithdrawal: a request was signed while the host was off, and the CA was withdrawn before it came back, twice in a row. It exchanges
// what was signed, with nobody's help. Where the daemon does not do that, it asks anew with a key of which nobody has heard, whether the
// request was given or its own.
func TestUncollectedBeforeWithdrawal(t *testing.T) {
	for name, how := range map[string]struct{ own, refused bool }{
		"given": {}, "own": {own: true}, "given, not exchanged": {refused: true}, "own, not exchanged": {own: true, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, dir)
				h.o.poll = undisturbed
				h.daemon.CAS.AutoApprove = 0
				if how.own {
					must(t, os.Remove(h.path("web.key")))
				}
				_, stop := h.start()
				time.Sleep(time.Minute)
				stop()
				const id = 1000
				requested, err := pki.ParseRequest(h.daemon.CAS.Request(id))
				must(t, err)
				first := h.daemon.CAS.Newest()
				h.daemon.CAS.Approve(id)
				time.Sleep(time.Hour)
				second := h.daemon.CAS.Rollover()
				time.Sleep(time.Hour)
				third := h.daemon.CAS.Rollover()
				h.daemon.CAS.Withdraw(first)
				h.daemon.CAS.Withdraw(second)
				var renewals, cut atomic.Int64
				cut.Store(3)
				h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.URL.Path, "/crt/renew") {
						return false
					}
					renewals.Add(1)
					switch {
					case cut.Add(-1) >= 0: // of a proxy: that is no answer
						w.WriteHeader(http.StatusBadGateway)
						return true
					case how.refused:
						http.Error(w, "not on record", http.StatusBadRequest)
						return true
					}
					return h.daemon.CAS.RenewWithdrawn(w, r, first)
				})
				h.daemon.CAS.AutoApprove = 1 // for what is asked anew
				a, stop := h.start()
				time.Sleep(2 * time.Hour)
				defer stop()
				if _, err := os.Stat(h.job.Crt); err != nil {
					t.Fatalf("%d renewals: %+v\n%s", renewals.Load(), h.status(a), h.log)
				}
				crt := h.certificate(h.job.Crt)
				if crt.CheckSignatureFrom(third.Crt) != nil {
					t.Errorf("by another CA\n%s", h.log)
				}
				if same := pki.SameKey(crt.PublicKey, requested.CSR.PublicKey); same == how.refused {
					t.Errorf("for the key of before: %v", same)
				}
				if submitted := h.daemon.CAS.Request(id+1) != nil; submitted != how.refused {
					t.Errorf("asked anew: %v", submitted)
				}
				if h.daemon.CAS.Request(id+2) != nil || renewals.Load() > 4 {
					t.Errorf("asked again and again: %d renewals", renewals.Load())
				}
				h.pair(time.Now())
				if s := h.status(a); s.State != StateOK || len(s.Problems) > 0 {
					t.Errorf("%+v\n%s", s, h.log)
				}
			})
		})
	}
}

// TestUncollectedNotWithdrawn: a host that trusts only a CA certificate which does not sign yet gets one that it cannot verify. Another request would
// fare no better, and is not made.
func TestUncollectedNotWithdrawn(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.daemon.CAS.AutoApprove = 0
		_, stop := h.start()
		time.Sleep(time.Minute)
		stop()
		h.daemon.CAS.Approve(1000)
		time.Sleep(time.Hour)
		second := h.daemon.CAS.Rollover()
		h.write("ca.pem", pki.EncodeCertificatePEM(second.Crt.Raw))
		a, stop := h.start()
		time.Sleep(2 * time.Hour)
		defer stop()
		if h.daemon.CAS.Request(1001) != nil {
			t.Errorf("asked anew: %+v\n%s", h.status(a), h.log)
		}
	})
}
