package manage

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// exported is what export-ca writes of an authority, read again.
func (f *family) exported(name store.AuthorityName) []KeyPair {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), string(name)+".pem")
	out := CAExport{Authority: name, Path: path, Passphrase: []byte("x")}
	must[ExportedCAs](f.t)(ExportCAs(f.t.Context(), f.store, f.clock.Now(), out))
	data := must[[]byte](f.t)(os.ReadFile(path))
	return must[[]KeyPair](f.t)(ReadKeyPairs([]File{{path, data}}, func(string) ([]byte, error) { return []byte("x"), nil }))
}

// newHome is an empty database with the authorities that every daemon has.
func newHome(t *testing.T, st store.Store) store.Store {
	t.Helper()
	for _, row := range familyRows(t)[:3] {
		putAuthority(t, st, row)
	}
	return st
}

// imports adds one of the family's authorities with what another database has exported of it.
func imports(t *testing.T, st store.Store, f *family, name store.AuthorityName) error {
	t.Helper()
	for _, row := range familyRows(t) {
		if row.Name == name {
			row.Subject = nil
			if row.Role == store.RoleRoot {
				row.Span, row.Life = 0, 0
			}
			return AddAuthority(t.Context(), st, f.clock, NewAuthority{Row: row, Netloc: "ca.example.org:8009", Import: f.exported(name),
				Noted: func(note string) { t.Logf("%s: %s", name, note) }})
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// A root and an authority below it move to another database, by their exports alone, and clients notice nothing.
func TestExportedFamilyIsImported(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			f := newFamily(t, engine.fresh(t))
			f.live()
			ctx := t.Context()
			old := f.issue(f.authority("lab"), "host.example.org")
			trusted := f.roots("lab")
			anchors := must[[]*x509.Certificate](t)(f.authority("lab").CACertificates(ctx))

			st := newHome(t, engine.fresh(t))
			refusedWithoutTrace(t, st, "there is no authority home-root", func() error { return imports(t, st, f, "lab") })
			for _, name := range []store.AuthorityName{"home-root", "lab", "plain"} {
				if err := imports(t, st, f, name); err != nil {
					t.Fatal(err)
				}
			}
			refusedWithoutTrace(t, st, "there is an authority lab already", func() error { return imports(t, st, f, "lab") })
			wantClean(t, st, f.clock.Now())
			again := openFamily(t, st, f.clock)
			for i, crt := range must[[]*x509.Certificate](t)(again.authority("lab").CACertificates(ctx)) {
				if i >= len(anchors) || !crt.Equal(anchors[i]) {
					t.Errorf("CA certificate %d of lab is another one", i)
				}
			}
			issued := again.issue(again.authority("lab"), "host.example.org")
			for _, roots := range [][]*x509.Certificate{trusted, again.roots("lab"), again.roots("home-root")} {
				if err := errors.Join(again.verify(old, roots), again.verify(issued, roots)); err != nil {
					t.Error(err)
				}
			}
			// It rolls over below the same root.
			f.clock.Advance(3 * 93 * day)
			if err := again.dir.Maintain(ctx); err != nil {
				t.Fatal(err)
			}
			if err := again.verify(again.issue(again.authority("lab"), "later.example.org"), again.roots("home-root")); err != nil {
				t.Error(err)
			}
			wantClean(t, st, f.clock.Now())
			// The root has the imported CA certificate on record, so that it can be revoked, by whoever holds the root.
			cas := must[[]*x509.Certificate](t)(again.authority("lab").Intermediates(ctx))
			for _, crt := range cas {
				revoked, err := RevokeBelow(ctx, st, f.clock, "home-root", nil, crt.SerialNumber, store.KeyCompromise)
				if errors.Is(err, ErrNetloc) || err != nil || len(revoked) != 1 || revoked[0].Authority != "lab" {
					t.Errorf("%+v %v", revoked, err)
				}
			}
		})
	}
}

func TestImportBelowIsChecked(t *testing.T) {
	f := newFamily(t, newStore(t))
	ctx := t.Context()
	lab := f.exported("lab")
	if len(lab) != 1 || lab[0].Anchor == nil || selfIssued(lab[0].Certificate) || !selfIssued(lab[0].Anchor) {
		t.Fatalf("%d pairs", len(lab))
	}
	home := func() store.Store { return newHome(t, newStore(t)) }
	row := familyRows(t)[4]
	add := func(st store.Store, row store.Authority, pairs ...KeyPair) error {
		return AddAuthority(ctx, st, f.clock, NewAuthority{Row: row, Netloc: "ca.example.org:8009", Import: pairs})
	}

	t.Run("another root of the same name", func(t *testing.T) {
		st := home()
		if err := AddAuthority(ctx, st, f.clock, NewAuthority{Row: familyRows(t)[3]}); err != nil {
			t.Fatal(err)
		}
		bare := lab[0]
		bare.Anchor = nil
		refusedWithoutTrace(t, st, "no CA of home-root, the parent of lab, that is known here has signed it", func() error { return add(st, row, bare) })
		// What hosts know it by is taken all the same, and the root signs the next one.
		if err := add(st, row, lab...); err != nil {
			t.Fatal(err)
		}
		again := openFamily(t, st, f.clock)
		if cas := must[[]*x509.Certificate](t)(again.authority("lab").CACertificates(ctx)); len(cas) != 1 || !cas[0].Equal(lab[0].Anchor) {
			t.Errorf("%d CA certificates", len(cas))
		}
		wantClean(t, st, f.clock.Now())
	})
	t.Run("no parent", func(t *testing.T) {
		st := home()
		alone := row
		alone.Parent = ""
		bare := lab[0]
		bare.Anchor = nil
		refusedWithoutTrace(t, st, "not self-signed", func() error { return add(st, alone, bare) })
		if err := add(st, alone, lab...); err != nil {
			t.Fatal(err)
		}
		wantClean(t, st, f.clock.Now())
	})
	t.Run("no self-signed one", func(t *testing.T) {
		st := home()
		if err := imports(t, st, f, "home-root"); err != nil {
			t.Fatal(err)
		}
		bare := lab[0]
		bare.Anchor = nil
		if err := add(st, row, bare); err != nil {
			t.Fatal(err)
		}
		wantClean(t, st, f.clock.Now()) // it has one now
	})
	t.Run("a root that may certify no CAs", func(t *testing.T) {
		st := home()
		made := makeCA(t, pkitest.Key(t), func(c *x509.Certificate) { c.MaxPathLenZero = true })
		root := familyRows(t)[3]
		refusedWithoutTrace(t, st, "path length allows for no CAs below it", func() error { return add(st, root, pairOf(made)) })
	})
	t.Run("two certificates of a key that do not belong together", func(t *testing.T) {
		self := pkitest.SelfSigned(t, lab[0].Key, caTemplate("Somebody else"))
		data := append(pkitest.PEM(lab[0].Certificate, self.Crt), pkitest.KeyPEM(t, lab[0].Key)...)
		if _, err := ReadKeyPairs([]File{{"x", data}}, nil); !errors.Is(err, ErrUnpaired) {
			t.Error(err)
		}
		data = append(pkitest.PEM(lab[0].Anchor, lab[0].Certificate, lab[0].Certificate), pkitest.KeyPEM(t, lab[0].Key)...)
		if _, err := ReadKeyPairs([]File{{"x", data}}, nil); !errors.Is(err, ErrUnpaired) {
			t.Error(err)
		}
	})
	t.Run("revoked by the root", func(t *testing.T) {
		st := home()
		if err := imports(t, st, f, "home-root"); err != nil {
			t.Fatal(err)
		}
		if err := f.authority("home-root").RevokeSerial(ctx, audit.Actor{Kind: audit.Operator}, lab[0].Certificate.SerialNumber, ca.Revoking{Reason: 0}); err != nil {
			t.Fatal(err)
		}
		list := File{"root.crl", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: f.lists()["home-root"]})}
		done, err := ImportCRLs(ctx, st, f.clock, "home-root", []File{list}, "")
		if err != nil || done.Added != 1 || len(done.Revoked) != 0 {
			t.Fatalf("%+v %v", done, err)
		}
		refusedWithoutTrace(t, st, "home-root has revoked it", func() error { return add(st, row, lab...) })
	})
}

// A list of a root that names a CA certificate of an authority here takes it out of use, whether the root is here or elsewhere.
func TestImportedListOfRootRevokesBelow(t *testing.T) {
	f := newFamily(t, newStore(t))
	ctx := t.Context()
	st := newHome(t, newStore(t))
	for _, name := range []store.AuthorityName{"home-root", "lab"} {
		if err := imports(t, st, f, name); err != nil {
			t.Fatal(err)
		}
	}
	crt := must[[]*x509.Certificate](t)(f.authority("lab").Intermediates(ctx))[0]
	if err := f.authority("home-root").RevokeSerial(ctx, audit.Actor{Kind: audit.Operator}, crt.SerialNumber, ca.Revoking{Reason: store.KeyCompromise}); err != nil {
		t.Fatal(err)
	}
	list := File{"root.crl", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: f.lists()["home-root"]})}
	done, err := ImportCRLs(ctx, st, f.clock, "home-root", []File{list}, "ca.example.org:8009")
	if err != nil || done.Added != 1 || len(done.Revoked) != 1 || done.Revoked[0].Authority != "lab" || done.Revoked[0].Err != nil {
		t.Fatalf("%+v %v", done, err)
	}
	wantClean(t, st, f.clock.Now())
	v := must[AuthorityView](t)(ViewAuthority(ctx, st, f.clock, "lab"))
	if len(v.Generations) != 2 || v.Generations[0].State != store.CARevoked || v.Generations[1].State != store.CAUsable {
		t.Errorf("%+v", v.Generations)
	}
	if _, err := ExportCAs(ctx, st, f.clock.Now(), CAExport{Authority: "lab", Path: filepath.Join(t.TempDir(), "lab.pem"), Passphrase: []byte("x")}); err != nil {
		t.Error(err)
	}
}

// What cannot be exported is said by its reason.
func TestExportSaysWhatIsLeftOut(t *testing.T) {
	online, _ := externalFamily(t, newStore(t))
	_, err := ExportCAs(t.Context(), online.store, online.clock.Now(), CAExport{Authority: "home-root", Path: filepath.Join(t.TempDir(), "x.pem"), Passphrase: []byte("x")})
	if !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	lab := online.authority("lab")
	first := must[[]*x509.Certificate](t)(lab.Intermediates(t.Context()))[0]
	if err := lab.RevokeCA(t.Context(), audit.Actor{Kind: audit.Operator}, first.SubjectKeyId, 0); err != nil && !errors.Is(err, ca.ErrNoSigner) {
		t.Fatal(err)
	}
	online.clock.Advance(3 * 93 * day)
	if err := online.dir.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	done, err := ExportCAs(t.Context(), online.store, online.clock.Now(), CAExport{Authority: "lab", Path: filepath.Join(t.TempDir(), "lab.pem"), Passphrase: []byte("x")})
	if err != nil || len(done.LeftOut) != 1 || !strings.Contains(done.LeftOut[0], "revoked by its parent") {
		t.Errorf("%+v %v", done, err)
	}
}
