package updater

import (
	"encoding/hex"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/client/clienttest"
	"cauase/pkg/pki"
)

// TestEarlyRotation: an agent hears of a CA certificate that was made out of turn when it looks for lists, and not weeks later; once it
// is on disk it tells the daemon, once. When the one before is withdrawn it trusts that no longer, and has its certificate replaced.
func TestEarlyRotation(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.job.CRLRefresh = time.Hour
		told := func() (n int) {
			for _, request := range h.daemon.Seen() {
				if strings.HasSuffix(request, "/cas/crt/holds") {
					n++
				}
			}
			return n
		}
		first := h.daemon.CAS.Newest()
		a, stop := h.start()
		defer func() { stop() }()
		time.Sleep(day)
		before := h.certificate(h.job.Crt)
		if held := h.daemon.CAS.Held(before.SerialNumber); held != keyIDOf(first) || told() != 1 {
			t.Fatalf("confirmed %q, by %d messages\n%s", held, told(), h.log)
		}

		second := h.daemon.CAS.Rollover()
		h.daemon.CAS.Renumber()
		time.Sleep(2 * time.Hour)
		if s := h.status(a); s.State != StateOK || len(s.CAs) != 2 {
			t.Errorf("after the rotation: %+v\n%s", s, h.log)
		}
		if held := h.daemon.CAS.Held(before.SerialNumber); held != keyIDOf(second) || told() != 2 {
			t.Errorf("confirmed %q, by %d messages", held, told())
		}
		if crt := h.certificate(h.job.Crt); !crt.Equal(before) {
			t.Error("the certificate was replaced for nothing")
		}
		stop()
		a, stop = h.start()
		time.Sleep(day)
		if told() != 2 {
			t.Errorf("told %d times: a restart is no news", told())
		}

		h.daemon.CAS.Withdraw(first)
		h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/crt/renew") {
				return false
			}
			return h.daemon.CAS.RenewWithdrawn(w, r, first)
		})
		a.Refresh()
		time.Sleep(time.Minute)
		s := h.status(a)
		if len(s.CAs) != 1 || s.CAs[0].KeyID != keyIDOf(second) {
			t.Errorf("still trusted: %+v\n%s", s.CAs, h.log)
		}
		after := h.certificate(h.job.Crt)
		if after.CheckSignatureFrom(second.Crt) != nil {
			t.Errorf("the certificate is still by the CA that was withdrawn\n%s", h.log)
		}
	})
}

// TestPassiveCAOnly: a host that was begun anew with a CA certificate which does not sign yet has a certificate of the one before. Another one
// would be like it, and none is asked for.
func TestPassiveCAOnly(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		_, end := h.start()
		time.Sleep(time.Hour)
		before := h.certificate(h.job.Crt)
		end()
		second := h.daemon.CAS.Rollover()
		if err := os.WriteFile(h.job.CA, pki.EncodeCertificatePEM(second.Crt.Raw), 0o600); err != nil {
			t.Fatal(err)
		}
		a, stop := h.start()
		defer stop()
		time.Sleep(day)
		renewals := 0
		for _, request := range h.daemon.Seen() {
			if strings.HasSuffix(request, "/crt/renew") {
				renewals++
			}
		}
		if crt := h.certificate(h.job.Crt); renewals != 0 || !crt.Equal(before) {
			t.Errorf("%d renewals: %+v\n%s", renewals, h.status(a), h.log)
		}
	})
}

// TestWithdrawnDaemonOfBefore: a daemon that takes no confirmations is not asked again, and nothing is wrong.
func TestWithdrawnDaemonOfBefore(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		h.job.CRLRefresh = time.Hour
		told := 0
		h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/crt/holds") {
				told++
				http.Error(w, "Invalid integer", http.StatusBadRequest)
				return true
			}
			return false
		})
		a, stop := h.start()
		defer stop()
		time.Sleep(10 * day)
		if s := h.status(a); told != 1 || s.State != StateOK || len(s.Problems) > 0 {
			t.Errorf("told %d times: %+v\n%s", told, s, h.log)
		}
	})
}

// TestConfirmUntilHeard: a daemon that cannot be told now is told later, and the job is fine meanwhile.
func TestConfirmUntilHeard(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		told := 0
		h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/crt/holds") {
				return false
			}
			if told++; told > 4 {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		a, stop := h.start()
		defer stop()
		time.Sleep(day)
		if s := h.status(a); told != 5 || s.State != StateOK || len(s.Problems) > 0 {
			t.Errorf("told %d times: %+v\n%s", told, s, h.log)
		}
		if held := h.daemon.CAS.Held(h.certificate(h.job.Crt).SerialNumber); held != keyIDOf(h.daemon.CAS.Newest()) {
			t.Errorf("confirmed %q", held)
		}
	})
}

// TestOrphanedPatience: hosts whose CA was withdrawn come all at once. A daemon that cannot serve them yet is not asked every second.
func TestOrphanedPatience(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = undisturbed
		first := h.daemon.CAS.Newest()
		a, stop := h.start()
		defer stop()
		time.Sleep(day)
		second := h.daemon.CAS.Rollover()
		h.daemon.CAS.Withdraw(first)
		var asked atomic.Int64
		var served atomic.Bool
		h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/crt/renew") {
				return false
			}
			if asked.Add(1); !served.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			return h.daemon.CAS.RenewWithdrawn(w, r, first)
		})
		a.Refresh()
		time.Sleep(6 * time.Hour)
		if s, n := h.status(a), asked.Load(); n < 5 || n > 60 || s.State == StateOK {
			t.Errorf("asked %d times in six hours, %s\n%s", n, s.State, h.log)
		}
		served.Store(true)
		time.Sleep(2 * time.Hour)
		if h.certificate(h.job.Crt).CheckSignatureFrom(second.Crt) != nil {
			t.Errorf("the certificate was not exchanged\n%s", h.log)
		}
		if s := h.status(a); s.State != StateOK || len(s.Problems) > 0 {
			t.Errorf("%+v", s)
		}
	})
}

func keyIDOf(ca clienttest.CA) string { return hex.EncodeToString(ca.Crt.SubjectKeyId) }

// TestRotationIsNoAlarm: whatever moment of an exchange a CA certificate is made or withdrawn at, the agent comes to a certificate that counts, and says
// at no moment that something is wrong. If the CA of its certificate is one that nobody has withdrawn it does.
func TestRotationIsNoAlarm(t *testing.T) {
	for name, moment := range map[string]struct {
		before string // this is answered, the CA is withdrawn
		after  string // after the answer to this one
		due    bool   // the certificate has to be renewed anyway
		second bool   // there is another CA certificate
	}{
		"at rest":                        {},
		"as the chain was answered":      {after: "/crt/ca.crt.json"},
		"before lists":                   {before: "/crl"},
		"before a renewal":               {before: "/crt/renew", due: true},
		"before a CA certificate":        {before: "/crt/ca.crt.pem"},
		"before withdrawals are told of": {before: "/crt/withdrawn.json", second: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, dir)
				h.o.poll = undisturbed
				first := h.daemon.CAS.Newest()
				a, stop := h.start()
				defer stop()
				time.Sleep(time.Hour)
				if moment.second {
					h.daemon.CAS.Rollover()
					time.Sleep(time.Hour)
				}
				var armed atomic.Bool // handlers of requests look at it
				armed.Store(true)
				rotate := func() {
					armed.Store(false)
					h.daemon.CAS.Rollover()
					h.daemon.CAS.Withdraw(first)
					h.daemon.CAS.Renumber()
				}
				h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					time.Sleep(300 * time.Millisecond)
					path := func(of string) bool { return armed.Load() && of != "" && strings.HasSuffix(r.URL.Path, of) }
					if path(moment.before) {
						rotate()
					}
					if path(moment.after) {
						_, _ = w.Write(h.daemon.CAS.Chain())
						rotate()
						return true
					}
					return strings.HasSuffix(r.URL.Path, "/crt/renew") && !armed.Load() && h.daemon.CAS.RenewWithdrawn(w, r, first)
				})
				if moment.before+moment.after == "" {
					rotate()
				}
				if moment.due {
					time.Sleep(time.Until(h.certificate(h.job.Crt).NotAfter.Add(-h.job.Threshold * 4 / 5)))
				}
				for range 2 {
					a.Refresh()
					time.Sleep(time.Hour)
				}
				if armed.Load() {
					t.Fatal("it was never asked for")
				}
				if h.certificate(h.job.Crt).CheckSignatureFrom(h.daemon.CAS.Newest().Crt) != nil {
					t.Errorf("the certificate was not exchanged")
				}
				if s := h.status(a); s.State != StateOK || len(s.Problems) > 0 {
					t.Errorf("%+v", s)
				}
				if log := h.log.String(); strings.Contains(log, "level=ERROR") {
					t.Errorf("alarmed:\n%s", log)
				}
			})
		})
	}
	t.Run("not withdrawn", func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, dir)
			h.o.poll = undisturbed
			_, stop := h.start()
			time.Sleep(time.Hour)
			stop()
			h.write("ca.pem", pki.EncodeCertificatePEM(h.daemon.CAS.Rollover().Crt.Raw))
			a, stop := h.start()
			defer stop()
			time.Sleep(time.Hour)
			if s := h.status(a); s.State == StateOK || !strings.Contains(h.log.String(), "somebody may be answering in the CA's place") {
				t.Errorf("no alarm: %+v\n%s", s, h.log)
			}
		})
	})
}
