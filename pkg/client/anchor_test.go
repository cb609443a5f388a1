package client_test

import (
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
)

// TestBeforeTheFirstBelowARoot: from the time when an authority is put below a root, that root is in its bundle,
// and no CA certificate has a parent before the next one is due.
func TestBeforeTheFirstBelowARoot(t *testing.T) {
	x := newTree(t)
	x.CAS.Parent = x.root
	c := newClient(t, x.Daemon, client.CAS)
	trust, err := c.UpdateTrust(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	own := x.CAS.Newest().Crt
	for name, local := range map[string][]*x509.Certificate{"first contact": nil, "its own stored": {own}} {
		roots, err := c.UpdateRoots(t.Context(), trust, local, nil)
		if err != nil || !slices.EqualFunc(roots.CAs, []*x509.Certificate{own}, (*x509.Certificate).Equal) {
			t.Errorf("%s: %d roots, %v", name, len(roots.CAs), err)
		}
	}
}

// TestForgedAnchor: who has the key of a CA that a root once signed can make self-signed certificates for that
// key, and have it say whatever. For who knows the root only, they are worth what the root has signed.
func TestForgedAnchor(t *testing.T) {
	x := newTree(t)
	now := x.Clock.Now()
	pins := []client.Pin{client.PinOf(x.root.Newest().Crt)}
	for _, tt := range []struct {
		name          string
		below, anchor func(*x509.Certificate)
		err           error
	}{
		{name: "the same", err: nil},
		{name: "that ends after the root's", anchor: func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Hour) }, err: client.ErrRoots},
		{name: "of an expired one", below: func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(-time.Minute) },
			anchor: func(c *x509.Certificate) { c.NotAfter = now.Add(time.Hour) }, err: client.ErrRoots},
		{name: "without the limits on names", below: func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"lab.example"}
		}, anchor: func(c *x509.Certificate) { c.PermittedDNSDomains = nil }, err: client.ErrRoots},
		{name: "with other limits on names", below: func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"lab.example"}
		}, anchor: func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example"} }, err: client.ErrRoots},
		{name: "with limits on names", below: func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"lab.example"}
		}},
		{name: "without the limit on CAs below it", below: func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true },
			anchor: func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = -1, false }, err: client.ErrRoots},
	} {
		t.Run(tt.name, func(t *testing.T) {
			change := func(f func(*x509.Certificate)) func(*x509.Certificate) {
				if f == nil {
					return func(*x509.Certificate) {}
				}
				return f
			}
			forged := x.web.Anchored(x.root.NewCABelow("Web", change(tt.below)), change(tt.anchor))
			serve(x.Daemon, "/web/crt/ca.crt.pem", clienttest.Bundle(forged.Crt))
			serve(x.Daemon, "/web/crt/ca.crt.json", []byte("[]"))
			serve(x.Daemon, "/web/crt/parent.json", list(t, x.web.Link(forged, clienttest.CA{Crt: forged.Below})))
			trust, err := x.client.UpdateTrust(t.Context(), nil, pins)
			if !errors.Is(err, tt.err) || tt.err == nil && len(trust.CAs) != 1 {
				t.Errorf("%d CA certificates, %v", len(trust.CAs), err)
			}
			x.Intercept(nil)
		})
	}
}

// TestNothingSaidOfAParent: whoever is in between can keep quiet about a parent. Nothing more is trusted by that,
// and what is stored then does not stand for a fingerprint later.
func TestNothingSaidOfAParent(t *testing.T) {
	x := newTree(t)
	root := x.root.Newest().Crt
	stranger := clienttest.NewAuthority(t, x.Clock, "Root")
	pins := []client.Pin{client.PinOf(stranger.Newest().Crt)}
	trust, err := x.client.UpdateTrust(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	serve(x.Daemon, "/web/crt/parent.json", []byte("[]"))
	serve(x.Daemon, "/web/crt/root.pem", clienttest.Bundle(root, stranger.Newest().Crt))
	roots, err := x.client.UpdateRoots(t.Context(), trust, nil, pins)
	if err != nil || !slices.EqualFunc(roots.CAs, trust.CAs, (*x509.Certificate).Equal) {
		t.Fatalf("%d roots, %v", len(roots.CAs), err)
	}
	x.Intercept(nil)
	if after, err := x.client.UpdateRoots(t.Context(), trust, roots.CAs, pins); !errors.Is(err, client.ErrPin) {
		t.Errorf("%d roots, and none of them pinned: %v", len(after.CAs), err)
	}
	roots, err = x.client.UpdateRoots(t.Context(), trust, roots.CAs, []client.Pin{client.PinOf(root)})
	if err != nil || len(roots.CAs) != 1 || !roots.CAs[0].Equal(root) {
		t.Errorf("%d roots, %v", len(roots.CAs), err)
	}
}
