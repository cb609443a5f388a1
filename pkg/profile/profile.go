// Package profile says what a certificate looks like: it turns what was asked for into the
// template that is signed. See docs/protocol.md, "What gets issued".
//
// Requested extensions are copied as the DER they came in, each after its own filter, so that
// what this package does not need to change reaches the certificate byte for byte.
package profile

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"cauase/pkg/pki"
)

// Extension and extended key usage identifiers (RFC 5280 4.2.1, 4.2.1.12).
var (
	oidKeyUsage            = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName      = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidCertificatePolicies = asn1.ObjectIdentifier{2, 5, 29, 32}
	oidExtKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidOCSPSigning         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 9}
)

// ErrNothingNamed means that the certificate would name nobody: neither subject nor subject
// alternative name.
var ErrNothingNamed = errors.New("neither a subject nor a subject alternative name")

// A Leaf is what goes into an issued certificate.
type Leaf struct {
	Subject    []byte           // DER of the subject name
	Extensions []pkix.Extension // as requested
	PublicKey  crypto.PublicKey
	Serial     *big.Int
	NotBefore  time.Time
	NotAfter   time.Time
	IssuerKey  []byte // the signing CA's subject key identifier
	CRLURL     string // where the revocation list of its CA is found; empty: nowhere
	AutoSigned bool   // no human looked at the request
	Renewal    bool   // Extensions are those of the certificate being renewed, which we made
}

// Template returns what x509.CreateCertificate needs.
func (l Leaf) Template() (*x509.Certificate, error) {
	keyID, err := pki.KeyID(l.PublicKey)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		RawSubject:            l.Subject,
		SerialNumber:          l.Serial,
		NotBefore:             l.NotBefore,
		NotAfter:              l.NotAfter,
		BasicConstraintsValid: true, // written even though CA is false, critical
		SubjectKeyId:          keyID,
		AuthorityKeyId:        l.IssuerKey,
	}
	if l.CRLURL != "" {
		t.CRLDistributionPoints = []string{l.CRLURL}
	}
	named := !emptyName(l.Subject)
	policies := false
	for _, e := range l.Extensions {
		out, err := l.copyExtension(e, named)
		if err != nil {
			return nil, err
		}
		if out == nil {
			continue
		}
		policies = policies || e.Id.Equal(oidCertificatePolicies)
		t.ExtraExtensions = append(t.ExtraExtensions, *out)
	}
	if l.AutoSigned && !policies {
		value, err := filterPolicies(nil, policyRules{add: true})
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidCertificatePolicies, Value: value})
	}
	if !named && !has(t.ExtraExtensions, oidSubjectAltName) {
		return nil, ErrNothingNamed
	}
	return t, nil
}

// copyExtension returns what becomes of a requested extension, nil when it is dropped.
func (l Leaf) copyExtension(e pkix.Extension, named bool) (*pkix.Extension, error) {
	out := pkix.Extension{Id: e.Id, Critical: e.Critical}
	var err error
	switch {
	case e.Id.Equal(oidKeyUsage):
		out.Value, err = filterKeyUsage(e.Value)
	case e.Id.Equal(oidExtKeyUsage):
		out.Value, err = filterExtKeyUsage(e.Value)
	case e.Id.Equal(oidSubjectAltName):
		out.Value = e.Value
		// RFC 5280 4.2.1.6: critical when the subject is empty.
		out.Critical = e.Critical || !named
	case e.Id.Equal(oidCertificatePolicies):
		out.Value, err = filterPolicies(e.Value, policyRules{keepOwn: l.Renewal, add: l.AutoSigned})
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("extension %v: %w", e.Id, err)
	}
	if out.Value == nil {
		return nil, nil
	}
	return &out, nil
}

// filterKeyUsage clears what only a CA may do (keyCertSign, cRLSign), and encipherOnly and
// decipherOnly where they mean nothing, without keyAgreement (RFC 5280 4.2.1.3). It returns nil
// when no usage is left: the extension must not be empty.
func filterKeyUsage(der []byte) ([]byte, error) {
	var bits asn1.BitString
	if rest, err := asn1.Unmarshal(der, &bits); err != nil {
		return nil, err
	} else if len(rest) > 0 {
		return nil, errors.New("data after the key usage")
	}
	const keyAgreement, encipherOnly, decipherOnly = 4, 7, 8
	kept := make([]byte, 2)
	last := -1
	for i := 0; i <= decipherOnly; i++ {
		if bits.At(i) == 0 || 1<<i == int(x509.KeyUsageCertSign) || 1<<i == int(x509.KeyUsageCRLSign) {
			continue
		}
		if (i == encipherOnly || i == decipherOnly) && bits.At(keyAgreement) == 0 {
			continue
		}
		kept[i/8] |= 0x80 >> (i % 8)
		last = i
	}
	if last < 0 {
		return nil, nil
	}
	return asn1.Marshal(asn1.BitString{Bytes: kept[:last/8+1], BitLength: last + 1})
}

// filterExtKeyUsage removes OCSPSigning: who holds it can say "not revoked" in the CA's name.
func filterExtKeyUsage(der []byte) ([]byte, error) {
	var usages []asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(der, &usages); err != nil {
		return nil, err
	} else if len(rest) > 0 {
		return nil, errors.New("data after the extended key usage")
	}
	kept := usages[:0]
	for _, u := range usages {
		if !u.Equal(oidOCSPSigning) {
			kept = append(kept, u)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return asn1.Marshal(kept)
}

func emptyName(der []byte) bool {
	var seq []asn1.RawValue
	_, err := asn1.Unmarshal(der, &seq)
	return err != nil || len(seq) == 0
}

func has(extensions []pkix.Extension, id asn1.ObjectIdentifier) bool {
	for _, e := range extensions {
		if e.Id.Equal(id) {
			return true
		}
	}
	return false
}
