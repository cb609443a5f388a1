package client_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

func TestURL(t *testing.T) {
	tests := []struct {
		url, base string
		ok        bool
	}{
		{"http://ca.example", "http://ca.example:80", true},
		{"http://ca.example:8009/", "http://ca.example:8009", true},
		{"http://[::1]:8009", "http://[::1]:8009", true},
		{"https://ca.example", "", false},
		{"ca.example:8009", "", false},
		{"ca.example", "", false},
		{"http://", "", false},
		{"http://ca.example/cas", "", false},
		{"http://user@ca.example", "", false},
		{"http://ca.example:0", "", false},
		{"http://ca.example:65535", "", false},
		{"http://ca.example:99999", "", false},
		{"http://ca.example:x", "", false},
		{"ftp://ca.example", "", false},
		{"http://ca.example\n", "", false},
	}
	for _, tt := range tests {
		c, err := client.New(client.Options{URL: tt.url, Authority: client.CAS, Clock: clock.System()})
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.url, err)
		}
		if err == nil && c.URL() != tt.base {
			t.Errorf("%q became %q", tt.url, c.URL())
		}
	}
}

// holder makes a certificate and its key.
func holder(t *testing.T, a *clienttest.Authority, cn string, change ...func(*x509.Certificate)) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key := pkitest.Key(t)
	return a.Issue(pkitest.ParsedRequest(t, key, pkitest.Named(cn, cn+".example")).CSR, key.Public(), change...), key
}

func userOf(t *testing.T, d *clienttest.Daemon) tls.Certificate {
	crt, key := holder(t, d.CAU, "alice")
	return tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key}
}

func TestJourney(t *testing.T) {
	ctx := context.Background()
	d, c := start(t)
	trusted := []*x509.Certificate{d.CAS.Newest().Crt}
	session, err := c.Connect(ctx, userOf(t, d), trusted, client.Caucase{})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if !session.Verified() {
		t.Error("HTTPS is not verified")
	}

	key := pkitest.Key(t)
	csr := pkitest.NamedRequest(t, key, "web", "web.example")
	id, err := c.Submit(ctx, csr)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Submit(ctx, csr); err != nil || again != id {
		t.Errorf("again: %v, %v", again, err)
	}
	if got, err := c.Request(ctx, id); err != nil || !bytes.Equal(got, csr) {
		t.Errorf("request: %q, %v", got, err)
	}
	if _, err := c.Certificate(ctx, id); !errors.Is(err, client.ErrPending) {
		t.Errorf("pending: %v", err)
	}
	if _, err := c.Certificate(ctx, id+1); !errors.Is(err, client.ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
	pending, err := session.Pending(ctx)
	if err != nil || len(pending) != 1 || pending[0].ID != id || !bytes.Equal(pending[0].PEM, csr) {
		t.Errorf("list: %v, %v", pending, err)
	}
	if err := session.Approve(ctx, id, client.Approval{}); err != nil {
		t.Fatal(err)
	}
	if err := session.Approve(ctx, id, client.Approval{}); !client.IsStatus(err, http.StatusNotFound) {
		t.Errorf("signed twice: %v", err)
	}
	crt, err := c.Certificate(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.CheckIssued(crt, key.Public(), trusted, d.Clock.Now()); err != nil {
		t.Error(err)
	}

	next := pkitest.Key(t)
	renewed, err := c.Renew(ctx, crt, key, next, trusted)
	if err != nil || renewed.Subject.CommonName != "web" || renewed.DNSNames[0] != "web.example" {
		t.Fatalf("renew: %v", err)
	}
	if err := c.Revoke(ctx, crt, key, client.Revoking{Reason: 4}); err != nil {
		t.Error(err)
	}
	if err := session.Revoke(ctx, renewed, client.Revoking{OnlyThis: true}); err != nil {
		t.Error(err)
	}
	if err := session.RevokeSerial(ctx, big.NewInt(77), client.Revoking{Reason: 1}); err != nil {
		t.Error(err)
	}
	if err := session.RevokeSerial(ctx, big.NewInt(77), client.Revoking{Reason: 1}); !client.IsStatus(err, http.StatusConflict) {
		t.Errorf("revoked twice: %v", err)
	}
	if got := d.CAS.Revocations(); len(got) != 3 || got[0].ReasonCode != 4 || got[1].ReasonCode != 0 || got[2].SerialNumber.Int64() != 77 {
		t.Errorf("revocations: %v", got)
	}

	other, err := c.Submit(ctx, pkitest.NamedRequest(t, pkitest.Key(t), "other", "other.example"))
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Reject(ctx, other, nil, ""); err != nil {
		t.Error(err)
	}
	if _, err := c.Certificate(ctx, other); !errors.Is(err, client.ErrUnknown) {
		t.Errorf("rejected: %v", err)
	}
}

// The reason of a rejection is in no address, which proxies and daemons write to logs, unless the daemon takes it from nowhere
// else.
func TestReasonOfARejectionIsInNoAddress(t *testing.T) {
	for _, before := range []bool{false, true} {
		d, c := start(t)
		d.CAS.ReasonInQuery = before
		session, err := c.Connect(t.Context(), userOf(t, d), []*x509.Certificate{d.CAS.Newest().Crt}, client.Caucase{})
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		req := pkitest.NamedRequest(t, pkitest.Key(t), "host")
		id, err := c.Submit(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		var targets []string
		d.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodDelete {
				targets = append(targets, r.RequestURI)
			}
			return false
		})
		const reason = "no höst: ask bob, 100%"
		if err := session.Reject(t.Context(), id, nil, reason); err != nil {
			t.Fatal(err)
		}
		d.Intercept(nil)
		parsed, err := pki.ParseRequest(req)
		if err != nil {
			t.Fatal(err)
		}
		if told, err := c.Rejection(t.Context(), id, parsed.Digest); err != nil || told == nil || told.Reason != reason {
			t.Errorf("%v, %v", told, err)
		}
		if before != strings.Contains(strings.Join(targets, " "), "bob") || before != (len(targets) == 2) {
			t.Errorf("asked %q", targets)
		}
	}
}

// TestRogueAnswers puts something else where a daemon should be.
func TestRogueAnswers(t *testing.T) {
	d, c := start(t)
	tests := []struct {
		name   string
		answer http.HandlerFunc
		err    error
	}{
		{"a web page", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<!DOCTYPE html><p>Welcome") }, client.ErrNotCA},
		{"a web page by type", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(http.StatusBadGateway)
		}, client.ErrNotCA},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
		}, client.ErrNotCA},
		{"a redirect to itself", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, client.ErrNotCA},
		{"without end", func(w http.ResponseWriter, r *http.Request) {
			for chunk := make([]byte, 1<<20); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, client.ErrTooLong},
		{"junk", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "junk") }, pki.ErrInvalid},
		{"nothing", func(w http.ResponseWriter, r *http.Request) {}, pki.ErrInvalid},
		{"a private key", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")
		}, pki.ErrInvalid},
		{"half an answer", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "half")
		}, nil},
		{"an error", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "out of \x1b[31mpaper\nand ink", http.StatusInternalServerError)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d.Intercept(func(w http.ResponseWriter, r *http.Request) bool { tt.answer(w, r); return true })
			_, err := c.CACertificate(context.Background())
			if err == nil || tt.err != nil && !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("the error addresses the terminal: %q", err)
			}
			t.Log(err)
		})
	}
	t.Run("a submission", func(t *testing.T) {
		d.Intercept(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(http.StatusCreated); return true })
		if _, err := c.Submit(context.Background(), pkitest.NamedRequest(t, pkitest.Key(t), "x")); !errors.Is(err, client.ErrNotCA) {
			t.Errorf("without an id: %v", err)
		}
	})
}

func TestTimeout(t *testing.T) {
	d, _ := start(t)
	release := make(chan struct{})
	defer close(release)
	d.Intercept(func(w http.ResponseWriter, r *http.Request) bool { <-release; return true })
	c, err := client.New(client.Options{URL: d.URL, Authority: client.CAS, Clock: d.Clock, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CACertificate(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// TestWrongRenewal answers a renewal with certificates that must not be stored.
func TestWrongRenewal(t *testing.T) {
	d, c := start(t)
	trusted := []*x509.Certificate{d.CAS.Newest().Crt}
	crt, key := holder(t, d.CAS, "web")
	next := pkitest.Key(t)
	req, err := pki.ParseRequest(pkitest.NamedRequest(t, next, "web", "web.example"))
	if err != nil {
		t.Fatal(err)
	}
	issue := func(a *clienttest.Authority, change ...func(*x509.Certificate)) *x509.Certificate {
		return a.Issue(req.CSR, next.Public(), change...)
	}
	tests := []struct {
		name string
		crt  *x509.Certificate
		err  error
	}{
		{"the old one", crt, client.ErrWrongKey},
		{"of another key", d.CAS.Issue(req.CSR, pkitest.Key(t).Public()), client.ErrWrongKey},
		{"of another CA", issue(d.CAU), pki.ErrUnknownIssuer},
		{"of a CA with the same name", issue(clienttest.NewAuthority(t, d.Clock, "CAS")), pki.ErrUnknownIssuer},
		{"expired", issue(d.CAS, func(c *x509.Certificate) { c.NotAfter = d.Clock.Now().Add(-time.Second) }), pki.ErrExpired},
		{"not yet valid", issue(d.CAS, func(c *x509.Certificate) { c.NotBefore = d.Clock.Now().Add(time.Hour) }), pki.ErrNotYetValid},
		{"with another subject", issue(d.CAS, func(c *x509.Certificate) { c.RawSubject, c.Subject.CommonName = nil, "evil" }), client.ErrWrongNames},
		{"with another SAN", issue(d.CAS, func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} }), client.ErrWrongNames},
		{"with one more SAN", issue(d.CAS, func(c *x509.Certificate) { c.DNSNames = []string{"web.example", "evil.example"} }), client.ErrWrongNames},
		{"without SANs", issue(d.CAS, func(c *x509.Certificate) { c.DNSNames = nil }), client.ErrWrongNames},
		{"of a CA, as one", issue(d.CAS, func(c *x509.Certificate) { c.IsCA = true }), pki.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			serve(d, "/cas/crt/renew", pki.EncodeCertificatePEM(tt.crt.Raw))
			if got, err := c.Renew(context.Background(), crt, key, next, trusted); !errors.Is(err, tt.err) || got != nil {
				t.Errorf("error %v, want %v", err, tt.err)
			}
		})
	}
}

func TestHTTPSIdentity(t *testing.T) {
	ctx := context.Background()
	d, c := start(t)
	trusted := []*x509.Certificate{d.CAS.Newest().Crt}
	user := userOf(t, d)
	rogue := clienttest.NewAuthority(t, d.Clock, "CAS")
	good := d.HTTPS.IssueServer(t, "127.0.0.1")
	tests := []struct {
		name    string
		voucher func(w http.ResponseWriter)
		leaf    tls.Certificate
		connect bool // whether Connect gets by
		list    bool // whether an operation does
	}{
		{name: "right", leaf: good, connect: true, list: true},
		{name: "a leaf for another host", leaf: d.HTTPS.IssueServer(t, "127.0.0.2"), connect: true},
		{name: "a leaf of another CA", leaf: rogue.IssueServer(t, "127.0.0.1"), connect: true},
		{name: "a leaf of the authority itself", leaf: d.CAS.IssueServer(t, "127.0.0.1"), connect: true},
		{name: "a voucher by a stranger", leaf: good, voucher: func(w http.ResponseWriter) { _, _ = w.Write(rogue.Vouch([]*x509.Certificate{rogue.Newest().Crt})) }},
		{name: "a voucher by the other authority", leaf: good, voucher: func(w http.ResponseWriter) { _, _ = w.Write(d.CAU.Vouch([]*x509.Certificate{d.HTTPS.Newest().Crt})) }},
		{name: "a voucher that is a link", leaf: good, voucher: func(w http.ResponseWriter) { _, _ = w.Write(d.CAS.Link(d.CAS.Newest(), d.CAS.Newest())) }},
		{name: "a voucher for nothing", leaf: good, voucher: func(w http.ResponseWriter) { _, _ = w.Write(d.CAS.Vouch(nil)) }},
		{name: "an unsigned voucher", leaf: good, voucher: func(w http.ResponseWriter) { fmt.Fprint(w, `{"payload":"{}","digest":null}`) }},
		{name: "an empty voucher", leaf: good, voucher: func(w http.ResponseWriter) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d.SetLeaf(tt.leaf)
			d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if tt.voucher == nil || !strings.HasSuffix(r.URL.Path, "https-ca.json") {
					return false
				}
				tt.voucher(w)
				return true
			})
			session, err := c.Connect(ctx, user, trusted, client.Caucase{Allowed: true})
			if (err == nil) != tt.connect {
				t.Fatalf("connect: %v", err)
			}
			if err != nil {
				return
			}
			defer session.Close()
			if !session.Verified() {
				t.Error("not verified")
			}
			before := len(d.Seen())
			if _, err := session.Pending(ctx); (err == nil) != tt.list {
				t.Errorf("list: %v", err)
			}
			if !tt.list && len(d.Seen()) != before {
				t.Error("a request went to an impostor")
			}
		})
	}
}

func TestNotAUser(t *testing.T) {
	ctx := context.Background()
	d, c := start(t)
	trusted := []*x509.Certificate{d.CAS.Newest().Crt}
	crt, key := holder(t, d.CAS, "service")
	session, err := c.Connect(ctx, tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key}, trusted, client.Caucase{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.Pending(ctx); !client.IsStatus(err, http.StatusUnauthorized) {
		t.Errorf("error %v", err)
	}
}
