package caucase

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/proof"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// A listener is an authority of which it can be seen who has submitted to it.
type listener struct {
	Core
	asked *[]policy.Asker
}

func (l listener) Submit(ctx context.Context, actor audit.Actor, req *pki.Request, how ca.Asked) (ca.Submission, error) {
	*l.asked = append(*l.asked, how.By)
	return l.Core.Submit(ctx, actor, req, how)
}

// A proving is a site with hosts that have SSH host keys, and a factory.
type proving struct {
	*site
	factory *ca.Authority
	host    crypto.Signer // known as web.example
	asked   []policy.Asker
}

func newProving(t *testing.T) *proving {
	t.Helper()
	_, host, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &proving{host: host}
	public, err := ssh.NewPublicKey(host.Public())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte("web.example "+string(ssh.MarshalAuthorizedKey(public))), 0o600); err != nil {
		t.Fatal(err)
	}
	hosts, err := proof.ReadHosts(proof.Files{KnownHosts: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	p.site = newSite(t, func(c *Config) { c.Hosts = func() *proof.Hosts { return hosts } })
	p.factory = p.more("factory", store.RoleServices)
	instead(&p.front.cfg, listener{p.Services, &p.asked})
	return p
}

// statement is one about a request to the services, of now.
func (p *site) statement(csrPEM string) proof.Statement {
	p.t.Helper()
	cas, err := p.Services.CACertificates(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	digest, err := pki.DigestOf([]byte(csrPEM))
	if err != nil {
		p.t.Fatal(err)
	}
	return proof.Statement{Authority: "cas", CA: proof.Fingerprint(cas[0]), Request: digest, Made: p.Clock.Now().Truncate(time.Second)}
}

func (p *proving) sshProof(key crypto.Signer, s proof.Statement) *proof.Signed {
	p.t.Helper()
	text := must(p.t)(s.Encode())
	signature, err := proof.SignSSH(key, nil, text)
	if err != nil {
		p.t.Fatal(err)
	}
	return &proof.Signed{Statement: string(text), Signature: signature}
}

func (p *site) held(crt *tls.Certificate, s proof.Statement) []byte {
	p.t.Helper()
	return must(p.t)(proof.SignHeld(crt.PrivateKey.(crypto.Signer), crt.Leaf, s))
}

func (p *proving) put(path string, sent proof.Presentation) answer {
	p.t.Helper()
	return p.do(p.client(nil), "PUT", "http:"+path, string(must(p.t)(sent.Encode())), "Content-Type", "application/json")
}

// proven is a body with which a holder asks for another certificate.
func (p *site) proven(csr string) string {
	p.t.Helper()
	crt, _ := p.issue(p.Services)
	return string(must(p.t)(proof.Presentation{RequestPEM: csr, Certificate: p.held(crt, p.statement(csr))}.Encode()))
}

// provenBySSH is a body with which the host asks for a certificate.
func (p *proving) provenBySSH() string {
	csr := newCSR(p.t, pkitest.Key(p.t), "web.example")
	return string(must(p.t)(proof.Presentation{RequestPEM: csr, SSH: p.sshProof(p.host, p.statement(csr))}.Encode()))
}

// Who proves who it is is known by that to whoever decides.
func TestProvenRequests(t *testing.T) {
	p := newProving(t)
	device, _ := p.issue(p.factory)
	csr := newCSR(t, pkitest.Key(t), "web.example")
	s := p.statement(csr)
	got := p.put("/cas/prove", proof.Presentation{RequestPEM: csr, SSH: p.sshProof(p.host, s), Certificate: p.held(device, s)})
	if got.StatusCode != 201 || got.Header.Get("Location") == "" || len(p.asked) != 1 {
		t.Fatalf("%d %s, %d submitted", got.StatusCode, got.body, len(p.asked))
	}
	by := p.asked[0]
	if by.SSH == nil || !slices.Equal(by.SSH.Names, []string{"web.example"}) || !strings.HasPrefix(by.SSH.Fingerprint, "SHA256:") {
		t.Errorf("SSH: %+v", by.SSH)
	}
	if c := by.Certificate; c == nil || c.Authority != "factory" || c.Subject != pki.SubjectString(device.Leaf.RawSubject) || c.Lineage == "" || c.Serial == "" {
		t.Errorf("certificate: %+v", by.Certificate)
	}
	// The same again is the same request, as without proofs.
	again := p.put("/cas/prove", proof.Presentation{RequestPEM: csr, SSH: p.sshProof(p.host, s)})
	if again.StatusCode != 201 || again.Header.Get("Location") != got.Header.Get("Location") {
		t.Errorf("again: %d %s", again.StatusCode, again.Header)
	}
	// With a proof that does not count it is refused, although it is known.
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	if got := p.put("/cas/prove", proof.Presentation{RequestPEM: csr, SSH: p.sshProof(stranger, s)}); got.StatusCode != 403 {
		t.Errorf("a stranger, with a request that is known: %d %s", got.StatusCode, got.body)
	}
}

// What proves nothing is refused with the reason, and nothing is kept of the request.
func TestProofsThatAreRefused(t *testing.T) {
	p := newProving(t)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	user, _ := p.issue(p.Users)
	device, _ := p.issue(p.factory)
	revoked, _ := p.issue(p.factory)
	if err := p.factory.RevokeSerial(t.Context(), audit.Actor{Kind: audit.Operator}, revoked.Leaf.SerialNumber, ca.Revoking{}); err != nil {
		t.Fatal(err)
	}
	renewed, _ := p.issue(p.factory)
	if got := p.do(p.client(nil), "PUT", "http:/factory/crt/renew", renewalOf(t, renewed), "Content-Type", "application/json"); got.StatusCode != 200 {
		t.Fatal(got.StatusCode, got.body)
	}
	elsewhere := selfMade(t, device.Leaf)
	other := newCSR(t, pkitest.Key(t), "web.example")
	p.asked = nil
	type change func(csr string, s *proof.Statement, sent *proof.Presentation)
	bySSH := func(key crypto.Signer, change func(*proof.Statement)) change {
		return func(csr string, s *proof.Statement, sent *proof.Presentation) {
			change(s)
			sent.SSH = p.sshProof(key, *s)
		}
	}
	byCertificate := func(crt *tls.Certificate, change func(*proof.Statement)) change {
		return func(csr string, s *proof.Statement, sent *proof.Presentation) {
			change(s)
			sent.Certificate = p.held(crt, *s)
		}
	}
	same := func(*proof.Statement) {}
	for _, tt := range []struct {
		name   string
		path   string
		change change
		status int
		reason string
	}{
		{"an unknown host key", "", bySSH(stranger, same), 403, "in none of the daemon's files"},
		{"the key of another request", "", bySSH(p.host, func(s *proof.Statement) { s.Request = p.statement(other).Request }), 403, "another request"},
		{"for another authority", "", bySSH(p.host, func(s *proof.Statement) { s.Authority = "factory" }), 403, "authority"},
		{"to another authority", "/factory/prove", bySSH(p.host, same), 403, "authority"},
		{"of another daemon", "", bySSH(p.host, func(s *proof.Statement) { s.CA[0] ^= 1 }), 403, "another daemon"},
		{"replayed", "", bySSH(p.host, func(s *proof.Statement) { s.Made = s.Made.Add(-6 * time.Minute) }), 403, "ago"},
		{"made for later", "", bySSH(p.host, func(s *proof.Statement) { s.Made = s.Made.Add(time.Hour) }), 403, "ahead"},
		{"another statement than was signed", "", func(_ string, s *proof.Statement, sent *proof.Presentation) {
			old := *s
			old.Made = old.Made.Add(-time.Hour)
			sent.SSH = p.sshProof(p.host, old)
			sent.SSH.Statement = string(must(t)(s.Encode()))
		}, 403, "has not signed"},
		{"garbage", "", func(_ string, s *proof.Statement, sent *proof.Presentation) {
			sent.SSH = p.sshProof(p.host, *s)
			sent.SSH.Signature = "x"
		}, 400, "SSH"},
		{"no statement", "", func(_ string, s *proof.Statement, sent *proof.Presentation) {
			sent.SSH = p.sshProof(p.host, *s)
			sent.SSH.Statement = "{}"
		}, 400, "statement"},
		{"a good proof beside a bad one", "", func(_ string, s *proof.Statement, sent *proof.Presentation) {
			sent.SSH = p.sshProof(p.host, *s)
			sent.Certificate = p.held(revoked, *s)
		}, 403, "revoked"},
		{"a user's certificate", "", byCertificate(user, same), 403, "proves nothing"},
		{"a revoked certificate", "", byCertificate(revoked, same), 403, "revoked"},
		{"one that was renewed since", "", byCertificate(renewed, same), 403, "was renewed since"},
		{"one that is forged", "", byCertificate(elsewhere, same), 403, "certificate"},
		{"for another request", "", byCertificate(device, func(s *proof.Statement) { s.Request[0] ^= 1 }), 403, "another request"},
		{"an old one", "", byCertificate(device, func(s *proof.Statement) { s.Made = s.Made.Add(-time.Hour) }), 403, "ago"},
		{"another's certificate", "", byCertificate(&tls.Certificate{Leaf: device.Leaf, PrivateKey: pkitest.Key(t)}, same), 403, "signature does not verify"},
		{"a changed one", "", byCertificate(&tls.Certificate{Leaf: changed(t, device.Leaf), PrivateKey: device.PrivateKey}, same), 403, "certificate"},
		{"a renewal", "", func(_ string, _ *proof.Statement, sent *proof.Presentation) {
			sent.Certificate = []byte(renewalOf(t, device))
		}, 400, "statement"},
		{"nothing", "", func(string, *proof.Statement, *proof.Presentation) {}, 400, "a proof is needed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			csr := newCSR(t, pkitest.Key(t), "web.example")
			s, sent := p.statement(csr), proof.Presentation{RequestPEM: csr}
			tt.change(csr, &s, &sent)
			path := tt.path
			if path == "" {
				path = "/cas/prove"
			}
			got := p.put(path, sent)
			if got.StatusCode != tt.status || !strings.Contains(got.body, tt.reason) || strings.Count(got.body, "\n") != 1 {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
		})
	}
	// Once it has expired.
	p.Clock.Advance(testSpan + testDay)
	csr := newCSR(t, pkitest.Key(t), "web.example")
	if got := p.put("/cas/prove", proof.Presentation{RequestPEM: csr, Certificate: p.held(device, p.statement(csr))}); got.StatusCode != 403 || !strings.Contains(got.body, "expired") {
		t.Errorf("expired: %d %s", got.StatusCode, got.body)
	}
	if pending, err := p.Services.Pending(t.Context()); err != nil || len(pending) > 0 || len(p.asked) > 0 {
		t.Errorf("%d requests wait, %d were submitted, %v", len(pending), len(p.asked), err)
	}
}

// selfMade is a certificate that says what crt says, but that nobody has issued.
func selfMade(t *testing.T, crt *x509.Certificate) *tls.Certificate {
	t.Helper()
	key := pkitest.Key(t)
	ca := *crt
	ca.Subject, ca.RawSubject, ca.PublicKey = crt.Issuer, crt.RawIssuer, key.Public()
	der, err := x509.CreateCertificate(rand.Reader, crt, &ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Leaf: leaf, PrivateKey: key}
}

// changed is a certificate that says something else, with the signature as it was.
func changed(t *testing.T, crt *x509.Certificate) *x509.Certificate {
	t.Helper()
	raw := slices.Clone(crt.Raw)
	raw[len(crt.Raw)-5] ^= 1
	out, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A daemon without files of host keys says so.
func TestNoHostKeysAreKnown(t *testing.T) {
	p := newProving(t)
	p.front.cfg.Hosts = nil
	got := p.do(p.client(nil), "PUT", "http:/cas/prove", p.provenBySSH(), "Content-Type", "application/json")
	if got.StatusCode != 403 || !strings.Contains(got.body, "[ssh]") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}
