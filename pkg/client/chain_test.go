package client_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// A tree is a daemon with a root and an authority under it, in its second generation.
type tree struct {
	*clienttest.Daemon
	root, web *clienttest.Authority
	client    *client.Client
}

func newTree(t *testing.T) *tree {
	t.Helper()
	d := clienttest.Start(t, clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
	x := &tree{Daemon: d, root: clienttest.NewAuthority(t, d.Clock, "Root")}
	x.web = clienttest.NewAuthorityUnder(t, d.Clock, "Web", x.root)
	d.Others = map[string]*clienttest.Authority{"home-root": x.root, "web": x.web}
	d.Clock.Advance(span)
	x.web.Rollover()
	x.client = newClient(t, d, "web")
	return x
}

// issued is a certificate of the newest generation, with its chain.
func (x *tree) issued(t *testing.T) client.Issued {
	t.Helper()
	crt, _ := holder(t, x.web, "web")
	return client.Issued{Certificate: crt, Chain: x.web.ChainOf(crt)}
}

// TestTrustBelowRoot: CA certificates that a root has signed are followed by their succession, as
// any others are.
func TestTrustBelowRoot(t *testing.T) {
	x := newTree(t)
	g := x.web.Generations()
	tests := []struct {
		name  string
		local []*x509.Certificate
		pins  []client.Pin
		want  int
		err   error
	}{
		{"first use", nil, nil, 2, nil},
		{"one is stored", []*x509.Certificate{g[0].Crt}, nil, 2, nil},
		{"the newest pinned", nil, []client.Pin{client.PinOf(g[1].Crt)}, 1, nil},
		{"the root pinned", nil, []client.Pin{client.PinOf(x.root.Newest().Crt)}, 2, nil},
		{"another root pinned", nil, []client.Pin{client.PinOf(x.CAS.Newest().Crt)}, 0, client.ErrPin},
		{"a CA of the same name and root that is not in the succession", []*x509.Certificate{x.root.NewCABelow("Web").Crt}, nil, 0, client.ErrUnknownAnchor},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			trust, err := x.client.UpdateTrust(t.Context(), tt.local, tt.pins)
			if !errors.Is(err, tt.err) || len(trust.CAs) != tt.want {
				t.Errorf("%d CA certificates, %v", len(trust.CAs), err)
			}
		})
	}
	crls, err := x.client.UpdateCRLs(t.Context(), []*x509.Certificate{g[0].Crt, g[1].Crt}, nil)
	if err != nil || len(crls) != 2 {
		t.Errorf("%d lists, %v", len(crls), err)
	}
}

// TestForgedBelowRoot: that the root has signed a CA certificate makes it no successor.
func TestForgedBelowRoot(t *testing.T) {
	x := newTree(t)
	g := x.web.Generations()
	forged := x.root.NewCABelow("Web")
	serve(x.Daemon, "/web/crt/ca.crt.json", list(t, x.web.Link(clienttest.CA{Crt: g[0].Crt, Key: forged.Key}, forged)))
	if _, err := x.client.UpdateTrust(t.Context(), []*x509.Certificate{g[0].Crt}, nil); !errors.Is(err, client.ErrChain) {
		t.Errorf("%v", err)
	}
}

// TestPutUnderRoot: an authority that was self-signed gets its next CA certificate from a root, which
// the old one vouches for.
func TestPutUnderRoot(t *testing.T) {
	x := newTree(t)
	first := x.CAS.Newest()
	c := newClient(t, x.Daemon, client.CAS)
	before, err := c.UpdateTrust(t.Context(), nil, []client.Pin{client.PinOf(first.Crt)})
	if err != nil {
		t.Fatal(err)
	}
	roots, err := c.UpdateRoots(t.Context(), before, nil, []client.Pin{{1}})
	if err != nil || len(roots.CAs) != 1 || !roots.CAs[0].Equal(first.Crt) {
		t.Fatalf("its own root: %v, %v", roots.CAs, err)
	}
	x.CAS.Parent = x.root
	x.Clock.Advance(span)
	x.CAS.Rollover()
	after, err := c.UpdateTrust(t.Context(), before.CAs, nil)
	if err != nil || len(after.CAs) != 2 {
		t.Fatalf("%d CA certificates, %v", len(after.CAs), err)
	}
	// The pin is that of the first contact, and stays in a configuration for years.
	roots, err = c.UpdateRoots(t.Context(), after, roots.CAs, []client.Pin{client.PinOf(first.Crt)})
	if err != nil || len(roots.CAs) != 2 {
		t.Fatalf("%d roots, %v", len(roots.CAs), err)
	}
	crt, _ := holder(t, x.CAS, "web")
	issued := client.Issued{Certificate: crt, Chain: x.CAS.ChainOf(crt)}
	if err := client.CheckChain(issued, after.CAs, roots.CAs, x.Clock.Now()); err != nil || len(issued.Chain) != 1 {
		t.Errorf("a chain of %d: %v", len(issued.Chain), err)
	}
	// Past the life of the first, its root is all.
	x.Clock.Set(first.Crt.NotAfter.Add(-time.Hour))
	x.root.Rollover()
	x.CAS.Rollover()
	follow := func() {
		t.Helper()
		if after, err = c.UpdateTrust(t.Context(), after.CAs, nil); err != nil {
			t.Fatal(err)
		}
	}
	follow()
	if roots, err = c.UpdateRoots(t.Context(), after, roots.CAs, nil); err != nil || len(roots.CAs) != 3 {
		t.Fatalf("%d roots, %v", len(roots.CAs), err)
	}
	x.Clock.Advance(2 * time.Hour)
	follow()
	if roots, err = c.UpdateRoots(t.Context(), after, roots.CAs, nil); err != nil || slices.ContainsFunc(roots.CAs, first.Crt.Equal) {
		t.Errorf("%d roots, %v", len(roots.CAs), err)
	}
}

func TestRoots(t *testing.T) {
	x := newTree(t)
	trust, err := x.client.UpdateTrust(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	root := x.root.Newest().Crt
	stranger := clienttest.NewAuthority(t, x.Clock, "Root")
	timeline := func(parent string) []byte {
		data, err := json.Marshal(map[string]any{"span_seconds": 1000, "parent": parent})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	// A root of the same name and key identifier whose key has not signed anything.
	twin := stranger.NewCA("Root", func(c *x509.Certificate) { c.SubjectKeyId, c.AuthorityKeyId = root.SubjectKeyId, root.SubjectKeyId })
	stolen := stranger.Certify(x.web.Newest())
	for _, tt := range []struct {
		name   string
		local  []*x509.Certificate
		pins   []client.Pin
		serves map[string][]byte
		also   []*x509.Certificate // beside the root
		err    error
	}{
		{name: "first contact"},
		{name: "pinned", pins: []client.Pin{client.PinOf(root)}},
		{name: "the authority pinned, and not the root", pins: []client.Pin{client.PinOf(x.web.Newest().Crt)}, err: client.ErrPin},
		{name: "another pinned", pins: []client.Pin{client.PinOf(stranger.Newest().Crt)}, err: client.ErrPin},
		{name: "stored", local: []*x509.Certificate{root}},
		{name: "another root stored", local: []*x509.Certificate{stranger.Newest().Crt}, err: client.ErrRoots},
		{name: "the bundle replaced by another root", serves: map[string][]byte{"/web/crt/root.pem": clienttest.Bundle(stranger.Newest().Crt)}, err: client.ErrRoots},
		{name: "by one of the same name and key identifier", serves: map[string][]byte{"/web/crt/root.pem": clienttest.Bundle(twin.Crt)}, err: client.ErrRoots},
		{name: "another root beside the right one", serves: map[string][]byte{"/web/crt/root.pem": clienttest.Bundle(root, stranger.Newest().Crt)}, err: client.ErrRoots},
		{name: "another root beside the one stored", local: []*x509.Certificate{root}, serves: map[string][]byte{"/web/crt/root.pem": clienttest.Bundle(root, stranger.Newest().Crt)}, err: client.ErrRoots},
		{name: "all of it replaced, with one stored", local: []*x509.Certificate{root}, serves: map[string][]byte{
			"/web/crt/root.pem": clienttest.Bundle(stranger.Newest().Crt), "/home-root/crt/ca.crt.pem": clienttest.Bundle(stranger.Newest().Crt),
		}, err: client.ErrRoots},
		{name: "an intermediate among the roots", serves: map[string][]byte{"/web/crt/root.pem": clienttest.Bundle(root, x.web.Newest().Below)}, err: client.ErrRoots},
		// Whoever has a root can sign for anybody's key. The authority has to say that it is below that root.
		{name: "another root that has certified the authority's key", serves: map[string][]byte{
			"/web/crt/root.pem": clienttest.Bundle(stranger.Newest().Crt), "/home-root/crt/ca.crt.pem": clienttest.Bundle(stranger.Newest().Crt),
			"/web/crt/parent.json": list(t, x.web.Link(clienttest.CA{Crt: x.web.Newest().Crt, Key: stranger.Newest().Key}, clienttest.CA{Crt: stolen})),
		}, err: client.ErrRoots},
		{name: "nothing said of a parent, with one stored", local: []*x509.Certificate{root}, serves: map[string][]byte{"/web/crt/parent.json": []byte("[]")}, also: trust.CAs},
		{name: "the authority's key vouches for another one's", serves: map[string][]byte{
			"/web/crt/parent.json": list(t, x.web.Link(x.web.Newest(), clienttest.CA{Crt: x.root.NewCABelow("web").Crt})),
		}, err: client.ErrRoots},
		{name: "it vouches for itself", serves: map[string][]byte{
			"/web/crt/parent.json": list(t, x.web.Link(x.web.Newest(), x.web.Newest())),
		}, err: client.ErrRoots},
		{name: "the root left out, with one stored", local: []*x509.Certificate{root}, serves: map[string][]byte{"/web/crt/root.pem": clienttest.Bundle(x.web.Newest().Crt)}, also: trust.CAs},

		{name: "an empty bundle", serves: map[string][]byte{"/web/crt/root.pem": {}}, err: pki.ErrInvalid},
		{name: "no parent", serves: map[string][]byte{"/web/timeline": timeline("")}, err: client.ErrRoots},
		{name: "its own parent", serves: map[string][]byte{"/web/timeline": timeline("web")}, err: client.ErrRoots},
		{name: "a circle", serves: map[string][]byte{"/home-root/timeline": timeline("web")}, err: client.ErrRoots},
		{name: "a parent that is a path", serves: map[string][]byte{"/web/timeline": timeline("../cas")}, err: client.ErrNotCA},
		{name: "a parent that is another authority", serves: map[string][]byte{"/web/timeline": timeline("cas")}, err: client.ErrPin},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x.Intercept(nil)
			for path, body := range tt.serves {
				serve(x.Daemon, path, body)
			}
			roots, err := x.client.UpdateRoots(t.Context(), trust, tt.local, tt.pins)
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v", err)
			}
			want := append([]*x509.Certificate{root}, tt.also...)
			if tt.err == nil && !slices.EqualFunc(roots.CAs, want, (*x509.Certificate).Equal) {
				t.Errorf("%d roots", len(roots.CAs))
			}
			if want := tt.name == "first contact"; roots.FirstUse != want {
				t.Errorf("first use: %v", roots.FirstUse)
			}
		})
	}
}

// TestRootRollover: the successor of a root is accepted on the root's word, and not on that of an
// authority under it.
func TestRootRollover(t *testing.T) {
	x := newTree(t)
	first := x.root.Newest()
	x.Clock.Advance(span)
	second := x.root.Rollover()
	x.web.Rollover()
	trust, err := x.client.UpdateTrust(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := x.client.UpdateRoots(t.Context(), trust, []*x509.Certificate{first.Crt}, nil)
	if err != nil || len(roots.CAs) != 2 || !roots.CAs[1].Equal(second.Crt) {
		t.Errorf("%d roots, %v", len(roots.CAs), err)
	}
	forged := x.root.Link(clienttest.CA{Crt: first.Crt, Key: x.web.Newest().Key}, second)
	serve(x.Daemon, "/home-root/crt/ca.crt.json", list(t, forged))
	if _, err := x.client.UpdateRoots(t.Context(), trust, []*x509.Certificate{first.Crt}, nil); !errors.Is(err, client.ErrRoots) || !errors.Is(err, client.ErrChain) {
		t.Errorf("forged: %v", err)
	}
}

// TestNewcomerAfterARootRollover: nothing that is valid is by the older root, which is itself valid for long. Nobody
// vouches for it to whoever comes now, who needs it for nothing.
func TestNewcomerAfterARootRollover(t *testing.T) {
	x := newTree(t)
	x.Clock.Advance(span)
	second := x.root.Rollover().Crt
	newest := x.web.Rollover()
	// CA certificates of the authority last for less than those of the root: as if the others had expired.
	serve(x.Daemon, "/web/crt/ca.crt.pem", clienttest.Bundle(newest.Crt))
	serve(x.Daemon, "/web/crt/ca.crt.json", []byte("[]"))
	trust, err := x.client.UpdateTrust(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, pins := range map[string][]client.Pin{"on first use": nil, "pinned": {client.PinOf(second)}} {
		roots, err := x.client.UpdateRoots(t.Context(), trust, nil, pins)
		if err != nil || len(roots.CAs) != 1 || !roots.CAs[0].Equal(second) {
			t.Errorf("%s: %d roots, %v", name, len(roots.CAs), err)
		}
	}
}

func TestCheckChain(t *testing.T) {
	x := newTree(t)
	good := x.issued(t)
	now := x.Clock.Now()
	roots := x.root.Roots()
	stranger := clienttest.NewAuthority(t, x.Clock, "Root")
	deep := clienttest.NewAuthorityUnder(t, x.Clock, "Deep", x.web)
	deepCrt, _ := holder(t, deep, "deep")
	short := x.root.NewCABelow("Web", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	expired := x.root.NewCABelow("Web", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(-time.Minute) })
	future := x.root.NewCABelow("Web", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) })
	noCA := x.root.NewCABelow("Web", func(c *x509.Certificate) { c.IsCA, c.MaxPathLen, c.KeyUsage = false, 0, x509.KeyUsageDigitalSignature })
	narrow := x.root.NewCABelow("Web", func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"lab.example"}
	})
	between := clienttest.NewAuthority(t, x.Clock, "Web")
	between.Adopt(short)
	deepest := between.NewCABelow("Deep")
	// under signs a certificate with the CA it is given, and leaves it to the chain to say so.
	under := func(ca clienttest.CA, chain ...*x509.Certificate) client.Issued {
		other := clienttest.NewAuthority(t, x.Clock, "Web")
		other.Adopt(ca)
		crt, _ := holder(t, other, "web")
		if chain == nil {
			chain = []*x509.Certificate{ca.Crt}
		}
		return client.Issued{Certificate: crt, Chain: chain}
	}
	other := holderOnly(t, x.CAS)
	namesake := clienttest.NewAuthority(t, x.Clock, "Web")
	namesake.Adopt(namesake.NewCA("Web", func(c *x509.Certificate) { c.RawSubject = x.web.Newest().Crt.RawSubject }))
	for _, tt := range []struct {
		name    string
		issued  client.Issued
		trusted []*x509.Certificate // the chain's first, unless told otherwise
		roots   []*x509.Certificate
		says    string // "" for a good one
		err     error
	}{
		{name: "good", issued: good},
		{name: "of two intermediates", issued: client.Issued{Certificate: deepCrt, Chain: deep.ChainOf(deepCrt)}},
		{name: "self-signed authority", issued: client.Issued{Certificate: other}, roots: x.CAS.Roots()},
		{name: "missing", issued: client.Issued{Certificate: good.Certificate}, says: "no root has signed"},
		{name: "wrong order", issued: client.Issued{Certificate: deepCrt, Chain: []*x509.Certificate{deep.ChainOf(deepCrt)[1], deep.ChainOf(deepCrt)[0]}}, says: "certificate 1 of it: it is of"},
		{name: "one left out", issued: client.Issued{Certificate: deepCrt, Chain: deep.ChainOf(deepCrt)[:1]}, says: "no root has signed"},
		{name: "one twice", issued: client.Issued{Certificate: good.Certificate, Chain: append(slices.Clone(good.Chain), good.Chain...)}, says: "certificate 2 of it"},
		{name: "the root in it", issued: client.Issued{Certificate: good.Certificate, Chain: append(slices.Clone(good.Chain), roots[0])}, says: "certificate 2 of it, CN=Root, is self-signed"},
		{name: "junk behind it", issued: client.Issued{Certificate: good.Certificate, Chain: append(slices.Clone(good.Chain), other)}, says: "certificate 2 of it"},
		{name: "a leaf of another key", issued: client.Issued{Certificate: holderOnly(t, namesake), Chain: good.Chain}, says: "it has not signed the one before"},
		{name: "another root", issued: good, roots: stranger.Roots(), says: "it has not signed the one before"},
		{name: "no root", issued: good, roots: []*x509.Certificate{}, says: "no root has signed"},
		{name: "an intermediate for a root", issued: client.Issued{Certificate: good.Certificate}, roots: good.Chain, says: "no root has signed"},
		{name: "not trusted here", issued: good, trusted: []*x509.Certificate{x.web.Generations()[0].Crt}, says: "not trusted here"},
		{name: "expired intermediate", issued: under(expired), says: "expired", err: pki.ErrExpired},
		{name: "intermediate of the future", issued: under(future), says: "not valid yet", err: pki.ErrNotYetValid},
		{name: "no CA", issued: under(noCA), says: "certificate 1 of it"},
		{name: "too deep", issued: under(deepest, deepest.Crt, short.Crt), says: "where it allows 0"},
		{name: "names that are not permitted", issued: under(narrow), says: "not permitted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.roots == nil {
				tt.roots = roots
			}
			if tt.trusted == nil {
				tt.trusted = tt.issued.Chain
			}
			err := client.CheckChain(tt.issued, tt.trusted, tt.roots, now)
			switch {
			case tt.says == "" && err != nil, tt.says != "" && !errors.Is(err, client.ErrIncompleteChain):
				t.Fatalf("%v", err)
			case tt.says != "" && !strings.Contains(err.Error(), tt.says):
				t.Errorf("%v, want …%s…", err, tt.says)
			case tt.err != nil && !errors.Is(err, tt.err):
				t.Errorf("%v", err)
			}
		})
	}
	later := x.root.Newest().Crt.NotAfter.Add(time.Hour)
	if err := client.CheckChain(good, good.Chain, roots, later); !errors.Is(err, pki.ErrExpired) {
		t.Errorf("past the end of the root: %v", err)
	}
}

func holderOnly(t *testing.T, a *clienttest.Authority) *x509.Certificate {
	t.Helper()
	crt, _ := holder(t, a, "web")
	return crt
}

// TestFetchChain: chains come when they are asked for, and only then.
func TestFetchChain(t *testing.T) {
	ctx := context.Background()
	x := newTree(t)
	x.web.AutoApprove = 1
	key := pkitest.Key(t)
	id, err := x.client.SubmitFor(ctx, pkitest.NamedRequest(t, key, "web", "web.example"), client.Submission{Profile: "server"})
	if err != nil {
		t.Fatal(err)
	}
	if got := x.web.Profiles; !slices.Equal(got, []string{"profile=server"}) {
		t.Errorf("asked for %q", got)
	}
	crt, err := x.client.Certificate(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := x.client.CertificateChain(ctx, id)
	if err != nil || !issued.Certificate.Equal(crt) || len(issued.Chain) != 1 {
		t.Fatalf("a chain of %d, %v", len(issued.Chain), err)
	}
	trusted := []*x509.Certificate{x.web.Newest().Crt}
	renewed, err := x.client.RenewChain(ctx, crt, key, pkitest.Key(t), trusted)
	if err != nil || client.CheckChain(renewed, trusted, x.root.Roots(), x.Clock.Now()) != nil {
		t.Errorf("renewed: a chain of %d, %v", len(renewed.Chain), err)
	}
	var long []*x509.Certificate
	for range 20 {
		long = append(long, crt)
	}
	serve(x.Daemon, "/web/crt/"+id.String(), clienttest.Bundle(long...))
	if _, err := x.client.CertificateChain(ctx, id); !errors.Is(err, client.ErrTooLong) {
		t.Errorf("a long one: %v", err)
	}
}

func TestAuthorities(t *testing.T) {
	x := newTree(t)
	c := newClient(t, x.Daemon, client.CAS)
	for _, tt := range []struct {
		name, page string
		want       []client.AuthorityName
		err        error
	}{
		{"all", "", []client.AuthorityName{"cas", "cau", "home-root", "web"}, nil},
		{"reference", `{"_links":{"self":{"href":"/"},"getCAUHAL":{"href":"/cau","title":"cau"},"getCASHAL":{"href":"/cas","title":"cas"}}}`, []client.AuthorityName{"cas", "cau"}, nil},
		{"what is none", `{"_links":{"self":{"href":"/me"},"home":{"href":"/home"},"a":{"href":"/a/b"},"b":{"href":"http://evil/web"},"c":{"href":"//web"},"d":{"href":"/../x"},"e":{"href":"/W"},"f":{}}}`, nil, nil},
		{"a list of links", `{"_links":{"getHAL":[{"href":"/cas"},{"href":"/web"}],"again":{"href":"/web"}}}`, []client.AuthorityName{"cas", "web"}, nil},
		{"no links", `{}`, nil, nil},
		{"not JSON", `{`, nil, client.ErrNotCA},
		{"a web page", `<html>`, nil, client.ErrNotCA},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x.Intercept(nil)
			if tt.page != "" {
				serve(x.Daemon, "/", []byte(tt.page))
			}
			got, err := c.Authorities(t.Context())
			if !errors.Is(err, tt.err) || !slices.Equal(got, tt.want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	x.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "/web", http.StatusFound)
		return true
	})
	if _, err := c.Authorities(t.Context()); !errors.Is(err, client.ErrNotCA) {
		t.Errorf("a redirect: %v", err)
	}
	if _, err := c.UpdateTrust(t.Context(), nil, nil); !errors.Is(err, client.ErrNotCA) {
		t.Errorf("a redirect to another authority: %v", err)
	}
}

func TestParseAuthority(t *testing.T) {
	for name, ok := range map[string]bool{
		"cas": true, "a": true, "home-root": true, "a-": true, "x9": true, strings.Repeat("a", 32): true,
		"": false, strings.Repeat("a", 33): false, "9a": false, "-a": false, "A": false, "a_b": false, "a/b": false, "ä": false, "a ": false, "a\n": false,
	} {
		if _, err := client.ParseAuthority(name); (err == nil) != ok || err != nil && !errors.Is(err, client.ErrAuthority) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
