package ca

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

var operator = audit.Actor{Kind: audit.Operator}

// A family is the authorities that know each other.
type family map[store.AuthorityName]*Authority

func (f family) Authority(name store.AuthorityName) (*Authority, bool) {
	a, ok := f[name]
	return a, ok
}

// rootSetup is a root of 20 years, whose CA certificates certify for five years after their first five.
func rootSetup(t testing.TB) setup {
	t.Helper()
	s := config("home-root")
	subject, err := pki.ParseSubject("C=FR,O=Example,CN=Home Root")
	if err != nil {
		t.Fatal(err)
	}
	s.row.Role, s.row.Title, s.row.Subject = store.RoleRoot, "Home Root", subject
	s.row.Span, s.row.Life = 5*365*day, 4
	return s
}

// below is an authority of services under the root.
func below(f family, name store.AuthorityName) setup {
	s := config(name)
	s.row.Title, s.row.Parent, s.Parents = "Lab", "home-root", f
	return s
}

// put stores the row, as the daemon does.
func (w *world) put(row store.Authority) {
	w.t.Helper()
	if err := w.store.Update(w.ctx, func(tx store.Tx) error { return tx.PutAuthority(w.ctx, row) }); err != nil {
		w.t.Fatal(err)
	}
}

// join opens an authority and makes it known to the others.
func (w *world) join(f family, s setup) *Authority {
	w.t.Helper()
	w.put(s.row)
	a := w.open(s)
	f[a.name] = a
	return a
}

// issue has a certificate for cn signed and returns it with its chain.
func (w *world) issue(a *Authority, cn string) Issued {
	w.t.Helper()
	req, err := pki.ParseRequest(csrNamed(w.t, newKey(w.t), cn))
	if err != nil {
		w.t.Fatal(err)
	}
	submitted, err := a.Submit(w.ctx, anonymous, req, Asked{})
	if err != nil {
		w.t.Fatal(err)
	}
	issued, err := a.Approve(w.ctx, alice, submitted.ID, Approval{})
	if err != nil {
		w.t.Fatal(err)
	}
	return issued
}

// verify has crypto/x509 judge a certificate and its chain by roots alone.
func (w *world) verify(issued Issued, roots []*x509.Certificate) error {
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, crt := range roots {
		pool.AddCert(crt)
	}
	for _, crt := range issued.Chain {
		between.AddCert(crt)
	}
	_, err := issued.Certificate.Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: between, CurrentTime: w.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

func (w *world) roots(a *Authority) []*x509.Certificate {
	w.t.Helper()
	roots, err := a.Roots(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return roots
}

func (w *world) maintainAll(f family) {
	w.t.Helper()
	for name, a := range f {
		if err := a.Maintain(w.ctx); err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
	}
}

// TestBelowARoot trusts nothing but the root of the first day, for as long as that is valid.
func TestBelowARoot(t *testing.T) {
	w, f := newWorld(t), family{}
	root := w.join(f, rootSetup(t))
	lab := w.join(f, below(f, "lab"))
	trusted := w.roots(lab)
	if len(trusted) != 1 || !selfSigned(trusted[0]) || pki.SubjectString(trusted[0].RawSubject) != "CN=Home Root,O=Example,C=FR" {
		t.Fatalf("roots %v", trusted)
	}
	generations := map[string]bool{}
	for w.clock.Now().Before(trusted[0].NotAfter.Add(-93 * day)) {
		issued := w.issue(lab, "host")
		if len(issued.Chain) != 1 || issued.Chain[0].MaxPathLen != 0 || !issued.Chain[0].MaxPathLenZero {
			t.Fatalf("chain %v", issued.Chain)
		}
		generations[string(issued.Chain[0].Raw)] = true
		if err := w.verify(issued, trusted); err != nil {
			t.Fatalf("%s: %v", w.clock.Now(), err)
		}
		if end := issued.Chain[0].NotAfter; issued.Certificate.NotAfter.After(end) {
			t.Fatalf("the certificate outlives its CA")
		}
		if w.clock.Now().Sub(epoch) > 14*365*day {
			// By then the second generation of the root signs, and those who know the first only
			// find their way by the root's succession, or trust what Roots says.
			break
		}
		w.clock.Advance(60 * day)
		w.maintainAll(f)
	}
	if len(generations) < 10 {
		t.Errorf("%d generations", len(generations))
	}
	links, err := lab.Succession(w.ctx)
	if err != nil || len(links) < 10 {
		t.Errorf("%d statements, %v", len(links), err)
	}
	// The pointers of the last one lead to the root that has issued it.
	chain := w.issue(lab, "host").Chain
	aki := decimal(chain[0].AuthorityKeyId)
	if got := chain[0].CRLDistributionPoints; len(got) != 1 || got[0] != "http://ca.example.org:8009/home-root/crl/"+aki+".crl" {
		t.Errorf("CRL pointer %v", got)
	}
	if got := chain[0].IssuingCertificateURL; len(got) != 1 || got[0] != "http://ca.example.org:8009/home-root/crt/"+aki+".crt" {
		t.Errorf("issuer pointer %v", got)
	}
	// The root has each of them on record.
	err = w.store.View(w.ctx, func(r store.Reader) error {
		row, err := r.CertificateBySerial(w.ctx, root.name, chain[0].SerialNumber)
		if err == nil && row.Method != store.CASigned {
			t.Errorf("method %s", row.Method)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRootRollsOver goes beyond the first root: Roots has both while both count.
func TestRootRollsOver(t *testing.T) {
	w, f := newWorld(t), family{}
	root := w.join(f, rootSetup(t))
	lab := w.join(f, below(f, "lab"))
	for w.clock.Now().Sub(epoch) < 30*365*day {
		w.clock.Advance(45 * day)
		w.maintainAll(f)
		if err := w.verify(w.issue(lab, "host"), w.roots(lab)); err != nil {
			t.Fatalf("%s: %v", w.clock.Now(), err)
		}
	}
	if roots := w.roots(root); len(roots) == 0 || roots[len(roots)-1].NotBefore.Before(epoch.Add(time.Hour)) {
		t.Errorf("the root never rolled over")
	}
}

func TestARootSignsCAsOnly(t *testing.T) {
	w, f := newWorld(t), family{}
	root := w.join(f, rootSetup(t))
	req, err := pki.ParseRequest(csrNamed(t, newKey(t), "host"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Submit(w.ctx, anonymous, req, Asked{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a leaf: %v", err)
	}
	services := w.join(f, config(store.Services))
	if _, err := services.CertifyCA(w.ctx, operator, req, profile.CA{}, ""); !errors.Is(err, ErrInvalid) {
		t.Errorf("a CA certificate of an authority that is no root: %v", err)
	}
}

func TestPermittedNamesBindTheWholeAuthority(t *testing.T) {
	w, f := newWorld(t), family{}
	w.join(f, rootSetup(t))
	s := below(f, "lab")
	s.row.Permitted = []string{"dns:.example.org"}
	lab := w.join(f, s)
	if err := w.verify(w.issue(lab, "host"), w.roots(lab)); err != nil {
		t.Error(err)
	}
	csr := csrFor(t, newKey(t), x509.CertificateRequest{DNSNames: []string{"host.example.com"}})
	submitted, err := lab.Submit(w.ctx, anonymous, request(t, csr), Asked{})
	if err == nil {
		_, err = lab.Approve(w.ctx, alice, submitted.ID, Approval{})
	}
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "DNS:host.example.com") {
		t.Errorf("a name that is not permitted: %v", err)
	}
}

// TestPutUnderARootLater: hosts that know the self-signed CA follow, and those who trust the root
// verify what comes from the next generation on.
func TestPutUnderARootLater(t *testing.T) {
	w, f := newWorld(t), family{}
	w.join(f, rootSetup(t))
	s := config("lab")
	lab := w.join(f, s)
	own := w.roots(lab)
	if issued := w.issue(lab, "host"); len(issued.Chain) != 0 || w.verify(issued, own) != nil {
		t.Fatalf("chain %v, %v", issued.Chain, w.verify(issued, own))
	}
	lab = w.join(f, below(f, "lab"))
	var last Issued
	for range 10 {
		last = w.issue(lab, "host")
		if err := w.verify(last, w.roots(lab)); err != nil {
			t.Fatalf("%s: %v", w.clock.Now(), err)
		}
		w.clock.Advance(46 * day)
		w.maintainAll(f)
	}
	if len(last.Chain) != 1 {
		t.Error("still self-signed")
	}
	root := f["home-root"]
	if err := w.verify(last, w.roots(root)); err != nil {
		t.Errorf("by the root alone: %v", err)
	}
	if !pki.SameAuthority(last.Chain[0].RawSubject, own[0].RawSubject) {
		t.Error("the CA has another name now")
	}
	if links, err := lab.Succession(w.ctx); err != nil || len(links) == 0 {
		t.Errorf("%d statements, %v", len(links), err)
	}
}

func TestRevokeCA(t *testing.T) {
	w, f := newWorld(t), family{}
	root := w.join(f, rootSetup(t))
	lab := w.join(f, below(f, "lab"))
	old := w.issue(lab, "host")
	keyID := old.Chain[0].SubjectKeyId
	if err := lab.RevokeCA(w.ctx, operator, []byte{1}, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown CA: %v", err)
	}
	if err := root.RevokeCA(w.ctx, operator, keyID, 0); !errors.Is(err, ErrInvalid) {
		t.Errorf("a root's own: %v", err)
	}
	if err := lab.RevokeCA(w.ctx, operator, keyID, store.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	if err := lab.RevokeCA(w.ctx, operator, keyID, store.KeyCompromise); !errors.Is(err, ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	lists, err := root.CRLs(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(lists[0].DER())
	if err != nil || len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Cmp(old.Chain[0].SerialNumber) != 0 {
		t.Errorf("the root's list: %v, %v", list.RevokedCertificateEntries, err)
	}
	fresh := w.issue(lab, "other")
	if string(fresh.Chain[0].SubjectKeyId) == string(keyID) {
		t.Error("the revoked CA goes on signing")
	}
	if err := w.verify(fresh, w.roots(lab)); err != nil {
		t.Error(err)
	}
	if statements, err := lab.ParentStatements(w.ctx); err != nil || len(statements) != 2 {
		t.Errorf("%d statements about the parent, and not those of the revoked and the new CA: %v", len(statements), err)
	}
	// What the revoked one has signed counts for nothing here, either.
	if _, err := lab.Holder(w.ctx, anonymous, old.Certificate, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a holder of a certificate by the revoked CA: %v", err)
	}
	err = w.store.View(w.ctx, func(r store.Reader) error {
		rows, err := r.CAs(w.ctx, lab.name)
		if err == nil && (rows[0].State != store.CARevoked || len(rows[0].Key.Ref) > 0) {
			t.Errorf("state %s, a key of %d bytes", rows[0].State, len(rows[0].Key.Ref))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
