package profile

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"net"
	"slices"
	"time"

	"cauase/pkg/pki"
)

// A CA is what goes into a CA certificate, self-signed or issued by another CA.
type CA struct {
	Subject    []byte // DER of the subject name
	PublicKey  crypto.PublicKey
	Serial     *big.Int
	NotBefore  time.Time
	NotAfter   time.Time
	Constraint Constraint
	// Predecessor, when set, gives all extensions but the key identifiers to one that is self-signed.
	Predecessor *x509.Certificate

	// Root says that it certifies CAs, of which each may certify no further ones. Others certify no CAs at all.
	Root bool

	// Issuer is the CA certificate of the parent; nil for a self-signed one.
	Issuer    *x509.Certificate
	Permitted Permitted // names that certificates below may be for, beside Constraint
	CRLURL    string    // where the revocation list of Issuer is found; empty: nowhere
	IssuerURL string    // where the certificate of Issuer is found, DER (RFC 5280 4.2.2.1); empty: nowhere
}

// A Constraint limits which host a CA may name (RFC 5280 4.2.1.10). The zero Constraint limits nothing.
type Constraint struct {
	Host string // a DNS name or an IP address literal without brackets
}

// Template returns what x509.CreateCertificate needs to make the CA certificate.
func (c CA) Template() (*x509.Certificate, error) {
	keyID, err := pki.KeyID(c.PublicKey)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		RawSubject:   c.Subject,
		SerialNumber: c.Serial,
		NotBefore:    c.NotBefore,
		NotAfter:     c.NotAfter,
		SubjectKeyId: keyID,
		// x509.CreateCertificate takes it from the template only when a certificate is self-signed.
		AuthorityKeyId: keyID,
	}
	if p := c.Predecessor; p != nil && c.Issuer == nil && selfIssued(p) {
		for _, e := range p.Extensions {
			if !e.Id.Equal(oidSubjectKeyID) && !e.Id.Equal(oidAuthorityKeyID) {
				t.ExtraExtensions = append(t.ExtraExtensions, e)
			}
		}
		// The copied extension is what is written; these must agree with it.
		t.BasicConstraintsValid, t.IsCA, t.KeyUsage = p.BasicConstraintsValid, p.IsCA, p.KeyUsage
		t.MaxPathLen, t.MaxPathLenZero = p.MaxPathLen, p.MaxPathLenZero
		return t, nil
	}
	t.BasicConstraintsValid, t.IsCA = true, true
	t.MaxPathLen, t.MaxPathLenZero = 0, true
	if c.Root {
		t.MaxPathLen, t.MaxPathLenZero = 1, false
	}
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	c.Permitted.apply(t)
	c.Constraint.apply(t)
	if c.Issuer == nil {
		return t, nil
	}
	t.AuthorityKeyId = c.Issuer.SubjectKeyId
	if c.CRLURL != "" {
		t.CRLDistributionPoints = []string{c.CRLURL}
	}
	if c.IssuerURL != "" {
		t.IssuingCertificateURL = []string{c.IssuerURL}
	}
	return t, nil
}

var (
	oidSubjectKeyID   = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidAuthorityKeyID = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// Anchor returns what x509.CreateCertificate needs to make a self-signed certificate for the name, key,
// times and limits of crt, a CA certificate that another CA has signed.
func Anchor(crt *x509.Certificate, serial *big.Int) *x509.Certificate {
	t := &x509.Certificate{
		RawSubject: crt.RawSubject, SerialNumber: serial, NotBefore: crt.NotBefore, NotAfter: crt.NotAfter,
		SubjectKeyId: crt.SubjectKeyId, AuthorityKeyId: crt.SubjectKeyId,
		// The copied extensions are what is written; these must agree with them.
		BasicConstraintsValid: crt.BasicConstraintsValid, IsCA: crt.IsCA, KeyUsage: crt.KeyUsage,
		MaxPathLen: crt.MaxPathLen, MaxPathLenZero: crt.MaxPathLenZero,
	}
	for _, e := range crt.Extensions {
		if !pki.OfIssuer(e.Id) {
			t.ExtraExtensions = append(t.ExtraExtensions, e)
		}
	}
	return t
}

// apply permits the one host. An address excludes every DNS name, which an IP constraint
// alone would leave open.
func (c Constraint) apply(t *x509.Certificate) {
	if c.Host == "" {
		return
	}
	t.PermittedDNSDomainsCritical = true
	ip := net.ParseIP(c.Host)
	if ip == nil {
		t.PermittedDNSDomains = []string{c.Host}
		return
	}
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	t.PermittedIPRanges = []*net.IPNet{{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))}}
	t.ExcludedDNSDomains = []string{""}
}

// Permits tells whether ca is limited to exactly this constraint's host, or to none if it has
// none.
func (c Constraint) Permits(ca *x509.Certificate) bool {
	want := &x509.Certificate{}
	c.apply(want)
	return slices.Equal(ca.PermittedDNSDomains, want.PermittedDNSDomains) &&
		slices.EqualFunc(ca.PermittedIPRanges, want.PermittedIPRanges, func(a, b *net.IPNet) bool { return a.String() == b.String() })
}

// selfIssued reports whether a CA certificate names itself as its issuer (RFC 5280 3.2).
func selfIssued(crt *x509.Certificate) bool {
	return string(crt.RawSubject) == string(crt.RawIssuer)
}
