package client_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/pki"
)

func parseCRLs(t *testing.T, pems ...[]byte) []*x509.RevocationList {
	t.Helper()
	if len(pems) == 0 {
		return nil
	}
	crls, err := pki.ParseCRLsPEM(bytes.Join(pems, nil))
	if err != nil {
		t.Fatal(err)
	}
	return crls
}

func TestUpdateCRLs(t *testing.T) {
	d, c := start(t)
	old := d.CAS.Newest()
	d.Clock.Advance(span)
	young := d.CAS.Rollover()
	d.Clock.Advance(span / 10)
	now := d.Clock.Now()
	both := []*x509.Certificate{old.Crt, young.Crt}
	crl := d.CAS.CRL
	rogue := clienttest.NewAuthority(t, d.Clock, "CAS").Newest()
	delta := func(ca clienttest.CA, number int64) []byte { return d.CAS.PartialCRL(ca, number, now) }
	// forgedCA pretends to be young, with another key.
	forgedCA := d.CAS.NewCA("CAS", func(c *x509.Certificate) { c.RawSubject, c.SubjectKeyId = young.Crt.RawSubject, young.Crt.SubjectKeyId })

	type numbers map[string]int64 // by the CA's key id
	tests := []struct {
		name    string
		served  [][]byte
		local   [][]byte
		trusted []*x509.Certificate
		want    numbers
		err     error
	}{
		{"first ones", [][]byte{crl(old, 5, now), crl(young, 5, now)}, nil, both, numbers{"old": 5, "young": 5}, nil},
		{"newer ones", [][]byte{crl(old, 6, now), crl(young, 6, now)}, [][]byte{crl(old, 5, now), crl(young, 5, now)}, both, numbers{"old": 6, "young": 6}, nil},
		{"the same again", [][]byte{crl(old, 5, now)}, [][]byte{crl(old, 5, now)}, both, numbers{"old": 5}, nil},
		{"a lower number", [][]byte{crl(old, 6, now), crl(young, 4, now)}, [][]byte{crl(old, 5, now), crl(young, 5, now)}, both, nil, client.ErrCRLRollback},
		{"the same number, of before", [][]byte{crl(old, 5, now.Add(-time.Hour))}, [][]byte{crl(old, 5, now)}, both, nil, client.ErrCRLRollback},
		{"a higher number, of before", [][]byte{crl(old, 6, now.Add(-time.Hour))}, [][]byte{crl(old, 5, now)}, both, numbers{"old": 6}, nil},
		{"a lower number than one of several", [][]byte{crl(old, 6, now)}, [][]byte{crl(old, 5, now), crl(old, 7, now), crl(old, 4, now)}, both, nil, client.ErrCRLRollback},
		{"the clock set back, and again", [][]byte{crl(old, 7, now.Add(-time.Hour))}, [][]byte{crl(old, 6, now.Add(-2*time.Hour)), crl(old, 5, now)}, both, numbers{"old": 7}, nil},
		{"a rollback of a list with a forged past", [][]byte{crl(young, 5, now)}, [][]byte{crl(forgedCA, 9, now)}, both, numbers{"young": 5}, nil},
		{"expired", [][]byte{crl(old, 5, now.Add(-clienttest.CRLLife-time.Second))}, nil, both, nil, client.ErrCRL},
		{"forged", [][]byte{crl(old, 5, now), crl(forgedCA, 5, now)}, nil, both, nil, client.ErrCRL},
		{"of a stranger alone", [][]byte{crl(rogue, 5, now)}, nil, both, nil, client.ErrCRL},
		{"of a CA not trusted yet", [][]byte{crl(old, 5, now), crl(young, 5, now)}, nil, both[:1], numbers{"old": 5}, nil},
		{"one no longer served is kept", [][]byte{crl(young, 6, now)}, [][]byte{crl(old, 5, now), crl(young, 5, now)}, both, numbers{"old": 5, "young": 6}, nil},
		{"one no longer trusted is not", [][]byte{crl(young, 6, now)}, [][]byte{crl(old, 5, now)}, both[1:], numbers{"young": 6}, nil},
		{"a delta", [][]byte{crl(old, 6, now), delta(young, 6)}, [][]byte{crl(old, 5, now), crl(young, 5, now)}, both, nil, pki.ErrPartialCRL},
		{"a delta at first contact", [][]byte{delta(old, 6)}, nil, both[:1], nil, client.ErrCRL},
		{"a delta before the complete one", [][]byte{delta(old, 7), crl(old, 6, now)}, [][]byte{crl(old, 5, now)}, both, numbers{"old": 6}, nil},
		{"a delta after the complete one", [][]byte{crl(old, 6, now), delta(old, 7)}, nil, both, numbers{"old": 6}, nil},
		{"a delta here, newer than all", [][]byte{crl(old, 6, now)}, [][]byte{delta(old, 9), crl(old, 5, now)}, both, numbers{"old": 6}, nil},
		{"a delta here, and nothing served", [][]byte{crl(young, 6, now)}, [][]byte{delta(old, 9)}, both, numbers{"young": 6}, nil},
		{"junk", [][]byte{[]byte("junk")}, nil, both, nil, pki.ErrInvalid},
		{"nothing", nil, nil, both, nil, pki.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			serve(d, "/cas/crl", bytes.Join(tt.served, []byte("\n")))
			got, err := c.UpdateCRLs(context.Background(), tt.trusted, parseCRLs(t, tt.local...))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%d lists, want %v", len(got), tt.want)
			}
			for _, crl := range got {
				name := "old"
				if bytes.Equal(crl.AuthorityKeyId, young.Crt.SubjectKeyId) {
					name = "young"
				}
				if crl.Number.Int64() != tt.want[name] {
					t.Errorf("list of %s is number %v, want %d", name, crl.Number, tt.want[name])
				}
			}
		})
	}
}

func TestRevalidateCRLs(t *testing.T) {
	ctx := context.Background()
	d, c := start(t)
	trusted := []*x509.Certificate{d.CAS.Newest().Crt}
	now := d.Clock.Now()
	const tag = `"1-2-3"`
	served, sent := d.CAS.CRL(d.CAS.Newest(), 1, now), 0
	d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
		sent++
		_, _ = w.Write(served)
		return true
	})
	ask := func(trusted []*x509.Certificate, local []*x509.RevocationList, with string, wantSent int) []*x509.RevocationList {
		t.Helper()
		sent = 0
		crls, got, err := c.RevalidateCRLs(ctx, trusted, local, with)
		if err != nil || got != tag || len(crls) != 1 || sent != wantSent {
			t.Fatalf("%d lists, tag %s, %v, sent %d times", len(crls), got, err, sent)
		}
		return crls
	}
	local := ask(trusted, nil, "", 1)
	ask(trusted, local, tag, 0)
	ask(trusted, local, `"other"`, 1)
	ask(trusted, nil, tag, 1) // lost here
	ask(trusted, parseCRLs(t, d.CAS.CRL(d.CAS.NewCA("CAS", func(c *x509.Certificate) { c.SubjectKeyId = trusted[0].SubjectKeyId }), 9, now)), tag, 1)
	d.Clock.Advance(span / 10)
	young := d.CAS.Rollover()
	served = bytes.Join([][]byte{served, d.CAS.CRL(young, 1, now)}, nil)
	sent = 0
	if crls, _, err := c.RevalidateCRLs(ctx, append(trusted, young.Crt), local, tag); err != nil || len(crls) != 2 || sent != 1 {
		t.Errorf("a CA more: %d lists, %v, sent %d times", len(crls), err, sent)
	}
	// An expired list is not confirmed.
	d.Clock.Advance(clienttest.CRLLife)
	sent = 0
	if _, _, err := c.RevalidateCRLs(ctx, trusted, local, tag); !errors.Is(err, client.ErrCRL) || sent != 1 {
		t.Errorf("expired: %v, sent %d times", err, sent)
	}
	// A 304 that nobody asked for is none.
	d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusNotModified)
		return true
	})
	if _, _, err := c.RevalidateCRLs(ctx, trusted, local, ""); err == nil {
		t.Error("304 to a question without tag was taken")
	}
}
