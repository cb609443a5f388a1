package caucase

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// A request with names that are refused is taken from a user, for its key alone: who is certified the user says in a template.
// Nobody else can have one pending, and clients that could not read it do not meet it.
func TestForeignRequestIsSignedWithATemplate(t *testing.T) {
	s := newSite(t)
	user, _ := s.issue(s.Users)
	c := s.client(user)
	key := pkitest.Key(t)
	subject, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{Tag: asn1.TagT61String, Bytes: []byte("switch")}}}})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	foreign := string(pki.EncodeCSRPEM(der))
	honest := s.pending(s.Services, pkitest.Key(t))

	for target, who := range map[string]*http.Client{
		"http:/cas/csr?foreign=true":  s.client(nil),
		"https:/cas/csr?foreign=true": s.client(nil),
		"https:/cas/csr":              c,
	} {
		if got := s.do(who, "PUT", target, foreign); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.body, "T61String") {
			t.Errorf("%s: %d %s", target, got.StatusCode, got.body)
		}
	}
	if got := s.do(c, "PUT", "https:/cas/csr?foreign=yes", foreign); got.StatusCode != http.StatusBadRequest {
		t.Errorf("foreign=yes: %d %s", got.StatusCode, got.body)
	}
	der[len(der)-1] ^= 1
	if got := s.do(c, "PUT", "https:/cas/csr?foreign=true", string(pki.EncodeCSRPEM(der))); got.StatusCode != http.StatusBadRequest {
		t.Errorf("with a signature that does not verify: %d %s", got.StatusCode, got.body)
	}
	s.Clock.Advance(time.Second) // so that it comes after the other
	got := s.do(c, "PUT", "https:/cas/csr?foreign=true", foreign)
	id := got.Header.Get("Location")
	if got.StatusCode != http.StatusCreated || id == "" {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if again := s.do(c, "PUT", "https:/cas/csr?foreign=true", foreign); again.Header.Get("Location") != id {
		t.Errorf("again: %d %s, want the id %s", again.StatusCode, again.Header.Get("Location"), id)
	}

	type pending struct{ ID, CSR, Problem string }
	list := func(target string) (all []pending) {
		t.Helper()
		if err := json.Unmarshal([]byte(s.do(c, "GET", target, "").body), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := list("https:/cas/csr"); len(all) != 1 || all[0].ID == id {
		t.Errorf("clients of the reference are shown %v, want only %d", all, honest)
	}
	if all := list("https:/cas/csr?foreign=true"); len(all) != 2 || all[1].ID != id || !strings.Contains(all[1].Problem, "template") {
		t.Errorf("listed: %v", all)
	}
	if got := s.do(c, "GET", "http:/cas/csr/"+id, ""); got.body != foreign {
		t.Errorf("fetched: %d %s", got.StatusCode, got.body)
	}

	if got := s.do(c, "PUT", "https:/cas/crt/"+id, ""); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.body, "template") {
		t.Errorf("without a template: %d %s", got.StatusCode, got.body)
	}
	template := newCSR(t, pkitest.Key(t), "granted")
	if got := s.do(s.client(nil), "PUT", "https:/cas/crt/"+id, template, "Content-Type", "application/pkcs10"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger signs: %d %s", got.StatusCode, got.body)
	}
	if got := s.do(c, "PUT", "https:/cas/crt/"+id, template, "Content-Type", "application/pkcs10"); got.StatusCode != http.StatusNoContent {
		t.Fatalf("with a template: %d %s", got.StatusCode, got.body)
	}
	crt, err := pki.ParseCertificatePEM([]byte(s.do(c, "GET", "http:/cas/crt/"+id, "").body))
	if err != nil || crt.Subject.CommonName != "granted" || !pki.SameKey(crt.PublicKey, key.Public()) {
		t.Errorf("%v, %v", crt, err)
	}
}
