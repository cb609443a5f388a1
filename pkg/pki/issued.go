package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseIssuedPEM is [ParseIssuedDER] for exactly one PEM block.
func ParseIssuedPEM(data []byte) (*x509.Certificate, error) {
	der, err := onlyBlock(data, MaxCertificateSize, typeCertificate)
	if err != nil {
		return nil, refuse("certificate", err)
	}
	return ParseIssuedDER(der)
}

// ParseIssuedChainPEM is ParseIssuedDER for the first of several PEM blocks. Those behind it are its chain, CA
// certificates.
func ParseIssuedChainPEM(data []byte) (*x509.Certificate, []*x509.Certificate, error) {
	ders, err := onlyBlocks(data, MaxBundleSize, typeCertificate)
	if err != nil {
		return nil, nil, refuse("certificates", err)
	}
	crt, err := ParseIssuedDER(ders[0])
	if err != nil {
		return nil, nil, err
	}
	var chain []*x509.Certificate
	for _, der := range ders[1:] {
		ca, err := ParseCertificateDER(der)
		if err != nil {
			return nil, nil, err
		}
		chain = append(chain, ca)
	}
	return crt, chain, nil
}

// ParseIssuedDER reads the certificate of a user or service that exists, whoever has issued it. Where
// [ParseCertificateDER] refuses one for what others have put into it (networks or malformed URIs among its
// alternative names, strings with characters that their type lacks, a negative serial number, an extension that is there
// twice, a key of an unusual kind), what it says is read here: it has to be shown, renewed and revoked. crypto/tls
// and other users of crypto/x509 go on refusing it.
//
// What decides what a certificate may do is read as strictly as ever, and one of a CA is never read leniently: what is
// returned for such input is not a CA's. The fields for names are empty then; RawSubject and Extensions have
// them, see [SubjectString] and [SANStrings]. PublicKey is nil if it is of an unknown kind.
func ParseIssuedDER(der []byte) (*x509.Certificate, error) {
	strict, err := ParseCertificateDER(der)
	if err == nil {
		return strict, nil
	}
	if len(der) > MaxCertificateSize || checkDER(der) != nil {
		return nil, err
	}
	p, e := splitCertificate(der)
	if e != nil {
		return nil, err
	}
	for _, leave := range []func(*certificateParts){withoutNames, withoutOthers, withoutKey, withoutPurposes} {
		leave(&p)
		if crt := p.read(der); crt != nil {
			return crt, nil
		}
	}
	return nil, err
}

// A certificateParts is a certificate in pieces, some of which crypto/x509 is not shown.
type certificateParts struct {
	tbs        cryptobyte.String // element
	serial     *big.Int
	algorithm  cryptobyte.String // element
	issuer     cryptobyte.String // element
	validity   cryptobyte.String // element
	subject    cryptobyte.String // element
	spki       cryptobyte.String // element
	extensions []pkix.Extension
	signature  cryptobyte.String // algorithm and signature, elements

	shown     []pkix.Extension // to crypto/x509
	shownSPKI []byte
	keyless   bool // shownSPKI is that of another key
}

var errCertificate = errors.New("not a certificate (RFC 5280 4.1)")

func splitCertificate(der []byte) (p certificateParts, err error) {
	input := cryptobyte.String(der)
	var crt, tbs cryptobyte.String
	p.serial = new(big.Int)
	if !input.ReadASN1(&crt, cbasn1.SEQUENCE) || !crt.ReadASN1Element(&p.tbs, cbasn1.SEQUENCE) {
		return p, errCertificate
	}
	p.signature = crt
	element := p.tbs
	if !element.ReadASN1(&tbs, cbasn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(cbasn1.Tag(0).ContextSpecific().Constructed()) ||
		!tbs.ReadASN1Integer(p.serial) ||
		!tbs.ReadASN1Element(&p.algorithm, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&p.issuer, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&p.validity, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&p.subject, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&p.spki, cbasn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(cbasn1.Tag(1).ContextSpecific()) || // unique identifiers
		!tbs.SkipOptionalASN1(cbasn1.Tag(2).ContextSpecific()) {
		return p, errCertificate
	}
	p.shownSPKI = p.spki
	var list, extensions cryptobyte.String
	var present bool
	if !tbs.ReadOptionalASN1(&list, &present, cbasn1.Tag(3).ContextSpecific().Constructed()) || !tbs.Empty() {
		return p, errCertificate
	}
	if !present {
		return p, nil
	}
	if !list.ReadASN1(&extensions, cbasn1.SEQUENCE) || !list.Empty() {
		return p, errCertificate
	}
	for !extensions.Empty() {
		ext, err := looseExtension(&extensions)
		if err != nil {
			return p, err
		}
		p.extensions = append(p.extensions, ext)
	}
	p.shown = p.extensions
	return p, nil
}

// looseExtension reads an extension, also one whose BOOLEAN is true in BER only.
func looseExtension(list *cryptobyte.String) (ext pkix.Extension, err error) {
	var fields, critical, value cryptobyte.String
	var present bool
	if !list.ReadASN1(&fields, cbasn1.SEQUENCE) || !fields.ReadASN1ObjectIdentifier(&ext.Id) ||
		!fields.ReadOptionalASN1(&critical, &present, cbasn1.BOOLEAN) ||
		!fields.ReadASN1(&value, cbasn1.OCTET_STRING) || !fields.Empty() {
		return ext, errCertificate
	}
	ext.Critical = present && !bytes.Equal(critical, []byte{0})
	ext.Value = value
	return ext, nil
}

// Extensions that decide what a certificate may do, and whose it is.
var (
	idSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	idKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	idBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	idExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	idPolicies         = asn1.ObjectIdentifier{2, 5, 29, 32}
)

// withoutNames shows none of the extensions that have names in them, and each of the others once.
func withoutNames(p *certificateParts) {
	p.keep(idSubjectKeyID, idKeyUsage, idBasicConstraints, oidAuthorityKeyID, idExtKeyUsage, idPolicies)
}

// withoutOthers shows what a certificate may do, and no more.
func withoutOthers(p *certificateParts) {
	p.keep(idSubjectKeyID, idKeyUsage, idBasicConstraints, oidAuthorityKeyID, idExtKeyUsage)
}

func (p *certificateParts) keep(ids ...asn1.ObjectIdentifier) {
	p.shown = nil
	for _, id := range ids {
		for _, ext := range p.extensions {
			if !ext.Id.Equal(id) {
				continue
			}
			p.shown = append(p.shown, ext)
			if !id.Equal(idBasicConstraints) { // of two that differ, one may be of a CA
				break
			}
		}
	}
}

// withoutKey shows another key, of order 8 and therefore nobody's, where the certificate's is of an unknown kind.
func withoutKey(p *certificateParts) {
	const ed25519 = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"
	p.shownSPKI, p.keyless = append([]byte(ed25519), make([]byte, 32)...), true
}

// withoutPurposes leaves away those, too: what remains is good for none that is known.
func withoutPurposes(p *certificateParts) {
	p.keep(idSubjectKeyID, idKeyUsage, idBasicConstraints, oidAuthorityKeyID)
	p.shownSPKI, p.keyless = p.spki, false
}

// read has crypto/x509 read what it is shown, and puts the rest back.
func (p *certificateParts) read(der []byte) *x509.Certificate {
	var b cryptobyte.Builder
	emptyName := []byte{0x30, 0}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) })
			b.AddASN1Int64(1)
			b.AddBytes(p.algorithm)
			b.AddBytes(emptyName)
			b.AddBytes(p.validity)
			b.AddBytes(emptyName)
			b.AddBytes(p.shownSPKI)
			if len(p.shown) > 0 {
				b.AddASN1(cbasn1.Tag(3).ContextSpecific().Constructed(), p.addExtensions)
			}
		})
		b.AddBytes(p.signature)
	})
	shown, err := b.Bytes()
	if err != nil {
		return nil
	}
	crt, err := x509.ParseCertificate(shown)
	if err != nil || crt.IsCA {
		return nil
	}
	crt.Raw, crt.RawTBSCertificate = bytes.Clone(der), bytes.Clone(p.tbs)
	crt.RawIssuer, crt.RawSubject = bytes.Clone(p.issuer), bytes.Clone(p.subject)
	crt.RawSubjectPublicKeyInfo = bytes.Clone(p.spki)
	crt.SerialNumber, crt.Extensions = p.serial, p.extensions
	if has(p.extensions, idExtKeyUsage) && !has(p.shown, idExtKeyUsage) {
		crt.UnknownExtKeyUsage = []asn1.ObjectIdentifier{idExtKeyUsage} // with none, every purpose would be fine
	}
	if p.keyless {
		crt.PublicKey, crt.PublicKeyAlgorithm = nil, x509.UnknownPublicKeyAlgorithm
	}
	return crt
}

func has(extensions []pkix.Extension, id asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(extensions, func(e pkix.Extension) bool { return e.Id.Equal(id) })
}

func (p *certificateParts) addExtensions(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, ext := range p.shown {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(ext.Id)
				if ext.Critical {
					b.AddASN1Boolean(true)
				}
				b.AddASN1OctetString(ext.Value)
			})
		}
	})
}
