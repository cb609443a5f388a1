package endtoend

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	"cauase/pkg/testkit/pkitest"
)

// TestTwoGenerations has leaves of two CA certificates of one authority, both valid, judged by
// openssl, GnuTLS, NSS and zlint: each leaf is good, and the revoked one of each generation is not.
//
// The judges look at the clock on the wall, so that the authority's past is played to it: its
// first CA was made three and a half spans ago, the second half a span after two were left.
func TestTwoGenerations(t *testing.T) {
	for _, keyType := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyRSA2048} {
		t.Run(string(keyType), func(t *testing.T) {
			t.Parallel()
			g := makeGenerations(t, keyType)
			t.Run("zlint", g.zlint)
			t.Run("openssl", g.openssl)
			t.Run("certtool", g.certtool)
			t.Run("NSS", g.nss)
		})
	}
}

type generations struct {
	dir       string
	cas       []*x509.Certificate // oldest first
	crls      []*x509.RevocationList
	good, bad []*x509.Certificate // one of each generation, oldest first
}

func makeGenerations(t *testing.T, keyType pki.KeyType) *generations {
	t.Helper()
	const span = 93 * 24 * time.Hour
	ctx := t.Context()
	now := clock.System().Now()
	clk := clock.NewFake(now.Add(-7 * span / 2))
	db, err := sqlstore.Open(ctx, filepath.Join(t.TempDir(), "ca.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	a, err := catest.Open(ctx, db, clk, catest.Config{
		Name: store.Services, Netloc: benchHost + ":8009", Spans: rollover.Spans{Leaf: span, Life: 4}, KeyType: keyType,
		Backdate: time.Minute, MaxPending: 10, AutoApprove: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &generations{dir: t.TempDir()}
	pair := func(name string) {
		g.good = append(g.good, issueServer(t, a, name+"-good.example.org"))
		revoked := issueServer(t, a, name+"-bad.example.org")
		if err := catest.Wired(a).RevokeByUser(ctx, aUser, envelope.Revocation{Serial: revoked.SerialNumber}); err != nil {
			t.Fatal(err)
		}
		g.bad = append(g.bad, revoked)
	}
	clk.Set(now.Add(-3 * span / 2)) // the successor is made
	if err := a.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	clk.Set(now.Add(-9 * span / 10)) // it is passive
	pair("old")
	clk.Set(now) // it signs
	pair("new")
	if g.cas, err = a.CACertificates(ctx); err != nil || len(g.cas) != 2 {
		t.Fatalf("%d CA certificates, %v", len(g.cas), err)
	}
	for i, leaf := range g.good {
		if string(leaf.AuthorityKeyId) != string(g.cas[i].SubjectKeyId) {
			t.Fatalf("leaf %d is not of generation %d", i, i)
		}
	}
	list, err := catest.Wired(a).CRLs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if g.crls, err = pki.ParseCRLsPEM(list.PEM); err != nil || len(g.crls) != 2 {
		t.Fatalf("%d CRLs, %v", len(g.crls), err)
	}
	g.write(t, "crls.pem", list.PEM)
	for i := range g.cas {
		g.write(t, fmt.Sprintf("ca-%d.pem", i), pki.EncodeCertificatePEM(g.cas[i].Raw))
		g.write(t, fmt.Sprintf("crl-%d.der", i), g.crls[i].Raw)
		g.write(t, fmt.Sprintf("good-%d.pem", i), pki.EncodeCertificatePEM(g.good[i].Raw))
		g.write(t, fmt.Sprintf("bad-%d.pem", i), pki.EncodeCertificatePEM(g.bad[i].Raw))
	}
	g.write(t, "cas.pem", append(pki.EncodeCertificatePEM(g.cas[0].Raw), pki.EncodeCertificatePEM(g.cas[1].Raw)...))
	return g
}

func issueServer(t *testing.T, a *ca.Authority, name string) *x509.Certificate {
	t.Helper()
	serverAuth, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}})
	if err != nil {
		t.Fatal(err)
	}
	csr := pkitest.Request(t, pkitest.Key(t), &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: serverAuth}},
	})
	id, err := catest.Wired(a).Submit(t.Context(), audit.Actor{Kind: audit.Anonymous}, csr)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := catest.Wired(a).Certificate(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return parseCertificate(t, string(crt))
}

func (g *generations) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// verdict compares a judge's answer about a leaf with the expected one.
func (g *generations) verdict(t *testing.T, judge func(leaf string) (said string, err error)) {
	t.Helper()
	for i := range g.cas {
		if said, err := judge(fmt.Sprintf("good-%d.pem", i)); err != nil {
			t.Errorf("the good leaf of generation %d: %v: %s", i, err, said)
		}
		if said, err := judge(fmt.Sprintf("bad-%d.pem", i)); err == nil || !strings.Contains(strings.ToLower(said), "revoked") {
			t.Errorf("the revoked leaf of generation %d: %v: %s", i, err, said)
		}
	}
}

func (g *generations) openssl(t *testing.T) {
	needTool(t, "openssl")
	g.verdict(t, func(leaf string) (string, error) {
		return tool(t.Context(), g.dir, "openssl", "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslserver",
			"-CAfile", "cas.pem", "-crl_check", "-CRLfile", "crls.pem", leaf)
	})
}

func (g *generations) certtool(t *testing.T) {
	needTool(t, "certtool")
	g.verdict(t, func(leaf string) (string, error) {
		return tool(t.Context(), g.dir, "certtool", "--verify", "--verify-profile", "medium",
			"--load-ca-certificate", "cas.pem", "--load-crl", "crls.pem", "--infile", leaf)
	})
}

func (g *generations) nss(t *testing.T) {
	for _, name := range []string{"certutil", "crlutil", "vfychain"} {
		needTool(t, name)
	}
	do := func(name string, args ...string) {
		t.Helper()
		if said, err := tool(t.Context(), g.dir, name, args...); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, said)
		}
	}
	const sslServer = "1"
	database := func(name string, generations ...int) string {
		if err := os.Mkdir(filepath.Join(g.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		do("certutil", "-N", "-d", "sql:"+name, "--empty-password")
		for _, i := range generations {
			do("certutil", "-A", "-d", "sql:"+name, "-n", fmt.Sprintf("generation %d", i), "-t", "CT,C,C", "-a", "-i", fmt.Sprintf("ca-%d.pem", i))
		}
		return "sql:" + name
	}
	both := database("both", 0, 1)
	// The CAs share their name, and NSS knows one CRL, and one issuer of it, for each name. Whoever
	// keeps both generations in one of its databases can have the revocations of the newer only.
	var each []string
	for i := range g.cas {
		each = append(each, database(fmt.Sprintf("only-%d", i), i))
		do("crlutil", "-I", "-d", each[i], "-t", "1", "-i", fmt.Sprintf("crl-%d.der", i))
	}
	ask := func(db, leaf string) (string, error) {
		return tool(t.Context(), g.dir, "vfychain", "-d", db, "-v", "-u", sslServer, "-a", leaf)
	}
	for i := range g.cas {
		if said, err := ask(both, fmt.Sprintf("good-%d.pem", i)); err != nil {
			t.Errorf("the good leaf of generation %d, beside the other CA: %v: %s", i, err, said)
		}
	}
	g.verdict(t, func(leaf string) (string, error) {
		return ask(each[strings.Count(leaf, "1")], leaf)
	})
}

func (g *generations) zlint(t *testing.T) {
	for i := range g.cas {
		for _, crt := range []*x509.Certificate{g.cas[i], g.good[i], g.bad[i]} {
			parsed, err := zx509.ParseCertificate(crt.Raw)
			if err != nil {
				t.Fatal(err)
			}
			for name, result := range zlint.LintCertificate(parsed).Results {
				if _, excused := notForUs[name]; !excused && result.Status >= lint.Warn {
					t.Errorf("%s: %s: %s %s", crt.Subject, name, result.Status, result.Details)
				}
			}
		}
		parsed, err := zx509.ParseRevocationList(g.crls[i].Raw)
		if err != nil {
			t.Fatal(err)
		}
		for name, result := range zlint.LintRevocationList(parsed).Results {
			if _, excused := notForUs[name]; !excused && result.Status >= lint.Warn {
				t.Errorf("CRL %d: %s: %s %s", i, name, result.Status, result.Details)
			}
		}
	}
}
