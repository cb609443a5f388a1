package judges_test

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/judges"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/pkitest"
)

const day = 24 * time.Hour

var (
	begin    = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)
	operator = audit.Actor{Kind: audit.Operator}
)

// A house is a root and the authorities below it, in one store.
type house struct {
	t     *testing.T
	store store.Store
	clock *clock.Fake
	all   *ca.Directory
}

// below describes an authority of services under the root.
func below(name store.AuthorityName, permitted ...string) store.Authority {
	return store.Authority{
		Name: name, Title: "Lab", Role: store.RoleServices, Parent: "home-root", Permitted: permitted,
		Span: 93 * day, Life: 4, KeyType: string(pki.KeyECDSAP256), MaxPending: 50,
		Profiles: []string{profile.NameServer, profile.NameClient},
	}
}

func newHouse(t *testing.T, rootKey pki.KeyType, rows ...store.Authority) *house {
	t.Helper()
	st, err := sqlstore.Open(t.Context(), filepath.Join(t.TempDir(), "ca.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	subject, err := pki.ParseSubject("C=FR,O=Example,CN=Home Root")
	if err != nil {
		t.Fatal(err)
	}
	rows = append(rows, store.Authority{
		Name: "home-root", Title: "Home Root", Role: store.RoleRoot, Subject: subject,
		Span: 5 * 365 * day, Life: 4, KeyType: string(rootKey),
	})
	err = st.Update(t.Context(), func(tx store.Tx) error {
		for _, row := range rows {
			if err := tx.PutAuthority(t.Context(), row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, store: st, clock: clock.NewFake(begin)}
	h.all, err = ca.OpenDirectory(t.Context(), st, h.clock, func(store.Authority) ca.Config {
		return ca.Config{Netloc: "ca.example.org:8009", Backdate: time.Minute, Retention: 30 * day, Statements: envelope.Statements{}}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) authority(name store.AuthorityName) *ca.Authority {
	h.t.Helper()
	a, ok := h.all.Authority(name)
	if !ok {
		h.t.Fatalf("no authority %s: %v", name, h.all.Failed())
	}
	return a
}

// issue has a certificate of a profile signed.
func (h *house) issue(of store.AuthorityName, profileName string, names x509.CertificateRequest) ca.Issued {
	h.t.Helper()
	a := h.authority(of)
	submitted, err := a.Submit(h.t.Context(), audit.Actor{Kind: audit.Anonymous}, pkitest.ParsedRequest(h.t, pkitest.Key(h.t), &names), ca.Asked{})
	if err != nil {
		h.t.Fatal(err)
	}
	issued, err := a.Approve(h.t.Context(), operator, submitted.ID, ca.Approval{Profile: profileName})
	if err != nil {
		h.t.Fatal(err)
	}
	return issued
}

// host are the names of a host in the lab.
func host(name string) x509.CertificateRequest {
	return x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".lab.example"}, IPAddresses: []net.IP{net.IPv4(10, 1, 2, 3)},
	}
}

func values[T any](h *house) func(v T, err error) T {
	return func(v T, err error) T {
		h.t.Helper()
		if err != nil {
			h.t.Fatal(err)
		}
		return v
	}
}

func (h *house) roots(of store.AuthorityName) []*x509.Certificate {
	h.t.Helper()
	return values[[]*x509.Certificate](h)(h.authority(of).Roots(h.t.Context()))
}

// lists are the current revocation lists of the CAs in a certificate's chain, as its pointers find
// them. Other lists, by other keys of the same authority, make NSS overlook these, and Java give up.
func (h *house) lists(issued ca.Issued) (all [][]byte) {
	h.t.Helper()
	for _, name := range []store.AuthorityName{"home-root", "lab"} {
		for _, l := range values[[]ca.List](h)(h.authority(name).CRLs(h.t.Context())) {
			for _, crt := range append([]*x509.Certificate{issued.Certificate}, issued.Chain...) {
				if string(crt.AuthorityKeyId) == string(l.KeyID) {
					all = append(all, l.DER())
				}
			}
		}
	}
	return all
}

// question asks about a certificate with its chain, now, and with the lists that there are now.
func (h *house) question(roots []*x509.Certificate, issued ca.Issued) judges.Question {
	h.t.Helper()
	return judges.Question{
		Roots: roots, Intermediates: issued.Chain, Leaf: issued.Certificate, At: h.clock.Now(), CRLs: h.lists(issued),
	}
}

// pass lets time pass, with the maintenance that a daemon does, until done says so.
func (h *house) pass(done func() bool) {
	h.t.Helper()
	for range 200 {
		if done() {
			return
		}
		h.clock.Advance(40 * day)
		if err := h.all.Maintain(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
	}
	h.t.Fatal("it never comes to that")
}

// signer is the CA certificate that signs for an authority below the root.
func (h *house) signer(of store.AuthorityName) *x509.Certificate {
	h.t.Helper()
	return h.issue(of, "", x509.CertificateRequest{Subject: pkix.Name{CommonName: "probe"}}).Chain[0]
}

// forge signs what an authority would not, with the key of one of its CAs.
func (h *house) forge(of store.AuthorityName, issuer *x509.Certificate, change func(*x509.Certificate)) ca.Issued {
	h.t.Helper()
	var key crypto.Signer
	err := h.store.View(h.t.Context(), func(r store.Reader) error {
		rows, err := r.CAs(h.t.Context(), of)
		for _, row := range rows {
			if string(row.Certificate) == string(issuer.Raw) {
				parsed, err := x509.ParsePKCS8PrivateKey(row.Key.Ref)
				if err != nil {
					return err
				}
				key = parsed.(crypto.Signer)
			}
		}
		return err
	})
	if err != nil || key == nil {
		h.t.Fatalf("the key of the CA: %v", err)
	}
	pub := pkitest.Key(h.t).Public()
	crt := pkitest.CA{Crt: issuer, Key: key}.Issue(h.t, "stray", pub, func(template *x509.Certificate) {
		template.Subject = pkix.Name{} // some take a server's common name for a DNS name when it has none
		template.NotBefore, template.NotAfter = h.clock.Now(), h.clock.Now().Add(30*day)
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		change(template)
	})
	return ca.Issued{Certificate: crt, Chain: []*x509.Certificate{issuer}}
}

// TestChains has judges that share no code with us follow an authority below a root through
// its generations, and the root to its next one. They trust the root of the first day alone.
func TestChains(t *testing.T) {
	for _, tt := range []struct {
		rootKey pki.KeyType
		absent  []string // judges that do not know this kind of signature
	}{
		{rootKey: pki.KeyECDSAP256},
		{rootKey: pki.KeyRSA2048},
		{rootKey: pki.KeyEd25519, absent: []string{"NSS"}},
	} {
		t.Run(string(tt.rootKey), func(t *testing.T) {
			j := judges.New(t).Without(tt.absent...)
			h := newHouse(t, tt.rootKey, below("lab", "dns:.lab.example", "ip:10.0.0.0/8"))
			first := h.roots("lab")
			if len(first) != 1 {
				t.Fatalf("%d roots on the first day", len(first))
			}
			generations := map[string]bool{}
			var before *ca.Issued
			for len(generations) < 3 {
				current := h.signer("lab")
				generations[string(current.Raw)] = true
				server := h.issue("lab", profile.NameServer, host("server"))
				client := h.issue("lab", profile.NameClient, host("client"))
				j.Trusted(t, "a server", h.question(first, server))
				j.Trusted(t, "a client", h.question(first, client))
				if before != nil {
					j.Trusted(t, "a server of the generation before", h.question(first, *before))
				}
				h.pass(func() bool {
					if !h.signer("lab").Equal(current) {
						return true
					}
					last := h.issue("lab", profile.NameServer, host("last"))
					before = &last
					return false
				})
			}
			h.checkRefusals(j, first)
			h.checkRevokedCA(j, first)
			h.checkRootRollover(j, first)
		})
	}
}

// checkRefusals: what must not verify, at a time at which something like it does.
func (h *house) checkRefusals(j *judges.Judges, roots []*x509.Certificate) {
	t := h.t
	good, revoked := h.issue("lab", profile.NameServer, host("good")), h.issue("lab", profile.NameServer, host("revoked"))
	if err := h.authority("lab").RevokeSerial(t.Context(), operator, revoked.Serial, ca.Revoking{Reason: store.KeyCompromise}); err != nil {
		t.Fatal(err)
	}
	j.Refused(t, "a revoked certificate", h.question(roots, revoked))
	j.Trusted(t, "one beside it", h.question(roots, good))
	j.Refused(t, "one without its chain", h.question(roots, ca.Issued{Certificate: good.Certificate}))

	issuer := good.Chain[0]
	j.Refused(t, "a name that is not permitted", h.question(roots, h.forge("lab", issuer, func(c *x509.Certificate) {
		c.DNSNames = []string{"host.lab.example", "host.elsewhere.example"}
	})))
	j.Refused(t, "an address that is not permitted", h.question(roots, h.forge("lab", issuer, func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}
	})))
	late := h.question(roots, h.forge("lab", issuer, func(c *x509.Certificate) {
		c.DNSNames, c.NotAfter = []string{"host.lab.example"}, issuer.NotAfter.Add(365*day)
	}))
	late.CRLs = nil // at that time, there are others
	j.Trusted(t, "one that will outlive its CA", late)
	late.At = issuer.NotAfter.Add(day)
	j.Refused(t, "one that has outlived its CA", late)
}

// checkRevokedCA: what a revoked CA has signed is refused, what its successor signs is not.
func (h *house) checkRevokedCA(j *judges.Judges, roots []*x509.Certificate) {
	t := h.t
	old := h.issue("lab", profile.NameServer, host("old"))
	before := h.question(roots, old)
	j.Trusted(t, "before its CA is revoked", before)
	if err := h.authority("lab").RevokeCA(t.Context(), operator, old.Chain[0].SubjectKeyId, store.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	after := h.question(roots, old)
	after.CRLs = append(after.CRLs, before.CRLs[1:]...) // the revoked CA's own last list is out there
	j.Refused(t, "of a revoked CA", after)
	j.Trusted(t, "of the CA after it", h.question(roots, h.issue("lab", profile.NameServer, host("new"))))
}

// checkRootRollover: whoever trusts what Roots says verifies on both sides of the root's next generation.
func (h *house) checkRootRollover(j *judges.Judges, first []*x509.Certificate) {
	t := h.t
	var last ca.Issued
	h.pass(func() bool {
		if issuer := h.signer("lab"); string(issuer.AuthorityKeyId) != string(first[0].SubjectKeyId) {
			return true
		}
		last = h.issue("lab", profile.NameServer, host("last"))
		return false
	})
	both := h.roots("lab")
	if len(both) != 2 || !both[0].Equal(first[0]) {
		t.Fatalf("%d roots", len(both))
	}
	next := h.issue("lab", profile.NameServer, host("next"))
	j.Trusted(t, "below the first root", h.question(both, last))
	j.Trusted(t, "below the second root", h.question(both, next))
	j.Trusted(t, "below the second root, by that alone", h.question(both[1:], next))
	j.Refused(t, "below the second root, by the first alone", h.question(first, next))
}

// TestNameConstraints: where only some kinds of names are permitted, or some of one kind, judges
// refuse all others of that kind, and DNS names and addresses where only the other is permitted.
func TestNameConstraints(t *testing.T) {
	j := judges.New(t)
	h := newHouse(t, pki.KeyECDSAP256,
		below("names", "dns:.lab.example"), below("addresses", "ip:10.0.0.0/8", "ip:2001:db8::/32"),
		below("people", "email:lab.example"), below("places", "uri:.lab.example"))
	dns := func(names ...string) x509.CertificateRequest { return x509.CertificateRequest{DNSNames: names} }
	ip := func(addresses ...string) (r x509.CertificateRequest) {
		for _, a := range addresses {
			r.IPAddresses = append(r.IPAddresses, net.ParseIP(a))
		}
		return r
	}
	email := func(address string) x509.CertificateRequest {
		return x509.CertificateRequest{EmailAddresses: []string{address}}
	}
	uri := func(host string) x509.CertificateRequest {
		return x509.CertificateRequest{URIs: []*url.URL{{Scheme: "spiffe", Host: host, Path: "/x"}}}
	}
	for _, tt := range []struct {
		name    string
		of      store.AuthorityName
		names   x509.CertificateRequest
		trusted bool
		absent  []string
	}{
		{name: "the domain itself", of: "names", names: dns("lab.example"), trusted: true},
		{name: "a host in it", of: "names", names: dns("a.b.lab.example", "lab.example"), trusted: true},
		{name: "any host in it", of: "names", names: dns("*.lab.example"), trusted: true},
		{name: "one of two elsewhere", of: "names", names: dns("a.lab.example", "lab.example.org")},
		{name: "a domain that ends likewise", of: "names", names: dns("slab.example")},
		{name: "an IPv4 address beside names", of: "names", names: ip("10.0.0.1")},
		{name: "an IPv6 address beside names", of: "names", names: ip("2001:db8::1")},
		{name: "e-mail, of which nothing is said", of: "names", names: email("alice@elsewhere.example"), trusted: true},
		{name: "addresses", of: "addresses", names: ip("10.255.0.1", "2001:db8::1"), trusted: true},
		{name: "another IPv4 address", of: "addresses", names: ip("11.0.0.1")},
		{name: "another IPv6 address", of: "addresses", names: ip("2001:db9::1")},
		{name: "a name beside addresses", of: "addresses", names: dns("a.lab.example")},
		{name: "a person of the lab", of: "people", names: email("alice@lab.example"), trusted: true},
		{name: "a person elsewhere", of: "people", names: email("alice@elsewhere.example")},
		{name: "a name beside people", of: "people", names: dns("a.lab.example")},
		{name: "a place in the lab", of: "places", names: uri("a.lab.example"), trusted: true},
		{name: "a place elsewhere", of: "places", names: uri("a.elsewhere.example"), absent: []string{"GnuTLS"}}, // constrains no URIs
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := j.Without(tt.absent...)
			issuer := h.signer(tt.of)
			issued := h.forge(tt.of, issuer, func(c *x509.Certificate) {
				c.DNSNames, c.IPAddresses, c.EmailAddresses, c.URIs = tt.names.DNSNames, tt.names.IPAddresses, tt.names.EmailAddresses, tt.names.URIs
			})
			q := judges.Question{Roots: h.roots(tt.of), Intermediates: issued.Chain, Leaf: issued.Certificate, At: h.clock.Now()}
			if tt.trusted {
				j.Trusted(t, tt.name, q)
			} else {
				j.Refused(t, tt.name, q)
			}
		})
	}
}
