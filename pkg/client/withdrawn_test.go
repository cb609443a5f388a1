package client_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
)

// TestWithdrawn: who says what about whom, and what is trusted then.
func TestWithdrawn(t *testing.T) {
	d, c := start(t)
	g := []clienttest.CA{d.CAS.Newest()}
	for range 2 {
		d.Clock.Advance(span / 4)
		g = append(g, d.CAS.Rollover())
	}
	stranger := d.CAS.NewCA("CAS")
	for name, tt := range map[string]struct {
		says []byte // nil: no such route
		kept int
	}{
		"nobody has withdrawn anything":        {list(t), 3},
		"a daemon of before":                   {nil, 3},
		"the newest, of the first":             {list(t, d.CAS.Withdrawal(g[2], g[2], g[0])), 2},
		"the newest, of all others":            {list(t, d.CAS.Withdrawal(g[2], g[2], g[0]), d.CAS.Withdrawal(g[2], g[2], g[1])), 1},
		"one between, of the first":            {list(t, d.CAS.Withdrawal(g[1], g[1], g[0])), 2},
		"of itself":                            {list(t, d.CAS.Withdrawal(g[2], g[2], g[2])), 3},
		"a thief of the first, of the newest":  {list(t, d.CAS.Withdrawal(g[0], g[0], g[2])), 3},
		"a thief of the second, of the newest": {list(t, d.CAS.Withdrawal(g[1], g[1], g[2])), 3},
		"a thief in the name of the newest":    {list(t, d.CAS.Withdrawal(g[0], g[2], g[1])), 3},
		"a stranger":                           {list(t, d.CAS.Withdrawal(stranger, stranger, g[0])), 3},
		"one that was withdrawn has no say": {list(t,
			d.CAS.Withdrawal(g[1], g[1], g[0]), d.CAS.Withdrawal(g[2], g[2], g[1])), 2},
		"about nobody here":  {list(t, d.CAS.Withdrawal(g[2], g[2], stranger)), 3},
		"something else too": {list(t, d.CAS.Link(g[0], g[1]), d.CAS.Withdrawal(g[2], g[2], g[0])), 2},
	} {
		t.Run(name, func(t *testing.T) {
			d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/cas/crt/withdrawn.json" {
					return false
				}
				if tt.says == nil {
					http.Error(w, "Invalid integer", http.StatusBadRequest)
				}
				_, _ = w.Write(tt.says)
				return true
			})
			for _, local := range [][]*x509.Certificate{{g[0].Crt}, {g[0].Crt, g[1].Crt, g[2].Crt}} {
				trust, err := c.UpdateTrust(context.Background(), local, nil)
				if err != nil || len(trust.CAs) != tt.kept || len(trust.Withdrawn) != 3-tt.kept || !trust.CAs[tt.kept-1].Equal(g[2].Crt) {
					t.Errorf("%d kept, %d withdrawn: %v", len(trust.CAs), len(trust.Withdrawn), err)
				}
				// Where the roots are kept, an authority that is its own is among them.
				roots, err := c.UpdateRoots(context.Background(), trust, []*x509.Certificate{g[0].Crt, g[1].Crt, g[2].Crt}, nil)
				if err != nil || len(roots.CAs) != tt.kept {
					t.Errorf("%d roots: %v", len(roots.CAs), err)
				}
			}
		})
	}
}

// TestThiefOfOldKey: who trusts a later CA certificate follows nobody who has the key of an earlier one.
func TestThiefOfOldKey(t *testing.T) {
	d, c := start(t)
	first := d.CAS.Newest()
	d.Clock.Advance(span / 4)
	second := d.CAS.Rollover()
	d.CAS.Withdraw(first)
	d.Clock.Advance(span / 4)
	evil := d.CAS.NewCA("CAS")
	serve(d, "/cas/crt/ca.crt.json", list(t, d.CAS.Link(first, evil)))
	for name, local := range map[string][]*x509.Certificate{"both": {first.Crt, second.Crt}, "the later one": {second.Crt}} {
		if _, err := c.UpdateTrust(context.Background(), local, nil); !errors.Is(err, client.ErrUnknownAnchor) {
			t.Errorf("who trusts %s follows: %v", name, err)
		}
	}
	serve(d, "/cas/crt/ca.crt.json", list(t, d.CAS.Link(first, second), d.CAS.Link(first, evil)))
	if _, err := c.UpdateTrust(context.Background(), []*x509.Certificate{first.Crt, second.Crt}, nil); err == nil {
		t.Error("followed a chain that does not lead on")
	}
}

// TestConfirmCA: the holder of a certificate says what it has; a daemon of before does not want to know.
func TestConfirmCA(t *testing.T) {
	d, c := start(t)
	crt, key := holder(t, d.CAS, "web")
	ca := d.CAS.Newest().Crt
	if err := c.ConfirmCA(context.Background(), crt, key, ca.SubjectKeyId); err != nil || d.CAS.Held(crt.SerialNumber) == "" {
		t.Errorf("confirmed %q: %v", d.CAS.Held(crt.SerialNumber), err)
	}
	_, other := holder(t, d.CAS, "mail")
	if err := c.ConfirmCA(context.Background(), crt, other, ca.SubjectKeyId); err == nil {
		t.Error("confirmed by who is not the holder")
	}
	d.Reference = true
	if err := c.ConfirmCA(context.Background(), crt, key, ca.SubjectKeyId); !errors.Is(err, client.ErrNotTold) {
		t.Errorf("a daemon of before: %v", err)
	}
}

// A list that cannot be read is nobody's word, and no reason to drop anything.
func TestWithdrawnUnreadable(t *testing.T) {
	d, c := start(t)
	first := d.CAS.Newest()
	d.Clock.Advance(span / 4)
	d.CAS.Rollover()
	serve(d, "/cas/crt/withdrawn.json", []byte(`{"not": "a list"}`))
	if trust, err := c.UpdateTrust(context.Background(), []*x509.Certificate{first.Crt}, nil); err == nil {
		t.Errorf("took %d CA certificates", len(trust.CAs))
	}
	data, err := json.Marshal([]json.RawMessage{})
	if err != nil {
		t.Fatal(err)
	}
	serve(d, "/cas/crt/withdrawn.json", data)
	if _, err := c.UpdateTrust(context.Background(), []*x509.Certificate{first.Crt}, nil); err != nil {
		t.Error(err)
	}
}
