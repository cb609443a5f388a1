package manage

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

func makeCRL(t testing.TB, by pkitest.CA, number int64, change func(*x509.RevocationList), serials ...int64) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: importTime.Add(-day), NextUpdate: importTime.Add(30 * day)}
	for _, s := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: importTime.Add(-2 * day), ReasonCode: 1})
	}
	if change != nil {
		change(template)
	}
	return pki.EncodeCRLPEM(by.SignCRL(t, template).Raw)
}

func importedCA(t testing.TB, made ...pkitest.CA) store.Store {
	t.Helper()
	st := newStore(t)
	in := CAImport{Authority: store.Services}
	for _, m := range made {
		in.Pairs = append(in.Pairs, pairOf(m))
	}
	must[ImportedCAs](t)(ImportCAs(t.Context(), st, importTime, in))
	return st
}

func TestImportCRLs(t *testing.T) {
	made := makeCA(t, pkitest.Key(t), nil)
	st := importedCA(t, made)
	// The serial 1 is that of the CA itself.
	first := makeCRL(t, made, 41, nil, 1, 5, 6)
	second := makeCRL(t, made, 40, nil, 6, 7)
	done := must[ImportedCRLs](t)(importCRLs(t.Context(), st, importTime, store.Services, []File{{"one", append(first, second...)}}))
	if done.Lists != 2 || done.Added != 3 || done.Known != 1 || len(done.LeftOut) != 1 || done.Number != 42 {
		t.Errorf("%+v", done)
	}
	a := openAuthority(t, st, clock.NewFake(importTime), store.Services)
	list := parseList(t, a)
	if list.Number.Int64() != 42 || len(list.RevokedCertificateEntries) != 3 || list.RevokedCertificateEntries[0].ReasonCode != 1 {
		t.Errorf("list %v: %v", list.Number, list.RevokedCertificateEntries)
	}
	// Nothing new, and the numbers are ahead.
	done = must[ImportedCRLs](t)(importCRLs(t.Context(), st, importTime, store.Services, []File{{"one", first}}))
	if done.Added != 0 || done.Known != 2 || done.Number != 42 {
		t.Errorf("%+v", done)
	}
	// An older list with news: the next list is a new one.
	done = must[ImportedCRLs](t)(importCRLs(t.Context(), st, importTime, store.Services, []File{{"one", makeCRL(t, made, 3, nil, 99)}}))
	if done.Added != 1 || done.Number != 43 {
		t.Errorf("%+v", done)
	}
	if next := parseList(t, a); next.Number.Int64() != 43 || len(next.RevokedCertificateEntries) != 4 {
		t.Errorf("list %v: %v", next.Number, next.RevokedCertificateEntries)
	}
	if findings, _ := check(t, st, importTime); len(findings) > 0 {
		t.Errorf("%s", strings.Join(findings, "\n"))
	}
}

func TestRefusedCRLs(t *testing.T) {
	made, other := makeCA(t, pkitest.Key(t), nil), makeCA(t, pkitest.Key(t), nil)
	extension := func(critical bool, id ...int) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: []byte{5, 0}}}
		}
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 100)
	tampered := func() []byte {
		crl := must[*x509.RevocationList](t)(pki.ParseCRLPEM(makeCRL(t, made, 1, nil, 5)))
		crl.Raw[len(crl.Raw)-3] ^= 1
		return pki.EncodeCRLPEM(crl.Raw)
	}
	for name, tc := range map[string]struct {
		list []byte
		want string
	}{
		"another CA's":        {makeCRL(t, other, 1, nil, 5), "none of the authority's CAs has signed it"},
		"tampered with":       {tampered(), "none of the authority's CAs has signed it"},
		"delta":               {makeCRL(t, made, 1, extension(true, 2, 5, 29, 27), 5), "delta CRL"},
		"delta, not critical": {makeCRL(t, made, 1, extension(false, 2, 5, 29, 27), 5), "delta CRL"},
		"part":                {makeCRL(t, made, 1, extension(true, 2, 5, 29, 28), 5), "a part of the certificates only"},
		"unknown extension":   {makeCRL(t, made, 1, extension(true, 1, 2, 3), 5), "critical extension"},
		"indirect": {makeCRL(t, made, 1, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}
		}, 5), "the entry of serial 0x5"},
		"number too large": {makeCRL(t, made, 1, func(l *x509.RevocationList) { l.Number = huge }, 5), "too large"},
		"a certificate":    {pkitest.PEM(made.Crt), "CRL"},
		"nothing":          {nil, "there is no revocation list, in PEM or DER"},
	} {
		t.Run(name, func(t *testing.T) {
			st := importedCA(t, made)
			before := must[[]store.Row](t)(rowsIn(t, st))
			good := File{"good", makeCRL(t, made, 9, nil, 8)}
			_, err := importCRLs(t.Context(), st, importTime, store.Services, []File{good, {"bad", tc.list}})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "bad") {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if after := must[[]store.Row](t)(rowsIn(t, st)); len(after) != len(before) {
				t.Errorf("%d rows before, %d after", len(before), len(after))
			}
		})
	}
}

// A CA that never ends, says so with the last second of the year 9999. Revocations cannot be kept longer.
// A list made after a certificate has ended still has to name it (RFC 5280 3.3).
func TestImportedRevocationsAreKept(t *testing.T) {
	made := makeCA(t, pkitest.Key(t), nil)
	st := importedCA(t, made)
	pem := makeCRL(t, made, 1, nil, 5)
	list := must[*x509.RevocationList](t)(pki.ParseCRLPEM(pem))
	must[ImportedCRLs](t)(importCRLs(t.Context(), st, importTime, store.Services, []File{{"one", pem}}))
	want := made.Crt.NotAfter.Add(list.NextUpdate.Sub(list.ThisUpdate))
	for _, row := range must[[]store.Row](t)(rowsIn(t, st)) {
		if v, ok := row.(store.Revocation); ok && !v.KeepUntil.Equal(want) {
			t.Errorf("kept until %s, want %s", v.KeepUntil, want)
		}
	}
}

func TestCAWithoutEnd(t *testing.T) {
	ctx := t.Context()
	made := makeCA(t, pkitest.Key(t), func(c *x509.Certificate) { c.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) })
	st := importedCA(t, made)
	must[ImportedCRLs](t)(importCRLs(ctx, st, importTime, store.Services, []File{{"one", makeCRL(t, made, 1, nil, 5)}}))
	a := openAuthority(t, st, clock.NewFake(importTime), store.Services)
	if err := catest.Wired(a).RevokeByUser(ctx, audit.Actor{Kind: audit.Operator}, envelope.Revocation{Serial: big.NewInt(6)}); err != nil {
		t.Fatal(err)
	}
	if list := parseList(t, a); len(list.RevokedCertificateEntries) != 2 {
		t.Errorf("%v", list.RevokedCertificateEntries)
	}
	// The check tries what a backup needs.
	if findings, _ := check(t, st, importTime); len(findings) > 0 {
		t.Errorf("%s", strings.Join(findings, "\n"))
	}
}

func rowsIn(t testing.TB, st store.Store) (rows []store.Row, err error) {
	t.Helper()
	err = st.View(t.Context(), func(r store.Reader) error {
		return r.Rows(t.Context(), func(row store.Row) error { rows = append(rows, row); return nil })
	})
	return rows, err
}

func TestOddEntriesOfCRLs(t *testing.T) {
	made := makeCA(t, pkitest.Key(t), nil)
	st := importedCA(t, made)
	list := makeCRL(t, made, 1, func(l *x509.RevocationList) {
		l.RevokedCertificateEntries[0].ReasonCode = 8 /* removeFromCRL */
		l.RevokedCertificateEntries[1].SerialNumber = new(big.Int).Lsh(big.NewInt(1), 161)
	}, 5, 6, 7)
	done := must[ImportedCRLs](t)(importCRLs(t.Context(), st, importTime, store.Services, []File{{"one", list}}))
	if done.Added != 1 || len(done.LeftOut) != 2 {
		t.Errorf("%+v", done)
	}
}

func TestExportedCAsComeBack(t *testing.T) {
	ctx := t.Context()
	younger := makeCA(t, pkitest.KeyOf(t, pki.KeyRSA2048), func(c *x509.Certificate) { c.NotBefore = importTime.Add(-5 * day) })
	older := makeCA(t, pkitest.Key(t), nil)
	st := importedCA(t, younger, older)
	dir := t.TempDir()
	path := filepath.Join(dir, "ca.pem")
	out := CAExport{Authority: store.Services, Path: path, Passphrase: []byte("correct horse")}
	done := must[ExportedCAs](t)(ExportCAs(ctx, st, importTime, out))
	if len(done.Certificates) != 2 || len(done.LeftOut) != 0 {
		t.Errorf("%+v", done)
	}
	info := must[fs.FileInfo](t)(os.Stat(path))
	data := must[[]byte](t)(os.ReadFile(path))
	if info.Mode().Perm() != 0o600 || strings.Count(string(data), "ENCRYPTED PRIVATE KEY") != 4 || strings.Contains(string(data), "BEGIN PRIVATE KEY") {
		t.Errorf("%s\n%s", info.Mode(), data)
	}
	if _, err := ExportCAs(ctx, st, importTime, out); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an export was overwritten: %v", err)
	}
	openssl(t, dir, "pkey", "-in", "ca.pem", "-passin", "pass:correct horse", "-out", "key.pem")
	if key := must[crypto.Signer](t)(pki.ParsePrivateKeyPEM(must[[]byte](t)(os.ReadFile(filepath.Join(dir, "key.pem"))))); !pki.SameKey(key.Public(), older.Key.Public()) {
		t.Error("openssl reads another key")
	}
	pairs := must[[]KeyPair](t)(ReadKeyPairs([]File{{path, data}}, func(string) ([]byte, error) { return out.Passphrase, nil }))
	again := newStore(t)
	must[ImportedCAs](t)(ImportCAs(ctx, again, importTime, CAImport{Authority: store.Services, Pairs: pairs}))
	if a, b := casIn(t, st), casIn(t, again); len(a) != 2 || a[0] != b[0] || a[1] != b[1] {
		t.Errorf("%q\n%q", a, b)
	}
	recorded := 0
	for _, row := range must[[]store.Row](t)(rowsIn(t, st)) {
		if e, ok := row.(store.AuditEntry); ok && e.Action == audit.ExportCA {
			recorded++
		}
	}
	if recorded != 2 {
		t.Errorf("%d exports are recorded", recorded)
	}
}

// casIn returns certificates and keys.
func casIn(t testing.TB, st store.Store) (cas []string) {
	t.Helper()
	for _, row := range must[[]store.Row](t)(rowsIn(t, st)) {
		if c, ok := row.(store.CA); ok {
			cas = append(cas, string(c.Certificate)+string(c.Key.Ref)+c.CreatedAt.Format(time.RFC3339))
		}
	}
	return cas
}

func TestExportRefusals(t *testing.T) {
	st := importedCA(t, makeCA(t, pkitest.Key(t), nil))
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "target"), link); err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]CAExport{
		"no passphrase":  {store.Services, filepath.Join(dir, "a"), nil},
		"no CA":          {store.Users, filepath.Join(dir, "b"), []byte("x")},
		"symbolic link":  {store.Services, link, []byte("x")},
		"missing folder": {store.Services, filepath.Join(dir, "missing", "c"), []byte("x")},
	} {
		if _, err := ExportCAs(t.Context(), st, importTime, out); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%v", entries)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ExportCAs(t.Context(), st, importTime, CAExport{store.Services, filepath.Join(dir, "d"), []byte("x")}); err == nil {
		t.Error("exported from a store that is closed")
	}
}

// TestListsAreDatedAfterThoseOfBefore has a verifier that compares dates never meet an older list: those of before were not
// backdated, or less.
func TestListsAreDatedAfterThoseOfBefore(t *testing.T) {
	t.Run("import-crl", func(t *testing.T) {
		made := makeCA(t, pkitest.Key(t), nil)
		st := importedCA(t, made)
		before := makeCRL(t, made, 41, func(l *x509.RevocationList) { l.ThisUpdate = importTime.Add(-10 * time.Second) }, 5)
		older := makeCRL(t, made, 40, func(l *x509.RevocationList) { l.ThisUpdate = importTime.Add(-day) }, 6)
		must[ImportedCRLs](t)(importCRLs(t.Context(), st, importTime, store.Services, []File{{"one", append(before, older...)}}))
		list := parseList(t, openAuthority(t, st, clock.NewFake(importTime), store.Services))
		if !list.ThisUpdate.After(importTime.Add(-10*time.Second)) || list.ThisUpdate.After(importTime) {
			t.Errorf("dated %v, after a list of %v", list.ThisUpdate, importTime.Add(-10*time.Second))
		}
		// Not for ever: the next ones are backdated as usual.
		clk := clock.NewFake(importTime.Add(20 * day))
		a := openAuthority(t, st, clk, store.Services)
		if next := parseList(t, a); !next.ThisUpdate.Equal(clk.Now().Add(-time.Minute)) {
			t.Errorf("later dated %v", next.ThisUpdate)
		}
		if findings, _ := check(t, st, clk.Now()); len(findings) > 0 {
			t.Errorf("%s", strings.Join(findings, "\n"))
		}
	})
	for _, folder := range []string{"0.9.17", "0.9.8"} {
		t.Run(folder, func(t *testing.T) {
			l := caucaseOf(t, folder)
			st := l.imported()
			for name, file := range map[store.AuthorityName]string{store.Services: "cas", store.Users: "cau"} {
				before := must[*x509.RevocationList](t)(pki.ParseCRLPEM(l.read(file + ".crl.pem")))
				now := before.ThisUpdate.Add(5 * time.Second)
				if now.Before(l.now) {
					now = l.now // as soon as the import is there
				}
				list := parseList(t, openAuthority(t, st, clock.NewFake(now), name))
				if !list.ThisUpdate.After(before.ThisUpdate) {
					t.Errorf("%s: dated %v, after a list of %v", name, list.ThisUpdate, before.ThisUpdate)
				}
			}
		})
	}
}
