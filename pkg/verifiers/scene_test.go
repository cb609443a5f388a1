package verifiers

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/pkitest"
)

// A holder has a certificate, which is good for servers and clients alike.
type holder struct {
	name     string
	crt, key string // files, PEM
	pair     tls.Certificate
}

// A scene is an authority of services with two CA certificates that are both valid, a list of each, and
// what each has signed.
type scene struct {
	dir   string
	ca    string // files as the agent writes them, or in the other order
	crl   string
	cas   []*x509.Certificate // in that order
	lists []*x509.RevocationList

	good, revoked [2]holder // by generation
}

// subjects says what the two generations are called.
type subjects string

const (
	own    subjects = "own subjects"
	shared subjects = "one subject"
)

// newScene plays the authority's past to it, as verifiers look at the clock on the wall: its first CA was
// made three and a half spans ago, the second half a span after two were left.
func newScene(t *testing.T, named subjects) *scene {
	t.Helper()
	const span = 93 * 24 * time.Hour
	ctx := t.Context()
	now := clock.System().Now()
	clk := clock.NewFake(now.Add(-7 * span / 2))
	s := &scene{dir: t.TempDir()}
	openTo(t, s.dir)
	db, err := sqlstore.Open(ctx, filepath.Join(t.TempDir(), "ca.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a, err := catest.Open(ctx, db, clk, catest.Config{
		Name: store.Services, Netloc: "ca.example.org:8009", Spans: rollover.Spans{Leaf: span, Life: 4},
		KeyType: pki.KeyECDSAP256, Backdate: time.Minute, MaxPending: 10, AutoApprove: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	clk.Set(now.Add(-3 * span / 2)) // the successor is made
	if named == shared {
		a.NoteStrictFollower(true)
	}
	if err := a.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	for i, at := range []time.Duration{-9 * span / 10, 0} { // it is passive, and signs
		clk.Set(now.Add(at))
		s.good[i] = s.issue(t, a, fmt.Sprintf("good%d", i+1))
		s.revoked[i] = s.issue(t, a, fmt.Sprintf("revoked%d", i+1))
		err := catest.Wired(a).RevokeByUser(ctx, audit.Actor{Kind: audit.Operator}, envelope.Revocation{Serial: s.revoked[i].pair.Leaf.SerialNumber})
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.cas, err = a.CACertificates(ctx); err != nil || len(s.cas) != 2 {
		t.Fatalf("%d CA certificates, %v", len(s.cas), err)
	}
	if same := pki.SameName(s.cas[0].RawSubject, s.cas[1].RawSubject); same != (named == shared) {
		t.Fatalf("%s: %s and %s", named, s.cas[0].Subject, s.cas[1].Subject)
	}
	for i, leaf := range s.good {
		if string(leaf.pair.Leaf.AuthorityKeyId) != string(s.cas[i].SubjectKeyId) {
			t.Fatalf("%s is not of generation %d", leaf.name, i+1)
		}
	}
	list, err := catest.Wired(a).CRLs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.lists, err = pki.ParseCRLsPEM(list.PEM); err != nil || len(s.lists) != 2 {
		t.Fatalf("%d lists, %v", len(s.lists), err)
	}
	s.write(t)
	return s
}

// openTo lets servers that run as other users into a folder of the test.
func openTo(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// write writes both files as the agent does.
func (s *scene) write(t *testing.T) {
	t.Helper()
	s.ca, s.crl = filepath.Join(s.dir, "ca.pem"), filepath.Join(s.dir, "crl.pem")
	if _, err := pemfile.CAStore(s.ca).WriteCertificates(s.cas); err != nil {
		t.Fatal(err)
	}
	if _, err := pemfile.CRLStore(s.crl).WriteCRLs(s.lists); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.ca, s.crl} {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// reversed is the same with the newest first in both files.
func (s *scene) reversed(t *testing.T) *scene {
	t.Helper()
	r := *s
	r.dir = t.TempDir()
	openTo(t, r.dir)
	r.cas, r.lists = slices.Clone(s.cas), slices.Clone(s.lists)
	slices.Reverse(r.cas)
	slices.Reverse(r.lists)
	r.ca, r.crl = filepath.Join(r.dir, "ca.pem"), filepath.Join(r.dir, "crl.pem")
	var lists bytes.Buffer
	for _, l := range r.lists {
		lists.Write(pki.EncodeCRLPEM(l.Raw))
	}
	write(t, r.ca, pkitest.PEM(r.cas...), 0o644)
	write(t, r.crl, lists.Bytes(), 0o644)
	return &r
}

// issue has a certificate signed, by whichever CA signs now.
func (s *scene) issue(t *testing.T, a *ca.Authority, name string) holder {
	t.Helper()
	usages, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}, {1, 3, 6, 1, 5, 5, 7, 3, 2}})
	if err != nil {
		t.Fatal(err)
	}
	key := pkitest.Key(t)
	csr := pkitest.Request(t, key, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost", name + ".example.org"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: usages},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 7, 0x80}}, // digitalSignature
		},
	})
	id, err := catest.Wired(a).Submit(t.Context(), audit.Actor{Kind: audit.Anonymous}, csr)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := catest.Wired(a).Certificate(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	h := holder{
		name: name,
		crt:  write(t, filepath.Join(s.dir, name+".crt.pem"), crt, 0o644),
		key:  write(t, filepath.Join(s.dir, name+".key.pem"), pkitest.KeyPEM(t, key), 0o600),
	}
	if h.pair, err = tls.LoadX509KeyPair(h.crt, h.key); err != nil {
		t.Fatal(err)
	}
	return h
}

// config is how a holder connects to a server, which has a certificate of the second generation.
func (s *scene) config(h holder) *tls.Config {
	roots := x509.NewCertPool()
	for _, crt := range s.cas {
		roots.AddCert(crt)
	}
	return &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{h.pair}, MinVersion: tls.VersionTLS12}
}

// server is whose certificate servers have.
func (s *scene) server() holder { return s.good[1] }
