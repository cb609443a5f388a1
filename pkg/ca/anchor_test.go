package ca

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// A referenceClient follows an authority as those of the reference do: from a self-signed CA certificate to
// self-signed ones, and nothing else counts for it.
type referenceClient struct{ trusted []*x509.Certificate }

func (c *referenceClient) follow(t *testing.T, w *world, a *Authority) {
	t.Helper()
	links, err := a.Succession(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range links {
		e, err := envelope.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		link, err := envelope.DecodeLink(e.Payload())
		if err != nil {
			t.Fatal(err)
		}
		old, next := parsed(t, link.OldPEM), parsed(t, link.NewPEM)
		if slices.ContainsFunc(c.trusted, old.Equal) && !slices.ContainsFunc(c.trusted, next.Equal) && e.Verify(old.PublicKey) == nil && next.CheckSignatureFrom(next) == nil {
			c.trusted = append(c.trusted, next)
		}
	}
	c.trusted = slices.DeleteFunc(c.trusted, func(crt *x509.Certificate) bool { return pki.CheckValidity(crt, w.clock.Now()) != nil })
}

func parsed(t *testing.T, pem string) *x509.Certificate {
	t.Helper()
	crt, err := pki.ParseCertificatePEM([]byte(pem))
	if err != nil {
		t.Fatal(err)
	}
	return crt
}

// TestReferenceFollowsBelowARoot puts an authority below a root. Who trusts it itself and follows self-signed
// CA certificates only, and who trusts the root alone, both verify what it issues, for as long as it lasts.
func TestReferenceFollowsBelowARoot(t *testing.T) {
	w, f := newWorld(t), family{}
	w.join(f, rootSetup(t))
	own := config("lab")
	lab := w.join(f, own)
	first, err := lab.CACertificates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	client := referenceClient{trusted: first}
	s := below(f, "lab")
	s.row.Title = own.row.Title
	s.row.Permitted = []string{"dns:.example.org"}
	lab = w.join(f, s)
	for range 20 {
		w.clock.Advance(46 * day)
		w.maintainAll(f)
		w.restart() // which reads what was stored
		for name, a := range f {
			at := a.row
			a.store = w.store
			if f[name], err = Open(w.ctx, w.store, w.clock, at, a.cfg); err != nil {
				t.Fatal(err)
			}
		}
		lab = f["lab"]
		issued := w.issue(lab, "www")
		client.follow(t, w, lab)
		if err := w.verify(Issued{Certificate: issued.Certificate}, client.trusted); err != nil {
			t.Fatalf("%s: by the authority: %v", w.clock.Now(), err)
		}
		if err := w.verify(issued, w.roots(lab)); err != nil {
			t.Fatalf("%s: by the root: %v", w.clock.Now(), err)
		}
		served, err := lab.CACertificates(w.ctx)
		if err != nil || !slices.EqualFunc(served, client.trusted, (*x509.Certificate).Equal) {
			t.Errorf("%d CA certificates are served, and the client trusts %d: %v", len(served), len(client.trusted), err)
		}
	}
	// The two forms of one CA differ in who has signed, and in what verifiers need to know of that.
	served, _ := lab.CACertificates(w.ctx)
	between, err := lab.Intermediates(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	statements, err := lab.ParentStatements(w.ctx)
	if err != nil || len(statements) != len(served) {
		t.Fatalf("%d statements about the parent, %v", len(statements), err)
	}
	for i, anchor := range served {
		crt := between[i]
		switch {
		case selfSigned(crt), !selfSigned(anchor), anchor.SerialNumber.Cmp(crt.SerialNumber) == 0:
			t.Errorf("CA %d: signed by %s and %s", i, anchor.Issuer, crt.Issuer)
		case !anchor.NotBefore.Equal(crt.NotBefore) || !anchor.NotAfter.Equal(crt.NotAfter) || !bytes.Equal(anchor.RawSubject, crt.RawSubject),
			!slices.Equal(anchor.PermittedDNSDomains, crt.PermittedDNSDomains), anchor.MaxPathLen != crt.MaxPathLen || anchor.KeyUsage != crt.KeyUsage:
			t.Errorf("CA %d: the forms differ in more than the issuer", i)
		case len(anchor.CRLDistributionPoints) > 0 || len(anchor.IssuingCertificateURL) > 0:
			t.Error("a self-signed certificate points to its issuer")
		}
		e, err := envelope.Parse(statements[i])
		if err != nil || e.Verify(anchor.PublicKey) != nil {
			t.Fatalf("statement %d: %v", i, err)
		}
		link, err := envelope.DecodeLink(e.Payload())
		if err != nil || !parsed(t, link.OldPEM).Equal(anchor) || !parsed(t, link.NewPEM).Equal(crt) {
			t.Errorf("statement %d is about other certificates: %v", i, err)
		}
	}
}

// approve has a certificate for a DNS name signed.
func (w *world) approve(a *Authority, name string) Issued {
	w.t.Helper()
	req, err := pki.ParseRequest(csrFor(w.t, newKey(w.t), x509.CertificateRequest{DNSNames: []string{name}}))
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

// releasedDatabase opens a database of a layout that was released.
func releasedDatabase(t *testing.T, name string) *sqlstore.DB {
	t.Helper()
	file, err := os.Open(filepath.Join("../../testdata/migration", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "db.sqlite")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// TestMigratedBelowARoot goes on with authorities that a version without anchors has put below a root. One
// whose CA certificates were signed by the root there keeps to these, since agents follow them. One that had
// only self-signed ones gets anchors.
func TestMigratedBelowARoot(t *testing.T) {
	w := newWorld(t)
	st := releasedDatabase(t, "layout2.sqlite.gz")
	w.store = st
	f := family{}
	var rows []store.Authority
	var newest time.Time
	err := st.View(t.Context(), func(r store.Reader) (err error) {
		if rows, err = r.Authorities(t.Context()); err != nil {
			return err
		}
		for _, row := range rows {
			cas, err := r.CAs(t.Context(), row.Name)
			if err != nil {
				return err
			}
			for _, ca := range cas {
				newest = later(newest, ca.CreatedAt)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Set(newest.Add(time.Minute))
	slices.SortStableFunc(rows, func(a, b store.Authority) int { return len(a.Parent) - len(b.Parent) }) // roots first
	for _, row := range rows {
		s := config(row.Name)
		if row.Span == 0 {
			row.Span, row.Life, row.KeyType = s.row.Span, s.row.Life, s.row.KeyType // that the daemon fills in
		}
		s.row, s.Parents = row, f
		f[row.Name] = w.open(s)
	}
	client := referenceClient{trusted: anchors(f["cas"].cas.Load().valid(w.clock.Now()))}
	for range 8 {
		w.clock.Advance(46 * day)
		for _, name := range []store.AuthorityName{"home-root", "cas", "lab"} {
			if err := f[name].Maintain(w.ctx); err != nil {
				t.Fatal(err)
			}
		}
		client.follow(t, w, f["cas"])
		for _, name := range []store.AuthorityName{"cas", "lab"} {
			issued := w.approve(f[name], "www.lab.example")
			if err := w.verify(issued, w.roots(f[name])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, want := range map[store.AuthorityName]bool{"cas": true, "lab": false} {
		g := f[name].cas.Load().newest()
		if selfSigned(g.crt) || (g.anchor != nil) != want {
			t.Errorf("%s: signed by %s, with an anchor: %t", name, g.crt.Issuer, g.anchor != nil)
		}
		if !selfSigned(g.trusted()) == want {
			t.Errorf("%s is known by a certificate of %s", name, g.trusted().Issuer)
		}
	}
	if newest := f["cas"].cas.Load().newest().trusted(); !slices.ContainsFunc(client.trusted, newest.Equal) {
		t.Error("a reference client did not follow")
	}
}
