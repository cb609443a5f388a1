package manage

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/pkitest"
)

const years = 365 * day

// A family is a store with authorities of every role: those that every daemon has, a root, one below it and
// one more that signs itself.
type family struct {
	t     testing.TB
	store store.Store
	clock *clock.Fake
	dir   *ca.Directory
}

func familyRows(t testing.TB) []store.Authority {
	t.Helper()
	subject := must[[]byte](t)(pki.ParseSubject("C=FR,O=Example,CN=Home Root"))
	services := func(name store.AuthorityName, parent store.AuthorityName) store.Authority {
		row := catest.Row(name)
		row.Title, row.Parent = "Caucase "+string(name), parent
		return row
	}
	root := store.Authority{Name: "home-root", Title: "Home Root", Role: store.RoleRoot, Subject: subject,
		Span: 5 * years, Life: 4, KeyType: string(pki.KeyECDSAP256)}
	rows := []store.Authority{
		catest.Row(store.Users), catest.Row(store.Services), catest.Row(store.HTTPS), root,
		services("lab", "home-root"), services("plain", ""),
	}
	for i := range rows {
		rows[i].CreatedAt = start
	}
	return rows
}

// openFamily opens all authorities of a store.
func openFamily(t testing.TB, st store.Store, clk *clock.Fake) *family {
	t.Helper()
	dir := must[*ca.Directory](t)(ca.OpenDirectory(t.Context(), st, clk, func(row store.Authority) ca.Config {
		cfg := ca.Config{Netloc: "ca.example.org:8009", Backdate: time.Minute, Retention: 3000 * day, Statements: envelope.Statements{}}
		if row.Role == store.RoleDaemon {
			cfg.Host = "ca.example.org"
		}
		return cfg
	}, nil))
	if failed := dir.Failed(); len(failed) > 0 {
		t.Fatal(failed)
	}
	return &family{t, st, clk, dir}
}

// newFamily makes one in an empty store.
func newFamily(t testing.TB, st store.Store) *family {
	t.Helper()
	for _, row := range familyRows(t) {
		putAuthority(t, st, row)
	}
	return openFamily(t, st, clock.NewFake(start))
}

func (f *family) authority(name store.AuthorityName) *ca.Authority {
	f.t.Helper()
	a, ok := f.dir.Authority(name)
	if !ok {
		f.t.Fatalf("there is no %s", name)
	}
	return a
}

// issue has an authority certify a new key.
func (f *family) issue(a *ca.Authority, name string) ca.Issued {
	f.t.Helper()
	req := pkitest.HostRequest(f.t, name)
	made := must[ca.Submission](f.t)(a.Submit(f.t.Context(), audit.Actor{Kind: audit.Anonymous}, req, ca.Asked{}))
	return must[ca.Issued](f.t)(a.Approve(f.t.Context(), audit.Actor{Kind: audit.Operator}, made.ID, ca.Approval{}))
}

// live lets years pass, in which CAs roll over and things are issued and revoked.
func (f *family) live() {
	f.t.Helper()
	ctx := f.t.Context()
	for range 8 {
		for _, a := range f.dir.All() {
			switch a.Row().Role {
			case store.RoleDaemon:
				if _, _, err := a.IssueServer(ctx, pkitest.Key(f.t).Public()); err != nil {
					f.t.Fatal(err)
				}
			case store.RoleUsers, store.RoleServices:
				f.issue(a, "kept.example.org")
				gone := f.issue(a, "gone.example.org")
				if err := a.RevokeSerial(ctx, audit.Actor{Kind: audit.Operator}, gone.Certificate.SerialNumber, ca.Revoking{Reason: store.KeyCompromise}); err != nil {
					f.t.Fatal(err)
				}
			}
		}
		f.lists()
		f.clock.Advance(80 * day)
		if err := f.dir.Maintain(ctx); err != nil {
			f.t.Fatal(err)
		}
	}
}

// lists are the revocation lists of every authority that has any, one after the other.
func (f *family) lists() map[store.AuthorityName][]byte {
	f.t.Helper()
	all := map[store.AuthorityName][]byte{}
	for _, a := range f.dir.All() {
		for _, list := range must[[]ca.List](f.t)(catest.CRLs(f.t.Context(), a)) {
			all[a.Name()] = append(all[a.Name()], list.DER()...)
		}
	}
	return all
}

// verify verifies what was issued by those certificates alone.
func (f *family) verify(issued ca.Issued, roots []*x509.Certificate) error {
	f.t.Helper()
	trusted, between := x509.NewCertPool(), x509.NewCertPool()
	for _, crt := range roots {
		trusted.AddCert(crt)
	}
	for _, crt := range issued.Chain {
		between.AddCert(crt)
	}
	_, err := issued.Certificate.Verify(x509.VerifyOptions{Roots: trusted, Intermediates: between,
		CurrentTime: f.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

func (f *family) roots(name store.AuthorityName) []*x509.Certificate {
	f.t.Helper()
	return must[[]*x509.Certificate](f.t)(f.authority(name).Roots(f.t.Context()))
}

func wantClean(t testing.TB, st store.Store, now time.Time) {
	t.Helper()
	if found, _ := check(t, st, now); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

// A CA of many authorities is copied, drilled and restored like one of three, whatever its database is.
func TestFamilyGoesRound(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			familyGoesRound(t, engine.fresh)
		})
	}
}

func familyGoesRound(t *testing.T, fresh func(testing.TB) *sqlstore.DB) {
	f := newFamily(t, fresh(t))
	ctx := t.Context()
	f.live()
	wantClean(t, f.store, f.clock.Now())
	s := &site{t: t, clock: f.clock, store: f.store, users: f.authority(store.Users), dir: t.TempDir()}
	key, _ := s.enrol(s.users, "alice")
	old := f.issue(f.authority("lab"), "host.example.org")
	trusted := f.roots("lab")
	if len(old.Chain) != 1 || f.verify(old, trusted) != nil {
		t.Fatalf("chain of %d, %v", len(old.Chain), f.verify(old, trusted))
	}
	before := f.lists()
	path := s.backup()

	for _, target := range engines {
		t.Run("copy to "+target.name, func(t *testing.T) {
			to := target.fresh(t)
			if _, err := Copy(ctx, f.store, to, entry(), nil); err != nil {
				t.Fatal(err)
			}
			wantClean(t, to, f.clock.Now())
			lists := openFamily(t, to, f.clock).lists()
			if len(lists) != len(before) {
				t.Errorf("lists of %d authorities, and %d before", len(lists), len(before))
			}
			for name, list := range lists {
				if !bytes.Equal(list, before[name]) {
					t.Errorf("%s: another list", name)
				}
			}
		})
	}
	t.Run("inspect", func(t *testing.T) {
		contents, err := Inspect(ctx, f.clock.Now(), sealedFile(path, key), nil)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, a := range contents.Authorities {
			names = append(names, string(a.Name)+" "+string(a.Role)+" "+string(a.Parent))
		}
		want := []string{"cau users ", "cas services ", "lab services home-root", "plain services ", "https daemon ", "home-root root "}
		if !slices.Equal(names, want) {
			t.Errorf("%q", names)
		}
	})
	t.Run("drill", func(t *testing.T) {
		drilled, err := Drill(ctx, newStore(t), f.clock, sealedFile(path, key), nil, func(Proof) {})
		if err != nil || drilled.Errors+drilled.Warnings > 0 {
			t.Fatalf("%+v %v", drilled.Findings, err)
		}
		var of []string
		for _, p := range drilled.Proofs[2:] {
			of = append(of, p.Name)
			if strings.Contains(p.Detail, "not asked for") {
				t.Errorf("%+v", p)
			}
		}
		for _, row := range familyRows(t) {
			if !slices.ContainsFunc(of, func(p string) bool { return strings.HasSuffix(p, "("+string(row.Name)+")") }) {
				t.Errorf("%s was not exercised: %q", row.Name, of)
			}
		}
	})
	t.Run("restore", func(t *testing.T) {
		st := fresh(t)
		f.clock.Advance(time.Hour)
		restored, err := Restore(ctx, st, f.clock, Restoration{Backup: sealedFile(path, key), Request: pkitest.ParsedRequest(t, pkitest.Key(t), pkitest.Named("alice"))})
		if err != nil {
			t.Fatal(err)
		}
		wantClean(t, st, f.clock.Now())
		if len(restored.CRLNumbers) != len(familyRows(t)) {
			t.Errorf("%+v", restored.CRLNumbers)
		}
		again := openFamily(t, st, f.clock)
		for _, number := range restored.CRLNumbers {
			lists := must[[]ca.List](t)(catest.CRLs(ctx, again.authority(number.Authority)))
			if number.Number < crlJump || len(lists) == 0 || lists[0].Number < number.Number {
				t.Errorf("%s: numbered from %d on, and the lists are %+v", number.Authority, number.Number, lists)
			}
		}
		issued := again.issue(again.authority("lab"), "host.example.org")
		for _, roots := range [][]*x509.Certificate{trusted, again.roots("lab"), again.roots("home-root")} {
			if err := errors.Join(again.verify(old, roots), again.verify(issued, roots)); err != nil {
				t.Error(err)
			}
		}
		if err := again.verify(issued, again.roots("plain")); err == nil {
			t.Error("it verifies with the CA of another authority")
		}
	})
	// Long after, when all but the root has expired.
	t.Run("drill years later", func(t *testing.T) {
		f.clock.Advance(3 * years)
		if drilled, err := Drill(ctx, newStore(t), f.clock, sealedFile(path, key), nil, func(Proof) {}); err != nil {
			t.Errorf("%+v %v", drilled.Findings, err)
		}
	})
}

// An authority below a root that is kept elsewhere.
func externalFamily(t testing.TB, st store.Store) (online, offline *family) {
	t.Helper()
	ctx := t.Context()
	offline = newFamily(t, newStore(t))
	root := offline.authority("home-root")
	crt := must[[]*x509.Certificate](t)(root.CACertificates(ctx))[0]
	rows := familyRows(t)
	for _, row := range rows {
		putAuthority(t, st, row)
	}
	err := st.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.AddCA(ctx, store.CA{Authority: "home-root", CreatedAt: start, NotBefore: crt.NotBefore, NotAfter: crt.NotAfter,
			KeyID: crt.SubjectKeyId, Certificate: crt.Raw, State: store.CAExternal}); err != nil {
			return err
		}
		if _, err := tx.AddCounter(ctx, "home-root", store.CounterCA, 1); err != nil {
			return err
		}
		newer, err := ca.BringList(ctx, tx, "home-root", crt, must[[]ca.List](t)(root.CRLs(ctx))[0].DER())
		if !newer {
			t.Error("the list is not taken")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	online = openFamily(t, st, offline.clock)
	online.signOff(offline, 2)
	if err := online.dir.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	return online, offline
}

// signOff has the root of another family sign what is asked for.
func (f *family) signOff(offline *family, ahead int) {
	f.t.Helper()
	ctx, operator := f.t.Context(), audit.Actor{Kind: audit.Operator}
	lab := f.authority("lab")
	for _, row := range must[[]store.Signoff](f.t)(lab.RequestSignoffs(ctx, operator, ahead)) {
		req := must[*pki.Request](f.t)(pki.ParseRequest(pki.EncodeCSRPEM(row.Request)))
		crt := must[*x509.Certificate](f.t)(offline.authority("home-root").CertifyCA(ctx, operator, req, profile.CA{
			Subject: req.CSR.RawSubject, PublicKey: req.CSR.PublicKey, NotBefore: row.NotBefore, NotAfter: row.NotAfter,
		}, "http://ca.example.org:8009"))
		if err := lab.InstallSignoff(ctx, operator, crt); err != nil {
			f.t.Fatal(err)
		}
	}
}

// What was installed of a root whose key is kept elsewhere survives, as does what is signed ahead.
func TestExternalRootGoesRound(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			externalRootGoesRound(t, engine.fresh)
		})
	}
}

func externalRootGoesRound(t *testing.T, fresh func(testing.TB) *sqlstore.DB) {
	f, _ := externalFamily(t, fresh(t))
	ctx := t.Context()
	old := f.issue(f.authority("lab"), "host.example.org")
	wantClean(t, f.store, f.clock.Now())
	s := &site{t: t, clock: f.clock, store: f.store, users: f.authority(store.Users), dir: t.TempDir()}
	key, _ := s.enrol(s.users, "alice")
	before, path := f.lists()["home-root"], s.backup()
	drilled, err := Drill(ctx, newStore(t), f.clock, sealedFile(path, key), nil, func(Proof) {})
	if err != nil || drilled.Errors+drilled.Warnings > 0 {
		t.Fatalf("%+v %v", drilled.Findings, err)
	}
	if last := drilled.Proofs[len(drilled.Proofs)-1]; !strings.HasSuffix(last.Name, "(home-root)") || !strings.Contains(last.Detail, "kept elsewhere; 1 CA certificates and 1 lists") {
		t.Errorf("%+v", last)
	}
	st := fresh(t)
	if _, err := Restore(ctx, st, f.clock, Restoration{Backup: sealedFile(path, key), Request: pkitest.ParsedRequest(t, pkitest.Key(t), pkitest.Named("alice"))}); err != nil {
		t.Fatal(err)
	}
	wantClean(t, st, f.clock.Now())
	again := openFamily(t, st, f.clock)
	if after := again.lists()["home-root"]; len(after) == 0 || !bytes.Equal(before, after) {
		t.Error("the imported list is another one")
	}
	if err := again.verify(old, again.roots("lab")); err != nil {
		t.Error(err)
	}
	f.clock.Advance(2*93*day + day) // to the time of the generation that is signed ahead
	if err := again.dir.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if cas := must[[]*x509.Certificate](t)(again.authority("lab").CACertificates(ctx)); len(cas) != 2 {
		t.Errorf("%d CA certificates: the one signed ahead is not used", len(cas))
	}
	wantClean(t, st, f.clock.Now())
}

// A newer list of a root that is kept elsewhere is taken over as it is.
func TestImportExternalCRL(t *testing.T) {
	f, offline := externalFamily(t, newStore(t))
	ctx := t.Context()
	cas := must[[]*x509.Certificate](t)(f.authority("lab").Intermediates(ctx))
	if err := offline.authority("home-root").RevokeSerial(ctx, audit.Actor{Kind: audit.Operator}, cas[0].SerialNumber, ca.Revoking{}); err != nil {
		t.Fatal(err)
	}
	newer := offline.lists()["home-root"]
	file := File{Name: "root.crl", Data: pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: newer})}
	done, err := ImportCRLs(ctx, f.store, f.clock, "home-root", []File{file}, "ca.example.org:8009")
	if err != nil || done.Lists != 1 || done.Added != 0 || len(done.Revoked) != 1 || done.Revoked[0].Authority != "lab" || done.Revoked[0].Err != nil {
		t.Errorf("%+v %v", done, err)
	}
	if got := must[[]ca.List](t)(f.authority("home-root").CRLs(ctx)); len(got) != 1 || !bytes.Equal(got[0].DER(), newer) {
		t.Error("the list is not the one that was imported")
	}
	// By which the one below it is revoked.
	wantClean(t, f.store, f.clock.Now())
	err = f.store.View(ctx, func(r store.Reader) error {
		rows, err := r.CAs(ctx, "lab")
		if rows[0].State != store.CARevoked {
			t.Errorf("it is %s", rows[0].State)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
