package proof

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/pki"
)

const (
	// MaxAge is how long ago a statement may have been made, and how far the clock of whoever has made it may be ahead.
	MaxAge = 5 * time.Minute

	// maxStatement bounds a statement without a certificate, in bytes.
	maxStatement = 1 << 10
)

// A Statement says what a proof is for.
type Statement struct {
	Authority string     // that is asked
	CA        pki.Digest // SHA-256 of a CA certificate of that, which the asker trusts
	Request   pki.Digest
	Made      time.Time // in whole seconds
}

// wire is a statement as it is signed. No other message that the key of a certificate signs has its members.
type wire struct {
	Request        string `json:"prove_request"` // sha256:…
	Authority      string `json:"authority"`
	CA             string `json:"ca"`               // sha256:…
	Made           int64  `json:"made"`             // seconds since 1970
	CertificatePEM string `json:"crt_pem,omitzero"` // whose key signs, if it is one of a certificate
}

// Encode returns the text of a statement, which is to be signed.
func (s Statement) Encode() ([]byte, error) { return s.encode("") }

func (s Statement) encode(crtPEM string) ([]byte, error) {
	return json.Marshal(wire{s.Request.String(), s.Authority, s.CA.String(), s.Made.Unix(), crtPEM}, json.Deterministic(true))
}

// DecodeStatement reads what Encode has written. Errors are ErrInvalid.
func DecodeStatement(text []byte) (Statement, error) {
	if len(text) > maxStatement {
		return Statement{}, invalid("statement: longer than %d bytes", maxStatement)
	}
	s, crtPEM, err := decodeStatement(text)
	if err == nil && crtPEM != "" {
		return Statement{}, invalid("statement: crt_pem has no place in what an SSH key signs")
	}
	return s, err
}

func decodeStatement(text []byte) (s Statement, crtPEM string, err error) {
	var w wire
	if err := json.Unmarshal(text, &w, json.RejectUnknownMembers(true)); err != nil {
		return s, "", invalid("statement: %v", err)
	}
	s = Statement{Authority: w.Authority, Made: time.Unix(w.Made, 0)}
	if s.Request, err = pki.ParseDigest(w.Request); err != nil {
		return s, "", invalid("statement: prove_request: %v", err)
	}
	if s.CA, err = pki.ParseDigest(w.CA); err != nil {
		return s, "", invalid("statement: ca: %v", err)
	}
	if s.Authority == "" || w.Made <= 0 {
		return s, "", invalid("statement: authority and made are needed")
	}
	return s, w.CertificatePEM, nil
}

// A Purpose is what a statement has to be about to count.
type Purpose struct {
	Authority string
	CAs       []*x509.Certificate // of the authority
	Request   pki.Digest
	Now       time.Time
}

// Check refuses a statement that is about something else. Errors are ErrRefused.
func (p Purpose) Check(s Statement) error {
	switch age := p.Now.Sub(s.Made); {
	case s.Request != p.Request:
		return refused("it is for another request, with the digest %s", s.Request)
	case s.Authority != p.Authority:
		return refused("it is for the authority %.40q, and not for %s", s.Authority, p.Authority)
	case !slices.ContainsFunc(p.CAs, func(ca *x509.Certificate) bool { return Fingerprint(ca) == s.CA }):
		return refused("it is for the authority of another daemon, or for one that has ended: its CA certificate has the fingerprint %s", s.CA)
	case age > MaxAge:
		return refused("it was made %s ago, or the clocks of the asker and of the daemon differ: it counts for %s", pki.FormatDuration(age.Truncate(time.Second)), pki.FormatDuration(MaxAge))
	case age < -MaxAge:
		return refused("it was made %s ahead of the daemon's clock", pki.FormatDuration(-age.Truncate(time.Second)))
	}
	return nil
}

// Fingerprint is the SHA-256 of a CA certificate in DER.
func Fingerprint(crt *x509.Certificate) pki.Digest { return sha256.Sum256(crt.Raw) }

// Candidates are the names that a request asks for which may be those of a host, in the form of [hostName].
func Candidates(csr *x509.CertificateRequest) (names []string) {
	add := func(name string) {
		if name, ok := hostName(name); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(csr.Subject.CommonName)
	for _, name := range csr.DNSNames {
		add(name)
	}
	for _, ip := range csr.IPAddresses {
		add(ip.String())
	}
	return names
}

// hostName returns a name in the form in which names of hosts are compared, and whether it is one: an address in the one
// form it has, or a DNS name without a wildcard in lower case and without the dot of the root.
func hostName(name string) (string, bool) {
	if addr, ok := address(name); ok {
		return addr, true
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name, pki.CheckHost(name) == nil && !strings.HasPrefix(name, "[")
}
