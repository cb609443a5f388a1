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
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

var importTime = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(1),
		NotBefore: importTime.Add(-100 * day), NotAfter: importTime.Add(400 * day),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// makeCA makes a CA as another program might have made it.
func makeCA(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) pkitest.CA {
	t.Helper()
	template := caTemplate("Elsewhere")
	if change != nil {
		change(template)
	}
	return pkitest.SelfSigned(t, key, template)
}

func pairOf(made pkitest.CA) KeyPair {
	return KeyPair{Certificate: made.Crt, Key: made.Key, from: "here"}
}

func TestReadKeyPairs(t *testing.T) {
	one, two := makeCA(t, pkitest.Key(t), nil), makeCA(t, pkitest.Key(t), nil)
	again := makeCA(t, one.Key, nil)
	ecParameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	csr := pkitest.HostRequest(t, "x").PEM
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
		"one file":                {[][]byte{join(pkitest.PEM(one.Crt), pkitest.KeyPEM(t, one.Key))}, ""},
		"key first":               {[][]byte{join(pkitest.KeyPEM(t, one.Key), pkitest.PEM(one.Crt))}, ""},
		"two files":               {[][]byte{pkitest.PEM(one.Crt), pkitest.KeyPEM(t, one.Key)}, ""},
		"all mixed up":            {[][]byte{join(pkitest.KeyPEM(t, two.Key), pkitest.PEM(one.Crt)), join([]byte("text around\n"), pkitest.PEM(two.Crt), ecParameters, pkitest.KeyPEM(t, one.Key))}, ""},
		"certificate without key": {[][]byte{join(pkitest.KeyPEM(t, one.Key), pkitest.PEM(one.Crt), pkitest.PEM(two.Crt))}, "there is no key for the certificate in file 1, block 3"},
		"key without certificate": {[][]byte{join(pkitest.KeyPEM(t, one.Key), pkitest.PEM(one.Crt)), pkitest.KeyPEM(t, two.Key)}, "there is no certificate for the key in file 2, block 1"},
		"only a key":              {[][]byte{pkitest.KeyPEM(t, one.Key)}, "no certificate for the key"},
		"certificate twice":       {[][]byte{join(pkitest.KeyPEM(t, one.Key), pkitest.PEM(one.Crt)), pkitest.PEM(one.Crt)}, "certificates of the same key"},
		"two of one key":          {[][]byte{join(pkitest.KeyPEM(t, one.Key), pkitest.PEM(one.Crt), pkitest.PEM(again.Crt))}, "certificates of the same key"},
		"key twice":               {[][]byte{join(pkitest.KeyPEM(t, one.Key), pkitest.PEM(one.Crt), pkitest.KeyPEM(t, one.Key))}, "are the same key"},
		"nothing":                 {[][]byte{pkitest.PEM(one.Crt), []byte("hello")}, "neither a key nor a certificate"},
		"a request":               {[][]byte{join(pkitest.PEM(one.Crt), pkitest.KeyPEM(t, one.Key), csr)}, `"CERTIFICATE REQUEST" is neither`},
		"cut off":                 {[][]byte{pkitest.PEM(one.Crt)[:100]}, "file 1"},
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
	rsaKey := pkitest.KeyOf(t, pki.KeyRSA2048)
	for name, tc := range map[string]struct {
		key  crypto.Signer
		args []string
	}{
		"PBKDF2, AES-256":         {rsaKey, []string{"pkcs8", "-topk8", "-v2", "aes-256-cbc"}},
		"PBKDF2 with SHA-1, 3DES": {rsaKey, []string{"pkcs8", "-topk8", "-v2", "des3", "-v2prf", "hmacWithSHA1"}},
		"many iterations":         {pkitest.Key(t), []string{"pkcs8", "-topk8", "-v2", "aes-128-cbc", "-iter", "100000"}},
		"scrypt":                  {pkitest.Key(t), []string{"pkcs8", "-topk8", "-scrypt"}},
		"traditional RSA":         {rsaKey, []string{"rsa", "-aes128", "-traditional"}},
		"traditional, 3DES":       {rsaKey, []string{"rsa", "-des3", "-traditional"}},
		"traditional EC":          {pkitest.Key(t), []string{"ec", "-aes256"}},
	} {
		t.Run(name, func(t *testing.T) {
			made := makeCA(t, tc.key, nil)
			dir := t.TempDir()
			for file, data := range map[string][]byte{"clear": pkitest.KeyPEM(t, made.Key), "passphrase": []byte("correct horse\n")} {
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			openssl(t, dir, append(tc.args, "-in", "clear", "-out", "encrypted", "-passout", "file:passphrase")...)
			encrypted := must[[]byte](t)(os.ReadFile(filepath.Join(dir, "encrypted")))
			files := []File{{"key.pem", encrypted}, {"crt.pem", pkitest.PEM(made.Crt)}}
			asked := 0
			pairs, err := ReadKeyPairs(files, func(what string) ([]byte, error) {
				if asked++; what != "the key in key.pem, block 1" {
					t.Errorf("asked for %s", what)
				}
				return []byte("correct horse"), nil
			})
			if err != nil || asked != 1 || !pki.SameKey(pairs[0].Key.Public(), made.Key.Public()) {
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

// withoutKeyIdentifier has crypto/x509 add none to a CA's certificate.
func withoutKeyIdentifier(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid = false, false
	c.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}
}

// version1 is a CA as openssl has made them without a configuration.
func version1(t testing.TB, key crypto.Signer) pkitest.CA {
	t.Helper()
	made := makeCA(t, key, nil)
	crt := *made.Crt
	crt.Version, crt.Extensions, crt.BasicConstraintsValid, crt.IsCA = 1, nil, false, false
	return pkitest.CA{Crt: &crt, Key: key}
}

// TestNotesOnImportedCAs has what is unusual be said, and truly.
func TestNotesOnImportedCAs(t *testing.T) {
	made := makeCA(t, pkitest.Key(t), func(c *x509.Certificate) { c.KeyUsage = 0 })
	done := must[ImportedCAs](t)(ImportCAs(t.Context(), newStore(t), importTime, CAImport{Authority: store.Users, Pairs: []KeyPair{pairOf(made)}}))
	if len(done.Notes) != 1 || !strings.Contains(done.Notes[0], "it has no key usage: its key may be used for everything") {
		t.Errorf("%q", done.Notes)
	}
	narrow := makeCA(t, pkitest.Key(t), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	done = must[ImportedCAs](t)(ImportCAs(t.Context(), newStore(t), importTime, CAImport{Authority: store.Users, Pairs: []KeyPair{pairOf(narrow)}}))
	if len(done.Notes) != 1 || !strings.Contains(done.Notes[0], "for those alone") {
		t.Errorf("%q", done.Notes)
	}
	without := makeCA(t, pkitest.Key(t), withoutKeyIdentifier)
	done = must[ImportedCAs](t)(ImportCAs(t.Context(), newStore(t), importTime, CAImport{Authority: store.Users, Pairs: []KeyPair{pairOf(without)}, AllowUnfit: true}))
	if len(done.Notes) != 2 || !strings.Contains(done.Notes[0], "no subject key identifier") || !strings.Contains(done.Notes[1], "will not trust it") {
		t.Errorf("%q", done.Notes)
	}
}

func TestWhatMayBeACA(t *testing.T) {
	key := pkitest.Key(t)
	other := pkitest.Key(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p521 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	badlySigned := func() pkitest.CA {
		made := makeCA(t, key, nil)
		made.Crt.Signature[10] ^= 1
		return made
	}
	intermediate := func() pkitest.CA {
		return pkitest.CA{Crt: pkitest.Certificate(t, caTemplate("Elsewhere"), caTemplate("Root"), key.Public(), other), Key: key}
	}
	for name, tc := range map[string]struct {
		made   pkitest.CA
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
		"no key usage":      {makeCA(t, key, func(c *x509.Certificate) { c.KeyUsage = 0 }), "", ""},
		"no key identifier": {makeCA(t, key, withoutKeyIdentifier), "no subject key identifier", ""},
		"no subject":        {makeCA(t, key, func(c *x509.Certificate) { c.Subject = pkix.Name{} }), "its subject is empty", ""},
		"another's key":     {makeCA(t, key, func(c *x509.Certificate) { c.AuthorityKeyId = []byte("another key's") }), "that of another key", ""},
		"its own key":       {makeCA(t, key, func(c *x509.Certificate) { c.AuthorityKeyId = c.SubjectKeyId }), "", ""},
		"version 1":         {version1(t, key), "version 1, which has no extensions", ""},
		"signs no CRLs":     {makeCA(t, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), "key usage", ""},
		"signs only CRLs":   {makeCA(t, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), "key usage", ""},
		"not valid yet":     {makeCA(t, key, func(c *x509.Certificate) { c.NotBefore = importTime.Add(day) }), "not valid yet", "not valid yet"},
		"bad signature":     {badlySigned(), "not that of its own key", ""},
		"expired":           {makeCA(t, key, func(c *x509.Certificate) { c.NotAfter = importTime.Add(-day) }), "valid any more", "valid any more"},
		"RSA 1024":          {makeCA(t, weak, nil), "1024 bits", "1024 bits"},
		"P-521":             {makeCA(t, p521, nil), "P-521", "P-521"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, allow := range []bool{false, true} {
				st := newStore(t)
				want := tc.unfit
				if allow {
					want = tc.always
				}
				done, err := ImportCAs(t.Context(), st, importTime, CAImport{Authority: store.Services, Pairs: []KeyPair{pairOf(tc.made)}, AllowUnfit: allow})
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
	older := makeCA(t, pkitest.Key(t), nil)
	younger := makeCA(t, pkitest.Key(t), func(c *x509.Certificate) {
		c.Subject, c.NotBefore = pkix.Name{CommonName: "Another"}, importTime.Add(-day)
	})
	st := newStore(t)
	in := CAImport{Authority: store.Services, Pairs: []KeyPair{pairOf(younger), pairOf(older)}}
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
		in := CAImport{Authority: store.Services, Pairs: []KeyPair{pairOf(makeCA(t, pkitest.Key(t), nil))}, AllowUnfit: true}
		if _, err := ImportCAs(t.Context(), st, importTime, in); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// What is insisted on may be of no use to our own clients, and whoever insists is told so.
func TestImportTellsWhatClientsRefuse(t *testing.T) {
	noUse := makeCA(t, pkitest.Key(t), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	done := must[ImportedCAs](t)(ImportCAs(t.Context(), newStore(t), importTime, CAImport{Authority: store.Services, Pairs: []KeyPair{pairOf(noUse)}, AllowUnfit: true}))
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
	rsaKey := pkitest.KeyOf(t, pki.KeyRSA2048)
	shape := func(c *x509.Certificate) {
		c.Subject = pkix.Name{Organization: []string{"Acme"}, CommonName: "Acme CA"}
		c.MaxPathLen, c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = 2, []string{"example.org"}, true
	}
	older := makeCA(t, pkitest.Key(t), shape)
	younger := makeCA(t, rsaKey, func(c *x509.Certificate) {
		shape(c)
		c.NotBefore, c.NotAfter = importTime.Add(-5*day), importTime.Add(500*day)
	})
	st, clk := newStore(t), clock.NewFake(importTime)
	done := must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, CAImport{Authority: store.Services, Pairs: []KeyPair{pairOf(younger), pairOf(older)}}))
	if len(done.Certificates) != 2 || !done.Certificates[0].Equal(older.Crt) || len(done.Notes) > 0 {
		t.Fatalf("%v", done)
	}
	a := openAuthority(t, st, clk, store.Services)
	// The older one: the younger has lived for less than a span.
	crt, _ := catest.Issue(t, a, pkitest.HostRequest(t, "www.example.org").PEM)
	if err := crt.CheckSignatureFrom(older.Crt); err != nil {
		t.Error(err)
	}
	// Two spans of 93 days before the younger one ends, its successor is there.
	clk.Set(younger.Crt.NotAfter.Add(-186*day + time.Hour))
	if err := a.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	links := must[[]*envelope.Envelope](t)(envelope.ParseList(must[[]byte](t)(catest.Wired(a).Chain(ctx))))
	if len(links) != 2 {
		t.Fatalf("%d links", len(links))
	}
	for i, signer := range []pkitest.CA{older, younger} {
		if err := links[i].Verify(signer.Crt.PublicKey); err != nil {
			t.Error(err)
		}
	}
	crts := must[[]*x509.Certificate](t)(a.CACertificates(ctx))
	next := crts[len(crts)-1]
	if string(next.RawSubject) == string(younger.Crt.RawSubject) || !pki.SameAuthority(next.RawSubject, younger.Crt.RawSubject) || next.MaxPathLen != 2 || len(next.PermittedDNSDomains) != 1 ||
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
			made := makeCA(t, pkitest.Key(t), change)
			st, clk := newStore(t), clock.NewFake(importTime)
			must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, CAImport{Authority: store.Users, Pairs: []KeyPair{pairOf(made)}, AllowUnfit: true}))
			a := openAuthority(t, st, clk, store.Users)
			for range 2 {
				csr := pkitest.HostRequest(t, "alice")
				crt, _ := catest.Issue(t, a, csr.PEM)
				must[audit.Actor](t)(a.Authenticate(ctx, audit.Actor{}, crt))
				parseAny(t, a)
				clk.Set(made.Crt.NotAfter.Add(-day)) // and what has succeeded it by then
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
	made, key := makeCA(t, pkitest.Key(t), nil), pkitest.Key(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "old"}, DNSNames: []string{"old.example.org"},
		NotBefore: importTime.Add(-day), NotAfter: importTime.Add(30 * day)}
	old := pkitest.Certificate(t, template, made.Crt, key.Public(), made.Key)
	st := importedCA(t, made)
	a := openAuthority(t, st, clock.NewFake(importTime), store.Services)
	e := envelopetest.Parse(t, envelopetest.Renewal(t, old, key, pkitest.HostRequest(t, "new").PEM))
	renewed := must[*x509.Certificate](t)(pki.ParseCertificatePEM(must[[]byte](t)(catest.Wired(a).Renew(ctx, audit.Actor{Kind: audit.Anonymous}, e))))
	if renewed.Subject.CommonName != "old" || len(renewed.DNSNames) != 1 {
		t.Errorf("%s %v", renewed.Subject, renewed.DNSNames)
	}
	if err := catest.Wired(a).RevokeByUser(ctx, audit.Actor{Kind: audit.Operator}, envelope.Revocation{CertificatePEM: string(pkitest.PEM(old))}); err != nil {
		t.Error(err)
	}
	// With it goes what has renewed it.
	if list := parseList(t, a); len(list.RevokedCertificateEntries) != 2 || list.RevokedCertificateEntries[0].SerialNumber.Int64() != 77 {
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
		"identifier of its own": {pkitest.Key(t), func(c *x509.Certificate) { c.SubjectKeyId = []byte{1, 2, 3} }},
		"no identifier":         {pkitest.Key(t), withoutKeyIdentifier},
		"RSA of an odd size":    {must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2560)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			made := makeCA(t, tc.key, tc.change)
			if name == "no identifier" && len(made.Crt.SubjectKeyId) > 0 {
				t.Fatal("it has one")
			}
			st, clk := newStore(t), clock.NewFake(importTime)
			must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, CAImport{Authority: store.Services, Pairs: []KeyPair{pairOf(made)}, AllowUnfit: name == "no identifier"}))
			a := openAuthority(t, st, clk, store.Services)
			crt, _ := catest.Issue(t, a, pkitest.HostRequest(t, "www.example.org").PEM)
			if _, err := pki.VerifyIssued(crt, []*x509.Certificate{made.Crt}, clk.Now()); err != nil {
				t.Error(err)
			}
			if err := catest.Wired(a).RevokeByUser(ctx, audit.Actor{Kind: audit.Operator}, envelope.Revocation{Serial: crt.SerialNumber}); err != nil {
				t.Error(err)
			}
			list := must[*x509.RevocationList](t)(pki.ParseCRLPEM(must[catest.Lists](t)(catest.Wired(a).CRLs(ctx)).PEM))
			if err := list.CheckSignatureFrom(made.Crt); err != nil || len(list.RevokedCertificateEntries) != 1 {
				t.Error(err)
			}
			clk.Set(made.Crt.NotAfter.Add(-186*day + time.Hour))
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
	made := makeCA(t, pkitest.Key(t), nil)
	st := newStore(t)
	in := CAImport{Authority: store.Services, Pairs: []KeyPair{pairOf(made)}}
	must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, in))
	if _, err := ImportCAs(ctx, st, importTime, in); !errors.Is(err, store.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	in.Authority = store.Users
	if _, err := ImportCAs(ctx, st, importTime, in); !errors.Is(err, store.ErrExists) {
		t.Errorf("the same CA for users: %v", err)
	}
	in.Pairs = []KeyPair{pairOf(makeCA(t, pkitest.Key(t), nil))}
	must[ImportedCAs](t)(ImportCAs(ctx, st, importTime, in))
	in.Authority = store.HTTPS
	if _, err := ImportCAs(ctx, st, importTime, in); err == nil {
		t.Error("the HTTPS CA was imported")
	}
}
