package manage

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/caucase"
	"cauase/pkg/caucase/caucasedb"
	"cauase/pkg/caucase/caucasetest"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// A leftBehind is a folder of testdata/caucase, see the README there.
type leftBehind struct {
	t      testing.TB
	folder string
	now    time.Time // when it was made
}

func caucaseOf(t testing.TB, folder string) leftBehind {
	t.Helper()
	l := leftBehind{t: t, folder: folder}
	l.now = caucasetest.MadeAt(t, folder)
	return l
}

func (l leftBehind) read(name string) []byte {
	l.t.Helper()
	return caucasetest.Read(l.t, l.folder+"/"+name)
}

func (l leftBehind) database() *caucase.Database {
	l.t.Helper()
	return must[*caucase.Database](l.t)(caucasedb.Read(l.t.Context(), caucasetest.Unpack(l.t, l.folder, l.t.TempDir())))
}

// imported is a store that holds it all.
func (l leftBehind) imported() store.Store {
	l.t.Helper()
	st := newStore(l.t)
	must[caucase.Report](l.t)(ImportCaucase(l.t.Context(), st, l.now, l.database(), nil))
	return st
}

// holder returns what a file with a key and a certificate holds.
func (l leftBehind) holder(name string) (*x509.Certificate, crypto.Signer) {
	l.t.Helper()
	pairs := must[[]KeyPair](l.t)(ReadKeyPairs([]File{{name, l.read(name + ".pem")}}, nil))
	return pairs[0].Certificate, pairs[0].Key
}

func TestImportedCaucasePassesTheCheck(t *testing.T) {
	for _, folder := range []string{"0.9.17", "0.9.8", "rolled"} {
		l := caucaseOf(t, folder)
		if findings, _ := check(t, l.imported(), l.now); len(findings) > 0 {
			t.Errorf("%s: %s", folder, strings.Join(findings, "\n"))
		}
	}
}

func TestImportedCaucaseGoesOn(t *testing.T) {
	for _, folder := range []string{"0.9.17", "0.9.8"} {
		t.Run(folder, func(t *testing.T) {
			ctx := t.Context()
			l := caucaseOf(t, folder)
			st, clk := l.imported(), clock.NewFake(l.now.Add(time.Minute))
			users, services := openAuthority(t, st, clk, store.Users), openAuthority(t, st, clk, store.Services)

			crt, _ := l.holder("alice")
			alice := must[audit.Actor](t)(users.Authenticate(ctx, audit.Actor{}, crt))
			mallory, _ := l.holder("mallory")
			if _, err := users.Authenticate(ctx, audit.Actor{}, mallory); !errors.Is(err, ca.ErrUnauthorized) {
				t.Errorf("mallory: %v", err)
			}

			pending := must[[]store.Request](t)(services.Pending(ctx))
			if len(pending) != 1 {
				t.Fatalf("pending: %v", pending)
			}
			if again := must[int64](t)(catest.Wired(services).Submit(ctx, audit.Actor{Kind: audit.Anonymous}, pending[0].PEM)); again != pending[0].ID {
				t.Errorf("the request of %d sent again is %d", pending[0].ID, again)
			}
			if err := catest.Wired(services).Sign(ctx, alice, pending[0].ID); err != nil {
				t.Error(err)
			}
			// The lock is on, and used up.
			fresh := must[int64](t)(catest.Wired(services).Submit(ctx, audit.Actor{Kind: audit.Anonymous}, pkitest.HostRequest(t, "fresh").PEM))
			if _, err := catest.Wired(services).Certificate(ctx, fresh); !errors.Is(err, ca.ErrNotFound) {
				t.Errorf("a new request is approved automatically: %v", err)
			}

			web, key := l.holder("web")
			e := envelopetest.Parse(t, envelopetest.Renewal(t, web, key, pkitest.HostRequest(t, "web").PEM))
			renewed := must[*x509.Certificate](t)(pki.ParseCertificatePEM(must[[]byte](t)(catest.Wired(services).Renew(ctx, audit.Actor{Kind: audit.Anonymous}, e))))
			if renewed.Subject.String() != web.Subject.String() || renewed.Issuer.String() != web.Issuer.String() {
				t.Errorf("%s by %s", renewed.Subject, renewed.Issuer)
			}

			old := must[*x509.RevocationList](t)(pki.ParseCRLPEM(l.read("cas.crl.pem")))
			list := parseList(t, services)
			if list.Number.Cmp(old.Number) <= 0 || len(list.RevokedCertificateEntries) != len(old.RevokedCertificateEntries) {
				t.Errorf("list %v of %d after %v of %d", list.Number, len(list.RevokedCertificateEntries), old.Number, len(old.RevokedCertificateEntries))
			}
			if err := catest.Wired(services).RevokeByUser(ctx, alice, envelope.Revocation{Serial: renewed.SerialNumber}); err != nil {
				t.Error(err)
			}
			if err := catest.Wired(services).RevokeByUser(ctx, alice, envelope.Revocation{Serial: big.NewInt(123456)}); !errors.Is(err, ca.ErrConflict) {
				t.Errorf("revoked before: %v", err)
			}
			if next := parseList(t, services); next.Number.Cmp(list.Number) <= 0 || len(next.RevokedCertificateEntries) != 5 { // what it has renewed is out, too
				t.Errorf("list %v of %d", next.Number, len(next.RevokedCertificateEntries))
			}
			if findings, _ := check(t, st, clk.Now()); len(findings) > 0 {
				t.Errorf("%s", strings.Join(findings, "\n"))
			}
		})
	}
}

func parseList(t testing.TB, a *ca.Authority) *x509.RevocationList {
	t.Helper()
	crl := must[*x509.RevocationList](t)(pki.ParseCRLPEM(must[catest.Lists](t)(catest.Wired(a).CRLs(t.Context())).PEM))
	crts := must[[]*x509.Certificate](t)(a.CACertificates(t.Context()))
	if err := crl.CheckSignatureFrom(crts[len(crts)-1]); err != nil {
		t.Error(err)
	}
	return crl
}

// Whoever knows the oldest of caucase's CAs can follow to those made here.
func TestImportedCaucaseRollsOver(t *testing.T) {
	l := caucaseOf(t, "rolled")
	st, clk := l.imported(), clock.NewFake(l.now)
	services := openShort(t, st, clk, store.Services, time.Minute)
	older := must[[]*x509.Certificate](t)(services.CACertificates(t.Context()))
	for range 8 {
		clk.Advance(15 * time.Second)
		if err := services.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	anchor := older[0]
	links := must[[]*envelope.Envelope](t)(envelope.ParseList(must[[]byte](t)(catest.Wired(services).Chain(t.Context()))))
	if len(links) < 2 {
		t.Fatalf("%d links", len(links))
	}
	for _, e := range links {
		if err := e.Verify(anchor.PublicKey); err != nil {
			t.Fatal(err)
		}
		link := must[envelope.Link](t)(envelope.DecodeLink(e.Payload()))
		if link.OldPEM != string(pki.EncodeCertificatePEM(anchor.Raw)) {
			t.Error("the chain is broken")
		}
		next := must[*x509.Certificate](t)(pki.ParseCertificatePEM([]byte(link.NewPEM)))
		// Those that caucase has made share one, and those that follow do not.
		if made := next.NotBefore.After(older[len(older)-1].NotBefore); made == bytes.Equal(next.RawSubject, anchor.RawSubject) || !pki.SameAuthority(next.RawSubject, anchor.RawSubject) {
			t.Errorf("%s follows %s", next.Subject, anchor.Subject)
		}
		anchor = next
	}
}

func openShort(t testing.TB, st store.Store, clk clock.Clock, name store.AuthorityName, span time.Duration) *ca.Authority {
	t.Helper()
	return must[*ca.Authority](t)(catest.Open(t.Context(), st, clk, catest.Config{
		Name: name, Netloc: "ca.example.org:8009", Spans: rollover.Spans{Leaf: span, Life: 4}, KeyType: pki.KeyECDSAP256, MaxPending: 100}))
}

func TestImportCaucaseIntoSomething(t *testing.T) {
	l := caucaseOf(t, "0.9.17")
	st := l.imported()
	if _, err := ImportCaucase(t.Context(), st, l.now, l.database(), nil); !errors.Is(err, store.ErrExists) {
		t.Errorf("%v", err)
	}
	other := newStore(t)
	openAuthority(t, other, clock.NewFake(l.now), store.Users)
	if _, err := ImportCaucase(t.Context(), other, l.now, l.database(), nil); !errors.Is(err, store.ErrExists) {
		t.Errorf("%v", err)
	}
}

func TestImportIsRecorded(t *testing.T) {
	l := caucaseOf(t, "0.9.17")
	var told []string
	err := l.imported().View(t.Context(), func(r store.Reader) error {
		return r.Audit(t.Context(), audit.Filter{Action: audit.ImportAll}, func(e audit.Entry) error {
			told = append(told, e.Authority+": "+e.Detail)
			return nil
		})
	})
	want := "cas: 1 CA certificates, 1 pending requests, 5 issued certificates, 3 revocations"
	if err != nil || len(told) != 3 || !slices.Contains(told, want) {
		t.Errorf("%v %q", err, told)
	}
}

// altered is the database after somebody has had a hand in it.
func (l leftBehind) altered(statement string) *caucase.Database {
	l.t.Helper()
	r := must[*gzip.Reader](l.t)(gzip.NewReader(bytes.NewReader(l.read("caucase.sqlite.gz"))))
	path := filepath.Join(l.t.TempDir(), "caucase.sqlite")
	if err := os.WriteFile(path, must[[]byte](l.t)(io.ReadAll(r)), 0o600); err != nil {
		l.t.Fatal(err)
	}
	db := must[*sql.DB](l.t)(sql.Open("sqlite", path))
	must[sql.Result](l.t)(db.ExecContext(l.t.Context(), statement))
	if err := db.Close(); err != nil {
		l.t.Fatal(err)
	}
	return must[*caucase.Database](l.t)(caucasedb.Read(l.t.Context(), path))
}

// Without a count of requests the next one to come would be a user's.
func TestLostCountApprovesNobody(t *testing.T) {
	for name, statement := range map[string]string{
		"none":    "DELETE FROM caucounter",
		"too low": "UPDATE caucounter SET value = 0 WHERE name = 'received_csr'",
	} {
		t.Run(name, func(t *testing.T) {
			l, ctx := caucaseOf(t, "0.9.17"), t.Context()
			st := newStore(t)
			must[caucase.Report](t)(ImportCaucase(ctx, st, l.now, l.altered(statement), nil))
			users := openAuthority(t, st, clock.NewFake(l.now.Add(time.Minute)), store.Users)
			id := must[int64](t)(catest.Wired(users).Submit(ctx, audit.Actor{Kind: audit.Anonymous}, pkitest.HostRequest(t, "stranger").PEM))
			if _, err := catest.Wired(users).Certificate(ctx, id); !errors.Is(err, ca.ErrNotFound) {
				t.Errorf("a stranger became a user: %v", err)
			}
			if findings, _ := check(t, st, l.now); len(findings) > 0 {
				t.Errorf("%s", strings.Join(findings, "\n"))
			}
		})
	}
}

// Whatever CA users and services shared, each service would be a user.
func TestImportCaucaseOfOneCA(t *testing.T) {
	l, st := caucaseOf(t, "0.9.17"), newStore(t)
	db := l.altered("DELETE FROM cascrt; DELETE FROM casca; INSERT INTO casca SELECT * FROM cauca")
	if _, err := ImportCaucase(t.Context(), st, l.now, db, nil); !errors.Is(err, caucase.ErrNotCaucase) || !strings.Contains(err.Error(), "same key") {
		t.Error(err)
	}
	empty(t, st)
}

// Nothing is kept as a request that is none.
func TestImportCaucaseWithoutRequests(t *testing.T) {
	l, st := caucaseOf(t, "0.9.17"), newStore(t)
	must[caucase.Report](t)(ImportCaucase(t.Context(), st, l.now, l.altered("UPDATE cascrt SET csr = 'lost' WHERE crt IS NOT NULL"), nil))
	if findings, _ := check(t, st, l.now); len(findings) > 0 {
		t.Errorf("%s", strings.Join(findings, "\n"))
	}
}

// Caucase certifies keys that we know nothing of. They have come over, and are as they should be.
func TestCheckUnknownKeys(t *testing.T) {
	l := caucaseOf(t, "0.9.17")
	web, _ := l.holder("web")
	unknown := func(der []byte) []byte { // the algorithm of the key is not rsaEncryption any more
		return bytes.Replace(der, []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x63"), 1)
	}
	var signer crypto.Signer
	rows := change(func(v *store.CA) bool {
		if v.Authority == store.Services {
			signer = must[any](t)(x509.ParsePKCS8PrivateKey(v.Key.Ref)).(crypto.Signer)
		}
		return signer != nil
	})(rowsOf(t, l.imported()))
	rows = change(func(v *store.Certificate) bool {
		if v.Serial.Cmp(web.SerialNumber) != 0 {
			return false
		}
		tbs := unknown(web.RawTBSCertificate)
		sum := sha256.Sum256(tbs)
		signature := must[[]byte](t)(signer.Sign(rand.Reader, sum[:], crypto.SHA256))
		v.DER = must[[]byte](t)(asn1.Marshal(struct {
			TBS       asn1.RawValue
			Algorithm pkix.AlgorithmIdentifier
			Signature asn1.BitString
		}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue},
			asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}}))
		return true
	})(rows)
	st := newStore(t)
	load(t, st, rows)
	if findings, _ := check(t, st, l.now); len(findings) > 0 {
		t.Errorf("%s", strings.Join(findings, "\n"))
	}
}
