package client_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
)

func start(t *testing.T) (*clienttest.Daemon, *client.Client) {
	t.Helper()
	d := clienttest.Start(t, clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
	return d, newClient(t, d, client.CAS)
}

func newClient(t *testing.T, d *clienttest.Daemon, authority client.AuthorityName) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{URL: d.URL, Authority: authority, Clock: d.Clock, UserAgent: "test/1", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve answers one path with body.
func serve(d *clienttest.Daemon, path string, body []byte) {
	before := d.Interceptor()
	d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == path {
			_, _ = w.Write(body)
			return true
		}
		return before != nil && before(w, r)
	})
}

func list(t *testing.T, links ...[]byte) []byte {
	t.Helper()
	raw := []json.RawMessage{}
	for _, link := range links {
		raw = append(raw, link)
	}
	data, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const span = clienttest.LeafLife

func TestFirstUse(t *testing.T) {
	d, c := start(t)
	first := d.CAS.Newest()
	d.Clock.Advance(span)
	second := d.CAS.Rollover()
	tests := []struct {
		name  string
		pins  []client.Pin
		want  []*x509.Certificate
		first bool
		err   error
	}{
		{"no pin", nil, []*x509.Certificate{first.Crt, second.Crt}, true, nil},
		{"the oldest pinned", []client.Pin{client.PinOf(first.Crt)}, []*x509.Certificate{first.Crt, second.Crt}, false, nil},
		{"a newer one pinned vouches for no older one", []client.Pin{client.PinOf(second.Crt)}, []*x509.Certificate{second.Crt}, false, nil},
		{"both pinned", []client.Pin{client.PinOf(second.Crt), client.PinOf(first.Crt)}, []*x509.Certificate{first.Crt, second.Crt}, false, nil},
		{"another pinned", []client.Pin{{1}}, nil, false, client.ErrPin},
		{"another authority pinned", []client.Pin{client.PinOf(d.CAU.Newest().Crt)}, nil, false, client.ErrPin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			trust, err := c.UpdateTrust(context.Background(), nil, tt.pins)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if !same(trust.CAs, tt.want) || trust.FirstUse != tt.first {
				t.Errorf("trust %s, first use %v", names(trust.CAs), trust.FirstUse)
			}
		})
	}
}

func TestFollow(t *testing.T) {
	d, c := start(t)
	var all []*x509.Certificate
	all = append(all, d.CAS.Newest().Crt)
	for range 6 {
		d.Clock.Advance(2 * span)
		all = append(all, d.CAS.Rollover().Crt)
	}
	// Life is four spans: of seven generations two spans apart, the last two and
	// that which expires this very second are valid.
	d.Clock.Advance(time.Second)
	tests := []struct {
		name  string
		local []*x509.Certificate
		pins  []client.Pin
		want  []*x509.Certificate
		err   error
	}{
		{"from the newest", all[6:], nil, all[6:], nil},
		{"from the one before", all[5:6], nil, all[5:], nil},
		{"with expired ones beside it", all[:6], nil, all[5:], nil},
		{"an anchor that has expired", all[:5], nil, nil, client.ErrNoAnchor},
		{"an anchor that has expired, and a pin", all[:5], []client.Pin{client.PinOf(all[6])}, all[6:], nil},
		{"an anchor that has expired, and a wrong pin", all[:5], []client.Pin{{7}}, nil, client.ErrPin},
		{"a valid anchor, and a wrong pin", all[5:6], []client.Pin{{7}}, all[5:], nil},
		{"the anchor of another authority", []*x509.Certificate{d.CAU.Rollover().Crt}, nil, nil, client.ErrUnknownAnchor},
		{"a leaf as anchor", []*x509.Certificate{leaf(t, d)}, nil, nil, client.ErrNoAnchor},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			trust, err := c.UpdateTrust(context.Background(), tt.local, tt.pins)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if !same(trust.CAs, tt.want) || trust.FirstUse {
				t.Errorf("trust %s, want %s; first use %v", names(trust.CAs), names(tt.want), trust.FirstUse)
			}
		})
	}
}

// TestBadChain gives chains that a client trusting generation 0 must not follow at all.
func TestBadChain(t *testing.T) {
	d, c := start(t)
	for range 3 {
		d.Clock.Advance(span / 2)
		d.CAS.Rollover()
	}
	g := d.CAS.Generations()
	anchor := []*x509.Certificate{g[0].Crt}
	a := d.CAS
	rogue := a.NewCA("CAS")
	change := func(f func(*x509.Certificate)) clienttest.CA { return a.NewCA("CAS", f) }
	signedBy := func(signer, old, new clienttest.CA) []byte {
		return a.Link(clienttest.CA{Crt: old.Crt, Key: signer.Key}, new)
	}
	tests := []struct {
		name  string
		chain []byte
		err   error
	}{
		{"signed by a stranger", list(t, signedBy(rogue, g[0], g[1])), client.ErrChain},
		{"signed by the successor", list(t, signedBy(g[1], g[0], g[1])), client.ErrChain},
		{"a stranger at the end", list(t, a.Link(g[0], g[1]), signedBy(rogue, g[1], rogue)), client.ErrChain},
		{"a gap", list(t, a.Link(g[0], g[1]), a.Link(g[2], g[3])), client.ErrChain},
		{"reordered", list(t, a.Link(g[0], g[1]), a.Link(g[2], g[3]), a.Link(g[1], g[2])), client.ErrChain},
		{"doubled", list(t, a.Link(g[0], g[1]), a.Link(g[0], g[1])), client.ErrChain},
		{"a circle", list(t, a.Link(g[0], g[1]), a.Link(g[1], g[0])), client.ErrChain},
		{"cut at its start", list(t, a.Link(g[1], g[2]), a.Link(g[2], g[3])), client.ErrUnknownAnchor},
		{"of another authority", list(t, d.CAU.Link(d.CAU.Newest(), d.CAU.Rollover())), client.ErrUnknownAnchor},
		{"another subject", list(t, a.Link(g[0], a.NewCA("CAS of someone else"))), client.ErrChain},
		{"to a certificate of no CA", list(t, a.Link(g[0], clienttest.CA{Crt: leaf(t, d)})), client.ErrChain},
		{"to a CA that signs no lists", list(t, a.Link(g[0], change(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }))), client.ErrChain},
		{"to a CA from before", list(t, a.Link(g[1], change(func(c *x509.Certificate) { c.NotBefore = g[0].Crt.NotBefore.Add(-time.Hour) }))), client.ErrUnknownAnchor},
		{"to an older CA", list(t, a.Link(g[0], change(func(c *x509.Certificate) { c.NotBefore = g[0].Crt.NotBefore.Add(-time.Hour) }))), client.ErrChain},
		{"a link of another kind", list(t, a.Link(g[0], g[1]), a.Sign([]byte(`{"https_ca_pem":"x"}`))), client.ErrChain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			serve(d, "/cas/crt/ca.crt.json", tt.chain)
			trust, err := c.UpdateTrust(context.Background(), anchor, nil)
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v; trust %s", err, tt.err, names(trust.CAs))
			}
			if trust.CAs != nil {
				t.Errorf("trust in %s", names(trust.CAs))
			}
		})
	}
	t.Run("none where there was one", func(t *testing.T) {
		// The chain's end is where the anchor must be, or the only CA is.
		serve(d, "/cas/crt/ca.crt.json", []byte("[]"))
		if _, err := c.UpdateTrust(context.Background(), []*x509.Certificate{g[2].Crt}, nil); !errors.Is(err, client.ErrUnknownAnchor) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("unreadable before the anchor", func(t *testing.T) {
		serve(d, "/cas/crt/ca.crt.json", list(t, []byte(`{"payload":"{}","digest":null}`), a.Link(g[0], g[1])))
		trust, err := c.UpdateTrust(context.Background(), anchor, nil)
		if err != nil || len(trust.CAs) != 2 {
			t.Errorf("trust %s, %v", names(trust.CAs), err)
		}
	})
}

func TestClockWrong(t *testing.T) {
	d, c := start(t)
	local := []*x509.Certificate{d.CAS.Newest().Crt}
	d.Clock.Set(time.Unix(0, 0))
	if _, err := c.UpdateTrust(context.Background(), local, nil); !errors.Is(err, client.ErrNoAnchor) || !strings.Contains(err.Error(), "not valid yet") {
		t.Errorf("at boot in 1970: %v", err)
	}
}

func TestParsePin(t *testing.T) {
	d, _ := start(t)
	pin := client.PinOf(d.CAS.Newest().Crt)
	hex := strings.TrimPrefix(pin.String(), "sha256:")
	var colons []string
	for i := 0; i < len(hex); i += 2 {
		colons = append(colons, hex[i:i+2])
	}
	for _, s := range []string{pin.String(), "sha256:" + strings.ToUpper(hex), "sha256:" + strings.Join(colons, ":")} {
		if got, err := client.ParsePin(s); err != nil || got != pin {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", hex, "sha256:", "sha1:" + hex, "sha256:" + hex[2:], "sha256:" + hex + "00", "sha256:x" + hex[1:]} {
		if _, err := client.ParsePin(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func leaf(t *testing.T, d *clienttest.Daemon) *x509.Certificate {
	t.Helper()
	crt, err := x509.ParseCertificate(d.CAS.IssueServer(t, "127.0.0.1").Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return crt
}

func same(a, b []*x509.Certificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

func names(crts []*x509.Certificate) string {
	var all []string
	for _, crt := range crts {
		all = append(all, crt.Subject.CommonName+" of "+crt.NotBefore.Format(time.DateOnly))
	}
	return "[" + strings.Join(all, ", ") + "]"
}
