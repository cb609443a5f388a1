// Package profile says what a certificate looks like: it checks what was asked for against the rules
// of a profile, and makes the template that is signed. See docs/protocol.md, "What gets issued".
//
// Whatever the profile, the configured ones included: no certificate that comes out of it can sign
// others or revocation lists, and none but that of the built-in profile for them can sign OCSP
// responses. Templates of CA certificates are made by [CA] alone.
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

// Extension and extended key usage identifiers (RFC 5280 4.2.1, 4.2.1.12, RFC 6960 4.2.2.2.1).
var (
	oidKeyUsage            = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName      = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidCertificatePolicies = asn1.ObjectIdentifier{2, 5, 29, 32}
	oidExtKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidOCSPSigning         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 9}
	oidOCSPNoCheck         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
)

// ErrNothingNamed means that the certificate would name nobody: neither subject nor subject
// alternative name.
var ErrNothingNamed = errors.New("neither a subject nor a subject alternative name")

// A Draft is a certificate before its profile has been applied.
type Draft struct {
	Subject    []byte           // DER of the subject name
	Extensions []pkix.Extension // as requested; of a renewal, those of the certificate that is renewed
	PublicKey  crypto.PublicKey
	Serial     *big.Int
	NotBefore  time.Time
	NotAfter   time.Time
	IssuerKey  []byte // the signing CA's subject key identifier
	CRLURL     string // where the revocation list of its CA is found; empty: nowhere
	IssuerURL  string // where the certificate of its CA is found; empty: nowhere
	AutoSigned bool   // no human looked at the request
	Renewal    bool   // Subject and Extensions are of a certificate that was made with the same profile
}

// A Profile is a kind of certificate: what it is good for, whom and how many it may name, with which
// keys and for how long. Profiles are made by [Compile] or built in, and do not change: one may be used
// by many at once.
type Profile struct {
	name string

	// copies has the certificate be what the request asks for, within limits, and not what the
	// fields below say.
	copies bool

	subject  subjectRules
	names    nameRules
	keys     keyRules
	usage    x509.KeyUsage
	purposes []asn1.ObjectIdentifier
	policies []asn1.ObjectIdentifier
	extra    []pkix.Extension
	critical criticals

	validity time.Duration // when nobody asks for one; zero: the authority's span
	longest  time.Duration // zero: the span, or validity if that is longer

	ocspURL string
	ocsp    bool // for OCSP responders: the only profile that may, and never without a user
	noCRL   bool // no CRL pointer, whatever the draft says
}

// criticals are the extensions that are marked critical (RFC 5280 4.2). Subject alternative names are in
// any case when there is no subject.
type criticals struct{ usage, purposes, names bool }

// Name returns the name by which requests ask for p.
func (p *Profile) Name() string { return p.name }

// Unattended reports whether a request for p may be signed before a user has approved it. Where it may
// not, Template refuses drafts that are.
func (p *Profile) Unattended() bool { return !p.ocsp }

// GrantsMore reports whether certificates of p can have what [AsRequested] gives to no request of an authority
// with this span: the right to answer for the CA, extensions that no request can ask for, a longer validity.
func (p *Profile) GrantsMore(span time.Duration) bool {
	return p.ocsp || len(p.extra) > 0 || p.limit(span) > span
}

// Validity returns how long a certificate is to be valid for which asked was asked, by an authority that
// gives span when nothing else is said. Without an asked validity (zero) it is the profile's default, or
// else the span, if that is not too long. One that is longer than the profile's longest, or than the span where it has none, is
// refused.
func (p *Profile) Validity(asked, span time.Duration) (time.Duration, error) {
	switch longest := p.limit(span); {
	case asked < 0:
		return 0, fmt.Errorf("profile %s: a validity of %s is none", p.name, pki.FormatDuration(asked))
	case asked > longest:
		return 0, fmt.Errorf("profile %s: a validity of %s is too long: at most %s is allowed",
			p.name, pki.FormatDuration(asked), pki.FormatDuration(longest))
	case asked > 0:
		return asked, nil
	case p.validity > 0:
		return p.validity, nil
	default:
		return min(span, longest), nil
	}
}

// RenewalValidity is Validity for a renewal of what was asked for with asked. It is never refused: when
// the longest there is has become shorter since, the successor is valid for that.
func (p *Profile) RenewalValidity(asked, span time.Duration) time.Duration {
	if d, err := p.Validity(asked, span); err == nil {
		return d
	}
	return p.limit(span)
}

// limit is the longest validity that may be asked for.
func (p *Profile) limit(span time.Duration) time.Duration {
	if p.longest > 0 {
		return p.longest
	}
	return max(span, p.validity)
}

// Template checks d against p and returns what x509.CreateCertificate needs. Errors name the profile,
// what was asked for and what is allowed.
//
// A renewal keeps what the certificate has: the profile's rules may have changed since it was made, and
// nobody is there to ask for something else.
func (p *Profile) Template(d Draft) (*x509.Certificate, error) {
	t, err := p.template(d)
	if err != nil && !p.copies {
		return nil, fmt.Errorf("profile %s: %w", p.name, err)
	}
	return t, err
}

func (p *Profile) template(d Draft) (*x509.Certificate, error) {
	if d.AutoSigned && !p.Unattended() {
		return nil, errors.New("never signed without the approval of a user")
	}
	keyID, err := pki.KeyID(d.PublicKey)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		RawSubject:            d.Subject,
		SerialNumber:          d.Serial,
		NotBefore:             d.NotBefore,
		NotAfter:              d.NotAfter,
		BasicConstraintsValid: true, // written even though CA is false, critical
		SubjectKeyId:          keyID,
		AuthorityKeyId:        d.IssuerKey,
	}
	if d.CRLURL != "" && !p.noCRL {
		t.CRLDistributionPoints = []string{d.CRLURL}
	}
	if d.IssuerURL != "" {
		t.IssuingCertificateURL = []string{d.IssuerURL}
	}
	if p.ocspURL != "" {
		t.OCSPServer = []string{p.ocspURL}
	}
	if p.copies || d.Renewal {
		f := filter{named: !emptyName(d.Subject), auto: d.AutoSigned, renewal: d.Renewal,
			extra: d.Renewal && !p.copies, ocsp: d.Renewal && p.ocsp}
		t.ExtraExtensions, err = f.extensions(d.Extensions)
	} else {
		err = p.apply(t, d)
	}
	if err != nil {
		return nil, err
	}
	// There are certificates by others that name nobody, and whose holders are known by their keys.
	if !d.Renewal && emptyName(t.RawSubject) && !has(t.ExtraExtensions, oidSubjectAltName) {
		return nil, ErrNothingNamed
	}
	return t, nil
}

// apply has t be what the profile says. Usages, policies and other extensions are the profile's, whatever
// the request asks for: who chose the profile chose them. Names and key are the request's, if they are allowed.
func (p *Profile) apply(t *x509.Certificate, d Draft) (err error) {
	if err := p.keys.check(d.PublicKey); err != nil {
		return err
	}
	if t.RawSubject, err = p.subject.apply(d.Subject); err != nil {
		return err
	}
	names, err := p.names.check(d.Extensions)
	if err != nil {
		return err
	}
	if names != nil {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{
			Id: oidSubjectAltName, Critical: p.critical.names || emptyName(t.RawSubject), Value: names,
		})
	}
	usage := p.usage & usagesOf(d.PublicKey)
	if usage == 0 {
		return fmt.Errorf("nothing the key may be used for is possible with %s", pki.DescribeKey(d.PublicKey))
	}
	value, err := marshalKeyUsage(usage)
	if err != nil {
		return err
	}
	t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidKeyUsage, Critical: p.critical.usage, Value: value})
	if value, err = asn1.Marshal(p.purposes); err != nil {
		return err
	}
	t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidExtKeyUsage, Critical: p.critical.purposes, Value: value})
	if len(p.policies) > 0 || d.AutoSigned {
		if value, err = marshalPolicies(p.policies, d.AutoSigned); err != nil {
			return err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidCertificatePolicies, Value: value})
	}
	t.ExtraExtensions = append(t.ExtraExtensions, p.extra...)
	return nil
}
