package proof

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
)

func selfSigned(t *testing.T) (*x509.Certificate, *x509.Certificate) {
	t.Helper()
	var pair [2]*x509.Certificate
	for i := range pair {
		key := ed(t)
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i) + 1), Subject: pkix.Name{CommonName: "CA"}, NotAfter: now}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		pair[i] = must(x509.ParseCertificate(der))
	}
	return pair[0], pair[1]
}

// A statement counts for one request, one authority of one daemon, and a few minutes.
func TestStatementCountsForOneRequest(t *testing.T) {
	ours, theirs := selfSigned(t)
	good := Statement{Authority: "cas", CA: Fingerprint(ours), Request: pki.Digest{1}, Made: now}
	purpose := Purpose{Authority: "cas", CAs: []*x509.Certificate{ours}, Request: pki.Digest{1}, Now: now}
	for _, tt := range []struct {
		name   string
		change func(*Statement)
		want   string // empty: it counts
	}{
		{"good", func(*Statement) {}, ""},
		{"five minutes ago", func(s *Statement) { s.Made = now.Add(-MaxAge) }, ""},
		{"five minutes ahead", func(s *Statement) { s.Made = now.Add(MaxAge) }, ""},
		{"too old", func(s *Statement) { s.Made = now.Add(-MaxAge - time.Second) }, "ago"},
		{"too far ahead", func(s *Statement) { s.Made = now.Add(MaxAge + time.Second) }, "ahead"},
		{"from the beginning of time", func(s *Statement) { s.Made = time.Unix(1, 0) }, "ago"},
		{"another request", func(s *Statement) { s.Request = pki.Digest{2} }, "another request"},
		{"another authority", func(s *Statement) { s.Authority = "vpn" }, "authority"},
		{"another daemon", func(s *Statement) { s.CA = Fingerprint(theirs) }, "another daemon"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good
			tt.change(&s)
			text, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			read, err := DecodeStatement(text)
			if err != nil || read != s {
				t.Fatalf("read back: got %+v, %v", read, err)
			}
			switch err := purpose.Check(read); {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestStatementsThatAreNone(t *testing.T) {
	digest := pki.Digest{1}.String()
	good := `{"authority":"cas","ca":"` + digest + `","made":1,"prove_request":"` + digest + `"}`
	if _, err := DecodeStatement([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"nothing":         "",
		"null":            "null",
		"a list":          "[]",
		"twice":           good + good,
		"unknown members": strings.Replace(good, "{", `{"x":1,`, 1),
		"repeated":        strings.Replace(good, "{", `{"made":1,`, 1),
		"another case":    strings.Replace(good, "made", "Made", 1),
		"no time":         strings.Replace(good, `"made":1,`, "", 1),
		"negative time":   strings.Replace(good, `"made":1`, `"made":-1`, 1),
		"huge time":       strings.Replace(good, `"made":1`, `"made":1e30`, 1),
		"no authority":    strings.Replace(good, `"authority":"cas",`, "", 1),
		"no digest":       strings.Replace(good, digest, "x", 1),
		"a certificate":   strings.Replace(good, "{", `{"crt_pem":"x",`, 1),
		"too long":        strings.Replace(good, "cas", strings.Repeat("c", maxStatement), 1),
	} {
		if got, err := DecodeStatement([]byte(s)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestPresentationsThatAreNone(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":          "",
		"no request":       `{"ssh":{"statement":"x","signature":"y"}}`,
		"no proof":         `{"csr_pem":"x"}`,
		"null proofs":      `{"csr_pem":"x","ssh":null}`,
		"null certificate": `{"csr_pem":"x","certificate":null}`,
		"unknown":          `{"csr_pem":"x","ssh":{"statement":"x","signature":"y","extra":1}}`,
		"repeated":         `{"csr_pem":"x","csr_pem":"y","ssh":{"statement":"x","signature":"y"}}`,
	} {
		if got, err := DecodePresentation([]byte(s)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	p := Presentation{RequestPEM: "x", SSH: &Signed{"a", "b"}}
	if got, err := DecodePresentation(must(p.Encode())); err != nil || *got.SSH != *p.SSH || got.RequestPEM != "x" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestCandidates(t *testing.T) {
	csr := &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "A.Example."}, DNSNames: []string{"a.example", "*.example", "B.example"},
		IPAddresses: []net.IP{net.ParseIP("::ffff:192.0.2.1"), net.ParseIP("2001:db8::1")},
	}
	want := []string{"a.example", "b.example", "192.0.2.1", "2001:db8::1"}
	if got := Candidates(csr); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := Candidates(&x509.CertificateRequest{Subject: pkix.Name{CommonName: "Alice Smith"}}); len(got) != 0 {
		t.Errorf("of a person: got %q", got)
	}
}
