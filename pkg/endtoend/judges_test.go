package endtoend

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// TestJudges has everything an authority makes, with every type of key, judged by software
// that shares no code with ours: openssl, GnuTLS and zlint.
func TestJudges(t *testing.T) {
	fired := &firedLints{seen: map[string]bool{}}
	t.Run("types", func(t *testing.T) {
		for _, keyType := range pki.KeyTypes() {
			t.Run(string(keyType), func(t *testing.T) {
				t.Parallel()
				newBench(t, keyType).judge(t, fired)
			})
		}
	})
	if t.Failed() || fired.trials < 3*len(pki.KeyTypes()) {
		return // part of them says nothing about the rest
	}
	for _, name := range slices.Sorted(maps.Keys(notForUs)) {
		if !fired.seen[name] {
			t.Errorf("lint %s is excused (%s) but never fires: remove it from the list", name, notForUs[name])
		}
	}
}

// A bench holds authorities of one type of key, and what they made.
type bench struct {
	keyType                pki.KeyType
	store                  store.Store
	users, services, https *ca.Authority

	lists   map[store.AuthorityName][][]byte // DER, of every moment
	revoked map[string]bool                  // serials
}

const benchHost = "ca.example.org"

var aUser = audit.Actor{Kind: audit.User, Serial: big.NewInt(4711), KeyID: []byte{1, 2}, Address: "192.0.2.8"}

func newBench(t *testing.T, keyType pki.KeyType) *bench {
	t.Helper()
	ctx := t.Context()
	db, err := sqlstore.Open(ctx, filepath.Join(t.TempDir(), "ca.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := &bench{keyType: keyType, store: db, lists: map[store.AuthorityName][][]byte{}, revoked: map[string]bool{}}
	open := func(name store.AuthorityName, host string, life int) *ca.Authority {
		a, err := catest.Open(ctx, db, clock.System(), catest.Config{
			Name: name, Netloc: benchHost + ":8009", Host: host,
			Spans: rollover.Spans{Leaf: 93 * 24 * time.Hour, Life: life}, KeyType: keyType,
			Backdate: time.Minute, Retention: time.Hour, MaxPending: 100, AutoApprove: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	b.users, b.services = open(store.Users, "", 4), open(store.Services, "", 4)
	b.https = open(store.HTTPS, benchHost, 40)
	b.fill(t)
	return b
}

// fill has each authority make one of everything.
func (b *bench) fill(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, a := range []*ca.Authority{b.users, b.services} {
		b.keepList(t, a) // an empty one
		held := map[string]crypto.Signer{}
		for i, request := range requests() {
			// Users' keys are unique; a services' key may have any number of certificates.
			keyType := pki.KeyTypes()[i%len(pki.KeyTypes())]
			key := pkitest.SharedKey(t, keyType, fmt.Sprint(a.Name(), i))
			held[b.issue(t, a, pkitest.Request(t, key, request), i)] = key
		}
		b.renewAndRevoke(t, a, held)
		b.keepList(t, a)
	}
	if _, _, err := b.https.IssueServer(ctx, pkitest.KeyOf(t, b.keyType).Public()); err != nil {
		t.Fatal(err)
	}
}

// issue returns the certificate, PEM. The first is signed by itself, every third with a
// template.
func (b *bench) issue(t *testing.T, a *ca.Authority, csr []byte, i int) string {
	t.Helper()
	ctx := t.Context()
	id, err := catest.Wired(a).Submit(ctx, audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.7"}, csr)
	if err != nil {
		t.Fatal(err)
	}
	if i > 0 {
		var template *pki.Request
		if i%3 == 2 {
			if template, err = pki.ParseRequest(csr); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.Approve(ctx, aUser, id, ca.Approval{Template: template}); err != nil {
			t.Fatal(err)
		}
	}
	crt, err := catest.Wired(a).Certificate(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return string(crt)
}

// renewAndRevoke renews every other certificate, and revokes one for each reason there is, and with it its renewal.
func (b *bench) renewAndRevoke(t *testing.T, a *ca.Authority, held map[string]crypto.Signer) {
	t.Helper()
	ctx := t.Context()
	reasons := pki.ReasonNames()
	for i, crt := range slices.Sorted(maps.Keys(held)) {
		var renewal *x509.Certificate
		if i%2 == 0 {
			renewal = b.renew(t, a, crt, held[crt])
		}
		if i >= len(reasons) {
			continue
		}
		reason, err := pki.ParseReason(reasons[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := catest.Wired(a).RevokeByUser(ctx, aUser, envelope.Revocation{CertificatePEM: crt, Reason: reason}); err != nil {
			t.Fatal(err)
		}
		b.revoked[parseCertificate(t, crt).SerialNumber.String()] = true
		if renewal != nil && reasons[i] != "superseded" { // which alone does not end the lineage
			b.revoked[renewal.SerialNumber.String()] = true
		}
	}
}

func (b *bench) renew(t *testing.T, a *ca.Authority, crt string, key crypto.Signer) *x509.Certificate {
	t.Helper()
	old := parseCertificate(t, crt)
	request, _ := newCSR(t, "ignored")
	message := envelopetest.Parse(t, envelopetest.Renewal(t, old, key, request))
	renewal, err := catest.Wired(a).Renew(t.Context(), audit.Actor{Kind: audit.Anonymous}, message)
	if err != nil {
		t.Fatalf("renew %s: %v", old.Subject, err)
	}
	return parseCertificate(t, string(renewal))
}

func (b *bench) keepList(t *testing.T, a *ca.Authority) {
	t.Helper()
	list, err := catest.Wired(a).CRLs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	crl, err := pki.ParseCRLPEM(list.PEM)
	if err != nil {
		t.Fatal(err)
	}
	b.lists[a.Name()] = append(b.lists[a.Name()], crl.Raw)
}

func parseCertificate(t testing.TB, pem string) *x509.Certificate {
	t.Helper()
	crt, err := pki.ParseCertificatePEM([]byte(pem))
	if err != nil {
		t.Fatal(err)
	}
	return crt
}

// requests are what hosts and people ask for, refused requests among them.
func requests() []*x509.CertificateRequest {
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			panic(err)
		}
		return u
	}
	extension := func(critical bool, value any, arc ...int) pkix.Extension {
		der, err := asn1.Marshal(value)
		if err != nil {
			panic(err)
		}
		return pkix.Extension{Id: asn1.ObjectIdentifier(append([]int{2, 5, 29}, arc...)), Critical: critical, Value: der}
	}
	usage := func(bits byte, critical bool) pkix.Extension {
		n := 8
		for n > 0 && bits&(1<<(8-n)) == 0 {
			n--
		}
		return extension(critical, asn1.BitString{Bytes: []byte{bits}, BitLength: n}, 15)
	}
	purposes := func(last ...int) pkix.Extension {
		var oids []asn1.ObjectIdentifier
		for _, n := range last {
			oids = append(oids, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, n})
		}
		return extension(false, oids, 37)
	}
	type policy struct{ ID asn1.ObjectIdentifier }
	all := &x509.CertificateRequest{
		Subject:        pkix.Name{CommonName: "www.example.org", Organization: []string{"Example"}, OrganizationalUnit: []string{"IT"}, Country: []string{"DE"}},
		DNSNames:       []string{"www.example.org", "*.example.org"},
		IPAddresses:    []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")},
		EmailAddresses: []string{"ops@example.org"},
		URIs:           []*url.URL{uri("spiffe://example.org/web")},
		ExtraExtensions: []pkix.Extension{
			usage(0x80, true), purposes(1, 2),
			extension(false, []policy{{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}}}, 32),
		},
	}
	return []*x509.CertificateRequest{
		named("the first"), // signed without asking
		all,
		{DNSNames: []string{"only.example.org"}}, // no subject
		{Subject: pkix.Name{CommonName: "Jürgen Müller 🎩"}}, // UTF8String
		{Subject: pkix.Name{CommonName: "signer"}, ExtraExtensions: []pkix.Extension{usage(0xc0, false), purposes(4)}, EmailAddresses: []string{"a@example.org"}},
		{Subject: pkix.Name{CommonName: "would be a CA"}, ExtraExtensions: []pkix.Extension{
			usage(0x86, true), purposes(9, 1),
			extension(true, struct{ CA bool }{true}, 19),
		}},
		{Subject: pkix.Name{CommonName: strings.Repeat("long", 16)}},
		{Subject: pkix.Name{CommonName: "agreement"}, ExtraExtensions: []pkix.Extension{usage(0x88, true)}},
		{Subject: pkix.Name{CommonName: "code"}, ExtraExtensions: []pkix.Extension{usage(0x80, true), purposes(3, 8)}},
		{Subject: pkix.Name{CommonName: "plain"}},
	}
}

// judge lets each judge see everything in the store.
func (b *bench) judge(t *testing.T, fired *firedLints) {
	ctx := t.Context()
	for _, name := range []store.AuthorityName{store.Users, store.Services, store.HTTPS} {
		var cas []store.CA
		var issued []store.Certificate
		err := b.store.View(ctx, func(r store.Reader) (err error) {
			if cas, err = r.CAs(ctx, name); err != nil {
				return err
			}
			issued, err = r.Certificates(ctx, name, 0, 0)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(cas) != 1 || len(issued) == 0 {
			t.Fatalf("%s has %d CA certificates and has issued %d", name, len(cas), len(issued))
		}
		c := trial{name: string(name), ca: cas[0].Certificate, lists: b.lists[name], revoked: b.revoked}
		for _, crt := range issued {
			c.leaves = append(c.leaves, crt.DER)
		}
		t.Run(c.name, func(t *testing.T) {
			t.Run("zlint", func(t *testing.T) { c.zlint(t, fired) })
			t.Run("openssl", func(t *testing.T) { c.openssl(t) })
			t.Run("certtool", func(t *testing.T) { c.certtool(t) })
		})
	}
}

// A trial holds the material of one CA that is judged. All of it is DER.
type trial struct {
	name    string
	ca      []byte
	leaves  [][]byte
	lists   [][]byte // the newest last
	revoked map[string]bool
}

// folder writes everything out for the tools, and returns the names of the leaves that are
// to be found good and of those that are not.
func (c trial) folder(t *testing.T) (dir string, good, bad []string) {
	t.Helper()
	dir = t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("ca.pem", pki.EncodeCertificatePEM(c.ca))
	for i, list := range c.lists {
		write(fmt.Sprintf("crl-%d.pem", i), pki.EncodeCRLPEM(list))
	}
	for i, der := range c.leaves {
		path := write(fmt.Sprintf("leaf-%d.pem", i), pki.EncodeCertificatePEM(der))
		crt, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if c.revoked[crt.SerialNumber.String()] {
			bad = append(bad, path)
		} else {
			good = append(good, path)
		}
	}
	return dir, good, bad
}

// tool runs a tool and returns its output.
func tool(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c trial) openssl(t *testing.T) {
	needTool(t, "openssl")
	dir, good, bad := c.folder(t)
	run := func(args ...string) (string, error) { return tool(t.Context(), dir, "openssl", args...) }
	if out, err := run("verify", "-x509_strict", "-check_ss_sig", "-CAfile", "ca.pem", "ca.pem"); err != nil {
		t.Errorf("the CA certificate: %s", out)
	}
	verify := []string{"verify", "-x509_strict", "-check_ss_sig", "-policy_check", "-CAfile", "ca.pem"}
	if len(c.lists) > 0 {
		verify = append(verify, "-crl_check", "-CRLfile", fmt.Sprintf("crl-%d.pem", len(c.lists)-1))
	}
	for i := range c.lists {
		out, err := run("crl", "-in", fmt.Sprintf("crl-%d.pem", i), "-CAfile", "ca.pem", "-noout")
		if err != nil || !strings.Contains(out, "verify OK") {
			t.Errorf("list %d: %s", i, out)
		}
	}
	if out, err := run(append(verify, good...)...); err != nil || strings.Count(out, ": OK") != len(good) {
		t.Errorf("leaves: %s", out)
	}
	for _, path := range bad {
		if out, err := run(append(verify, path)...); err == nil || !strings.Contains(out, "certificate revoked") {
			t.Errorf("a revoked leaf: %s", out)
		}
	}
	if c.name == string(store.HTTPS) {
		if out, err := run(append(append(verify, "-purpose", "sslserver", "-verify_hostname", benchHost), good...)...); err != nil {
			t.Errorf("as a server: %s", out)
		}
	}
}

func (c trial) certtool(t *testing.T) {
	needTool(t, "certtool")
	dir, good, bad := c.folder(t)
	run := func(args ...string) (string, error) { return tool(t.Context(), dir, "certtool", args...) }
	// GnuTLS applies the name constraints of a CA to its own name, too, when that is all it
	// is given (RFC 5280 4.2.1.10 would have it so, were it not a trust anchor).
	if c.name != string(store.HTTPS) {
		if out, err := run("--verify", "--load-ca-certificate", "ca.pem", "--infile", "ca.pem"); err != nil {
			t.Errorf("the CA certificate: %s", out)
		}
	}
	for i := range c.lists {
		if out, err := run("--verify-crl", "--load-ca-certificate", "ca.pem", "--infile", fmt.Sprintf("crl-%d.pem", i)); err != nil || !strings.Contains(out, "Verified.") {
			t.Errorf("list %d: %s", i, out)
		}
	}
	verify := []string{"--verify", "--load-ca-certificate", "ca.pem"}
	if len(c.lists) > 0 {
		verify = append(verify, "--load-crl", fmt.Sprintf("crl-%d.pem", len(c.lists)-1))
	}
	for _, path := range good {
		if out, err := run(append(verify, "--infile", path)...); err != nil || !strings.Contains(out, "The certificate is trusted.") {
			t.Errorf("a leaf: %s", out)
		}
	}
	for _, path := range bad {
		if out, err := run(append(verify, "--infile", path)...); err == nil || !strings.Contains(out, "revoked") {
			t.Errorf("a revoked leaf: %v: %s", err, out)
		}
	}
}

// firedLints collects the excused lints that were needed.
type firedLints struct {
	mu     sync.Mutex
	trials int
	seen   map[string]bool
}

func (c trial) zlint(t *testing.T, fired *firedLints) {
	fired.mu.Lock()
	fired.trials++
	fired.mu.Unlock()
	check := func(what string, results *zlint.ResultSet) {
		for name, result := range results.Results {
			if result.Status < lint.Notice || result.Status == lint.NE {
				continue
			}
			if _, excused := notForUs[name]; !excused {
				t.Errorf("%s: %v: %s: %s", what, result.Status, name, result.Details)
			}
			fired.mu.Lock()
			fired.seen[name] = true
			fired.mu.Unlock()
		}
	}
	for i, der := range append([][]byte{c.ca}, c.leaves...) {
		crt, err := zx509.ParseCertificate(der)
		if err != nil {
			t.Fatalf("certificate %d: %v", i, err)
		}
		check(fmt.Sprintf("certificate %d of %s", i, crt.Subject.CommonName), zlint.LintCertificate(crt))
	}
	for i, der := range c.lists {
		list, err := zx509.ParseRevocationList(der)
		if err != nil {
			t.Fatalf("list %d: %v", i, err)
		}
		check(fmt.Sprintf("list %d", i), zlint.LintRevocationList(list))
	}
}
