package manage

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
)

var importTime = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)

// A madeCA is one from elsewhere.
type madeCA struct {
	crt *x509.Certificate
	key crypto.Signer
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(1),
		NotBefore: importTime.Add(-100 * day), NotAfter: importTime.Add(400 * day),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func makeCA(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) madeCA {
	t.Helper()
	template := caTemplate("Elsewhere")
	if change != nil {
		change(template)
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return madeCA{must[*x509.Certificate](t)(x509.ParseCertificate(der)), key}
}

func (m madeCA) crtPEM() []byte { return pki.EncodeCertificatePEM(m.crt.Raw) }

func (m madeCA) keyPEM(t testing.TB) []byte {
	t.Helper()
	return must[[]byte](t)(pki.EncodePrivateKeyPEM(m.key))
}

func (m madeCA) pair() KeyPair { return KeyPair{m.crt, m.key, "here"} }

func TestReadKeyPairs(t *testing.T) {
	one, two := makeCA(t, newKey(t), nil), makeCA(t, newKey(t), nil)
	again := makeCA(t, one.key, nil)
	ecParameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	csr := newCSR(t, "x").PEM
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for name, tc := range map[string]struct {
		files [][]byte
		want  string // of the error; "" when there are as many pairs as certificates
	}{
		"one file":                {[][]byte{join(one.crtPEM(), one.keyPEM(t))}, ""},
		"key first":               {[][]byte{join(one.keyPEM(t), one.crtPEM())}, ""},
		"two files":               {[][]byte{one.crtPEM(), one.keyPEM(t)}, ""},
		"all mixed up":            {[][]byte{join(two.keyPEM(t), one.crtPEM()), join([]byte("text around\n"), two.crtPEM(), ecParameters, one.keyPEM(t))}, ""},
		"certificate without key": {[][]byte{join(one.keyPEM(t), one.crtPEM(), two.crtPEM())}, "there is no key for the certificate in file 1, block 3"},
		"key without certificate": {[][]byte{join(one.keyPEM(t), one.crtPEM()), two.keyPEM(t)}, "there is no certificate for the key in file 2, block 1"},
		"only a key":              {[][]byte{one.keyPEM(t)}, "no certificate for the key"},
		"certificate twice":       {[][]byte{join(one.keyPEM(t), one.crtPEM()), one.crtPEM()}, "certificates of the same key"},
		"two of one key":          {[][]byte{join(one.keyPEM(t), one.crtPEM(), again.crtPEM())}, "certificates of the same key"},
		"key twice":               {[][]byte{join(one.keyPEM(t), one.crtPEM(), one.keyPEM(t))}, "are the same key"},
		"nothing":                 {[][]byte{one.crtPEM(), []byte("hello")}, "neither a key nor a certificate"},
		"a request":               {[][]byte{join(one.crtPEM(), one.keyPEM(t), csr)}, `"CERTIFICATE REQUEST" is neither`},
		"cut off":                 {[][]byte{one.crtPEM()[:100]}, "file 1"},
		"garbage":                 {[][]byte{pki.EncodeCertificatePEM([]byte("garbage"))}, "file 1, block 1"},
	} {
		t.Run(name, func(t *testing.T) {
			var files []File
			for i, data := range tc.files {
				files = append(files, File{[]string{"file 1", "file 2"}[i], data})
			}
			pairs, err := ReadKeyPairs(files, nil)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want %s", err, tc.want)
				}
				return
			}
			if err != nil || len(pairs) == 0 {
				t.Fatal(err)
			}
			for _, p := range pairs {
				if !pki.SameKey(p.Certificate.PublicKey, p.Key.Public()) {
					t.Error("a key that does not fit")
				}
			}
		})
	}
}

// openssl runs a command in a folder.
func openssl(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testkit.Need(t, "openssl", "openssl"), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
}

func TestEncryptedKeys(t *testing.T) {
	rsaKey := must[crypto.Signer](t)(pki.KeyRSA2048.Generate())
	for name, tc := range map[string]struct {
		key  crypto.Signer
		args []string
	}{
		"PBKDF2, AES-256":         {rsaKey, []string{"pkcs8", "-topk8", "-v2", "aes-256-cbc"}},
		"PBKDF2 with SHA-1, 3DES": {rsaKey, []string{"pkcs8", "-topk8", "-v2", "des3", "-v2prf", "hmacWithSHA1"}},
		"many iterations":         {newKey(t), []string{"pkcs8", "-topk8", "-v2", "aes-128-cbc", "-iter", "100000"}},
		"scrypt":                  {newKey(t), []string{"pkcs8", "-topk8", "-scrypt"}},
		"traditional RSA":         {rsaKey, []string{"rsa", "-aes128", "-traditional"}},
		"traditional, 3DES":       {rsaKey, []string{"rsa", "-des3", "-traditional"}},
		"traditional EC":          {newKey(t), []string{"ec", "-aes256"}},
	} {
		t.Run(name, func(t *testing.T) {
			made := makeCA(t, tc.key, nil)
			dir := t.TempDir()
			for file, data := range map[string][]byte{"clear": made.keyPEM(t), "passphrase": []byte("correct horse\n")} {
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			openssl(t, dir, append(tc.args, "-in", "clear", "-out", "encrypted", "-passout", "file:passphrase")...)
			encrypted := must[[]byte](t)(os.ReadFile(filepath.Join(dir, "encrypted")))
			files := []File{{"key.pem", encrypted}, {"crt.pem", made.crtPEM()}}
			asked := 0
			pairs, err := ReadKeyPairs(files, func(what string) ([]byte, error) {
				if asked++; what != "the key in key.pem, block 1" {
					t.Errorf("asked for %s", what)
				}
				return []byte("correct horse"), nil
			})
			if err != nil || asked != 1 || !pki.SameKey(pairs[0].Key.Public(), made.key.Public()) {
				t.Errorf("%v, asked %d times", err, asked)
			}
			for _, wrong := range []string{"wrong horse", ""} {
				_, err := ReadKeyPairs(files, func(string) ([]byte, error) { return []byte(wrong), nil })
				if !errors.Is(err, pki.ErrPassphrase) || !strings.Contains(err.Error(), "key.pem, block 1") {
					t.Errorf("with %q: %v", wrong, err)
				}
			}
			gone := errors.New("no terminal")
			if _, err := ReadKeyPairs(files, func(string) ([]byte, error) { return nil, gone }); !errors.Is(err, gone) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestWhatMayBeACA(t *testing.T) {
	key := newKey(t)
	other := newKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p521 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	badlySigned := func() madeCA {
		template := caTemplate("Elsewhere")
		der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
		crt := must[*x509.Certificate](t)(x509.ParseCertificate(der))
		crt.Signature[10] ^= 1
		return madeCA{crt, key}
	}
	intermediate := func() madeCA {
		parent := caTemplate("Root")
		der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, caTemplate("Elsewhere"), parent, key.Public(), other))
		return madeCA{must[*x509.Certificate](t)(x509.ParseCertificate(der)), key}
	}
	for name, tc := range map[string]struct {
		made   madeCA
		unfit  string // why it is refused without --import-bad-ca
		always string // why it is refused with it, too
	}{
		"good":           {makeCA(t, key, nil), "", ""},
		"path length":    {makeCA(t, key, func(c *x509.Certificate) { c.MaxPathLen = 3 }), "", ""},
		"no path length": {makeCA(t, key, func(c *x509.Certificate) { c.MaxPathLen = -1 }), "", ""},
		"more usage":     {makeCA(t, key, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDigitalSignature }), "", ""},
		"intermediate":   {intermediate(), "not self-signed", ""},
		"unknown critical extension": {makeCA(t, key, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), "1.2.3", ""},
		"RSA 2560":       {makeCA(t, must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2560)), nil), "", ""},
		"not a CA":       {makeCA(t, key, func(c *x509.Certificate) { c.IsCA = false }), "basic constraints", ""},
		"no constraints": {makeCA(t, key, func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = false, false }), "basic constraints", ""},
		"constraints not critical": {makeCA(t, key, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 19}, Value: []byte{0x30, 3, 1, 1, 0xff}}}
		}), "not critical", ""},
		"no key usage":    {makeCA(t, key, func(c *x509.Certificate) { c.KeyUsage = 0 }), "key usage", ""},
		"signs no CRLs":   {makeCA(t, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), "key usage", ""},
		"signs only CRLs": {makeCA(t, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), "key usage", ""},
		"not valid yet":   {makeCA(t, key, func(c *x509.Certificate) { c.NotBefore = importTime.Add(day) }), "not valid yet", "not valid yet"},
		"bad signature":   {badlySigned(), "not that of its own key", ""},
		"expired":         {makeCA(t, key, func(c *x509.Certificate) { c.NotAfter = importTime.Add(-day) }), "valid any more", "valid any more"},
		"RSA 1024":        {makeCA(t, weak, nil), "1024 bits", "1024 bits"},
		"P-521":           {makeCA(t, p521, nil), "P-521", "P-521"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, allow := range []bool{false, true} {
				st := newStore(t)
				want := tc.unfit
				if allow {
					want = tc.always
				}
				done, err := ImportCAs(t.Context(), st, importTime, CAImport{Authority: store.Services, Pairs: []KeyPair{tc.made.pair()}, AllowUnfit: allow})
				if want == "" {
					if err != nil || len(done.Certificates) != 1 {
						t.Errorf("allowed %v: %v", allow, err)
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("allowed %v: got %v, want %s", allow, err, want)
				}
				empty(t, st)
			}
		})
	}
}

// Hosts do not follow from one subject to another: the clients of such an authority would be lost.
func TestImportCAsOfTwoSubjects(t *testing.T) {
	older := makeCA(t, newKey(t), nil)
	younger := makeCA(t, newKey(t), func(c *x509.Certificate) {
		c.Subject, c.NotBefore = pkix.Name{CommonName: "Another"}, importTime.Add(-day)
	})
	st := newStore(t)
	in := CAImport{Authority: store.Services, Pairs: []KeyPair{younger.pair(), older.pair()}}
	if _, err := ImportCAs(t.Context(), st, importTime, in); !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "subject") {
		t.Error(err)
	}
	empty(t, st)
	in.AllowUnfit = true
	if done, err := ImportCAs(t.Context(), st, importTime, in); err != nil || len(done.Notes) != 1 {
		t.Errorf("%q, %v", done.Notes, err)
	}
}

// An authority that has a CA takes no other, whatever key that has.
func TestImportCAOnce(t *testing.T) {
	st := newStore(t)
	for _, want := range []error{nil, store.ErrExists} {
		in := CAImport{Authority: store.Services, Pairs: []KeyPair{makeCA(t, newKey(t), nil).pair()}, AllowUnfit: true}
		if _, err := ImportCAs(t.Context(), st, importTime, in); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// What is insisted on may be of no use to our own clients, and whoever insists is told so.
func TestImportTellsWhatClientsRefuse(t *testing.T) {
	noUse := makeCA(t, newKey(t), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	done := must[ImportedCAs](t)(ImportCAs(t.Context(), newStore(t), importTime, CAImport{Authority: store.Services, Pairs: []KeyPair{noUse.pair()}, AllowUnfit: true}))
	if !strings.Contains(strings.Join(done.Notes, "\n"), "will not trust it: CA certificate may not sign") {
		t.Errorf("%q", done.Notes)
	}
}

// empty wants a store to hold nothing.
func empty(t testing.TB, st store.Store) {
	t.Helper()
	err := st.View(t.Context(), func(r store.Reader) error {
		return r.Rows(t.Context(), func(row store.Row) error { t.Errorf("there is a %T", row); return nil })
	})
	if err != nil {
		t.Error(err)
	}
}

func TestImportedCAGoesOn(t *testing.T) {
	ctx := t.Context()
	rsaKey := must[crypto.Signer](t)(pki.KeyRSA2048.Generate())
	shape := func(c *x509.Certificate) {
		c.Subject = pkix.Name{Organization: []string{"Acme"}, CommonName: "Acme CA"}
		c.MaxPathLen, c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = 2, []string{"example.org"}, true
	}
	older := makeCA(t, newKey(t), shape)
	younger := makeCA(t, rsaKey, func(c *x509.Certificate) {
		shape(c)
		c.NotBefore, c.NotAfter = importTime.Add(-5*day), importTime.Add(500*day)
	})
	st, clk := newStore(t), clock.NewFake(importTime)
	done := must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, CAImport{Authority: store.Services, Pairs: []KeyPair{younger.pair(), older.pair()}}))
	if len(done.Certificates) != 2 || !done.Certificates[0].Equal(older.crt) || len(done.Notes) > 0 {
		t.Fatalf("%v", done)
	}
	a := openAuthority(t, st, clk, store.Services)
	id := must[int64](t)(catest.Wired(a).Submit(ctx, audit.Actor{Kind: audit.Anonymous}, newCSR(t, "www.example.org").PEM))
	if err := catest.Wired(a).Sign(ctx, audit.Actor{Kind: audit.Operator}, id); err != nil {
		t.Fatal(err)
	}
	// The older one: the younger has lived for less than a span.
	crt := must[*x509.Certificate](t)(pki.ParseCertificatePEM(must[[]byte](t)(catest.Wired(a).Certificate(ctx, id))))
	if err := crt.CheckSignatureFrom(older.crt); err != nil {
		t.Error(err)
	}
	// Two spans of 93 days before the younger one ends, its successor is there.
	clk.Set(younger.crt.NotAfter.Add(-186*day + time.Hour))
	if err := a.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	links := must[[]*envelope.Envelope](t)(envelope.ParseList(must[[]byte](t)(catest.Wired(a).Chain(ctx))))
	if len(links) != 2 {
		t.Fatalf("%d links", len(links))
	}
	for i, signer := range []madeCA{older, younger} {
		if err := links[i].Verify(signer.crt.PublicKey); err != nil {
			t.Error(err)
		}
	}
	crts := must[[]*x509.Certificate](t)(a.CACertificates(ctx))
	next := crts[len(crts)-1]
	if string(next.RawSubject) != string(younger.crt.RawSubject) || next.MaxPathLen != 2 || len(next.PermittedDNSDomains) != 1 ||
		pki.DescribeKey(next.PublicKey) != "RSA 2048" || next.NotAfter.Sub(clk.Now()) < 371*day {
		t.Errorf("the next CA: %s, path length %d, %s until %s", next.Subject, next.MaxPathLen, pki.DescribeKey(next.PublicKey), next.NotAfter)
	}
	if findings, _ := check(t, st, clk.Now()); len(findings) > 0 {
		t.Errorf("%s", strings.Join(findings, "\n"))
	}
}

// What was insisted on works here, whatever others make of it.
func TestUnfitCAsGoOn(t *testing.T) {
	ctx := t.Context()
	for name, change := range map[string]func(*x509.Certificate){
		"not a CA":        func(c *x509.Certificate) { c.IsCA = false },
		"no constraints":  func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = false, false },
		"no key usage":    func(c *x509.Certificate) { c.KeyUsage = 0 },
		"signs only CRLs": func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign },
		"signs no CRLs":   func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign },
	} {
		t.Run(name, func(t *testing.T) {
			made := makeCA(t, newKey(t), change)
			st, clk := newStore(t), clock.NewFake(importTime)
			must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, CAImport{Authority: store.Users, Pairs: []KeyPair{made.pair()}, AllowUnfit: true}))
			a := openAuthority(t, st, clk, store.Users)
			for range 2 {
				csr := newCSR(t, "alice")
				id := must[int64](t)(catest.Wired(a).Submit(ctx, audit.Actor{Kind: audit.Anonymous}, csr.PEM))
				if err := catest.Wired(a).Sign(ctx, audit.Actor{Kind: audit.Operator}, id); err != nil {
					t.Fatal(err)
				}
				crt := must[*x509.Certificate](t)(pki.ParseCertificatePEM(must[[]byte](t)(catest.Wired(a).Certificate(ctx, id))))
				must[audit.Actor](t)(a.Authenticate(ctx, audit.Actor{}, crt))
				parseAny(t, a)
				clk.Set(made.crt.NotAfter.Add(-day)) // and what has succeeded it by then
				if err := a.Maintain(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if findings, _ := check(t, st, clk.Now()); len(findings) > 0 && !strings.HasPrefix(findings[0], "warning: ") {
				t.Errorf("%s", strings.Join(findings, "\n"))
			}
		})
	}
}

func parseAny(t testing.TB, a *ca.Authority) {
	t.Helper()
	must[[]*x509.RevocationList](t)(pki.ParseCRLsPEM(must[catest.Lists](t)(catest.Wired(a).CRLs(t.Context())).PEM))
}

// What an imported CA has issued elsewhere is not on record, and yet goes on.
func TestCertificatesOfImportedCAs(t *testing.T) {
	ctx := t.Context()
	made, key := makeCA(t, newKey(t), nil), newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "old"}, DNSNames: []string{"old.example.org"},
		NotBefore: importTime.Add(-day), NotAfter: importTime.Add(30 * day)}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, made.crt, key.Public(), made.key))
	st := importedCA(t, made)
	a := openAuthority(t, st, clock.NewFake(importTime), store.Services)
	payload := must[[]byte](t)(envelope.EncodeRenewal(envelope.Renewal{
		CertificatePEM: string(pki.EncodeCertificatePEM(der)), RequestPEM: string(newCSR(t, "new").PEM)}))
	e := must[*envelope.Envelope](t)(envelope.Parse(must[[]byte](t)(envelope.Sign(key, payload))))
	renewed := must[*x509.Certificate](t)(pki.ParseCertificatePEM(must[[]byte](t)(catest.Wired(a).Renew(ctx, audit.Actor{Kind: audit.Anonymous}, e))))
	if renewed.Subject.CommonName != "old" || len(renewed.DNSNames) != 1 {
		t.Errorf("%s %v", renewed.Subject, renewed.DNSNames)
	}
	if err := catest.Wired(a).RevokeByUser(ctx, audit.Actor{Kind: audit.Operator}, envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(der))}); err != nil {
		t.Error(err)
	}
	if list := parseList(t, a); len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Int64() != 77 {
		t.Errorf("%v", list.RevokedCertificateEntries)
	}
}

// A CA need not name itself by the hash of its key, nor at all, nor have a key like ours.
func TestUnusualCAsGoOn(t *testing.T) {
	ctx := t.Context()
	for name, tc := range map[string]struct {
		key    crypto.Signer
		change func(*x509.Certificate)
	}{
		"identifier of its own": {newKey(t), func(c *x509.Certificate) { c.SubjectKeyId = []byte{1, 2, 3} }},
		"no identifier": {newKey(t), func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid = false, false
			c.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}
		}},
		"RSA of an odd size": {must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2560)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			made := makeCA(t, tc.key, tc.change)
			if name == "no identifier" && len(made.crt.SubjectKeyId) > 0 {
				t.Fatal("it has one")
			}
			st, clk := newStore(t), clock.NewFake(importTime)
			must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, CAImport{Authority: store.Services, Pairs: []KeyPair{made.pair()}}))
			a := openAuthority(t, st, clk, store.Services)
			id := must[int64](t)(catest.Wired(a).Submit(ctx, audit.Actor{Kind: audit.Anonymous}, newCSR(t, "www.example.org").PEM))
			if err := catest.Wired(a).Sign(ctx, audit.Actor{Kind: audit.Operator}, id); err != nil {
				t.Fatal(err)
			}
			crt := must[*x509.Certificate](t)(pki.ParseCertificatePEM(must[[]byte](t)(catest.Wired(a).Certificate(ctx, id))))
			if _, err := pki.VerifyIssued(crt, []*x509.Certificate{made.crt}, clk.Now()); err != nil {
				t.Error(err)
			}
			if err := catest.Wired(a).RevokeByUser(ctx, audit.Actor{Kind: audit.Operator}, envelope.Revocation{Serial: crt.SerialNumber}); err != nil {
				t.Error(err)
			}
			list := must[*x509.RevocationList](t)(pki.ParseCRLPEM(must[catest.Lists](t)(catest.Wired(a).CRLs(ctx)).PEM))
			if err := list.CheckSignatureFrom(made.crt); err != nil || len(list.RevokedCertificateEntries) != 1 {
				t.Error(err)
			}
			clk.Set(made.crt.NotAfter.Add(-186*day + time.Hour))
			if err := a.Maintain(ctx); err != nil {
				t.Fatal(err)
			}
			if crts := must[[]*x509.Certificate](t)(a.CACertificates(ctx)); len(crts) != 2 {
				t.Errorf("%d CA certificates", len(crts))
			}
			findings, _ := check(t, st, clk.Now())
			if len(findings) > 0 && !strings.Contains(findings[0], "is not one of a CA") {
				t.Errorf("%s", strings.Join(findings, "\n"))
			}
		})
	}
}

func TestImportCAWhereThereIsOne(t *testing.T) {
	ctx := context.Background()
	made := makeCA(t, newKey(t), nil)
	st := newStore(t)
	in := CAImport{Authority: store.Services, Pairs: []KeyPair{made.pair()}}
	must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, in))
	if _, err := ImportCAs(ctx, st, importTime, in); !errors.Is(err, store.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	in.Authority = store.Users
	if _, err := ImportCAs(ctx, st, importTime, in); !errors.Is(err, store.ErrExists) {
		t.Errorf("the same CA for users: %v", err)
	}
	in.Pairs = []KeyPair{makeCA(t, newKey(t), nil).pair()}
	must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, in))
	in.Authority = store.HTTPS
	if _, err := ImportCAs(ctx, st, importTime, in); err == nil {
		t.Error("the HTTPS CA was imported")
	}
}
