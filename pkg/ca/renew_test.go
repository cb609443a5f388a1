package ca

import (
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A holder who lost the answer asks again; somebody who recorded the envelope gains nothing.
func TestRenewalIsRepeatable(t *testing.T) {
	w := newWorld(t)
	for _, name := range []store.AuthorityName{store.Users, store.Services} {
		a := w.open(config(name))
		crt, key := w.enrol(a, "host")
		e := renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "host"))
		first, err := wired(a).Renew(w.ctx, anonymous, e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := wired(a).Renew(w.ctx, anonymous, e)
		if err != nil || string(first) != string(again) {
			t.Errorf("%s: the same envelope again: another certificate, error %v", name, err)
		}
		w.clock.Advance(2 * time.Hour)
		_, err = wired(a).Renew(w.ctx, anonymous, e)
		wantError(t, err, ErrConflict) // whatever it is that comes so late, it gets nothing new
	}
}

func TestRenewalsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	a, users := w.open(config(store.Services)), w.open(config(store.Users))
	crt, key := w.enrol(a, "host")
	userCrt, userKey := w.enrol(users, "user")
	csr := csrNamed(t, newKey(t), "host")

	unsigned := func(payload []byte, err error) *envelope.Envelope {
		if err != nil {
			t.Fatal(err)
		}
		data, err := envelope.Unsigned(payload)
		if err != nil {
			t.Fatal(err)
		}
		e, err := envelope.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	renewal := envelope.Renewal{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), RequestPEM: string(csr)}
	tests := []struct {
		name string
		e    *envelope.Envelope
		want error
	}{
		{"not signed", unsigned(envelope.EncodeRenewal(renewal)), ErrUnauthorized},
		{"signed with another key", renewalEnvelope(t, crt, newKey(t), csr), ErrUnauthorized},
		{"certificate of the other authority", renewalEnvelope(t, userCrt, userKey, csr), ErrInvalid},
		{"request is not a request", renewalEnvelope(t, crt, key, []byte("hello")), ErrInvalid},
		{"payload of a revocation", revocationEnvelope(t, crt, key), ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wired(a).Renew(w.ctx, anonymous, tt.e)
			wantError(t, err, tt.want)
		})
	}
	t.Run("CA certificate", func(t *testing.T) {
		st, err := a.current(w.ctx, w.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		_, err = wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, st.signer.crt, st.signer.key, csr))
		wantError(t, err, ErrInvalid)
	})
	t.Run("expired a second ago", func(t *testing.T) {
		w.clock.Set(crt.NotAfter)
		if _, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, csr)); err != nil {
			t.Errorf("in the last second of its life: %v", err)
		}
		w.clock.Set(crt.NotAfter.Add(time.Second))
		_, err := wired(a).Renew(w.ctx, anonymous, renewalEnvelope(t, crt, key, csr))
		wantError(t, err, ErrInvalid)
	})
}

func TestSameEnvelopeInParallel(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	crt, key := w.enrol(a, "host")
	e := renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "host"))
	const n = 32
	out := make(chan string, n)
	for range n {
		go func() {
			data, err := wired(a).Renew(w.ctx, anonymous, e)
			if err != nil {
				t.Error(err)
			}
			out <- string(data)
		}()
	}
	distinct := map[string]bool{}
	for range n {
		distinct[<-out] = true
	}
	if len(distinct) != 1 {
		t.Errorf("%d certificates for one envelope", len(distinct))
	}
}

// Ids of renewals grow with time until they begin anew, are positive whatever the clock says, and differ.
func TestRenewalID(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	seen := make(map[int64]bool)
	for range 100 {
		now, next := RenewalID(at), RenewalID(at.Add(time.Second))
		if now <= 0 || next <= now {
			t.Errorf("%d comes after %d", next, now)
		}
		seen[now], seen[next] = true, true
	}
	if len(seen) != 200 {
		t.Errorf("%d of 200 ids differ", len(seen))
	}
	for _, odd := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 0), time.Unix(1<<30, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)} {
		if id := RenewalID(odd); id <= 0 {
			t.Errorf("%v: %d", odd, id)
		}
	}
}
