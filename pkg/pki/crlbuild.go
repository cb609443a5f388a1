package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidCRLNumber      = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidCRLReason      = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidAuthorityKeyID = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// A CRLTemplate is what a certificate revocation list says (RFC 5280 5.1).
//
// x509.CreateRevocationList encodes every entry anew, which takes over a second for a million
// of them. Here the caller keeps the encoded entries and appends to them, so that a list costs
// one hash and one signature, however few entries are new, and all lists with these entries share them.
type CRLTemplate struct {
	Issuer     *x509.Certificate
	Number     int64
	ThisUpdate time.Time // whole seconds are kept
	NextUpdate time.Time
	Entries    Octets // those of RevokedEntries; may be empty
}

// maxSerial is the length of the longest serial number, in octets (RFC 5280 4.1.2.2).
const maxSerial = 20

// maxRevoked is the length of the longest revokedCertificates entry: a length that one octet says.
const maxRevoked = 2 + 2 + 1 + maxSerial + 2 + len(generalizedTime) + 14

// How the two forms of Time are written.
const (
	utcTime         = "060102150405Z"
	generalizedTime = "20060102150405Z"
)

// AppendRevoked appends the DER of one revokedCertificates entry to dst. The serial number is big-endian. A
// reason of zero, unspecified, is left out (RFC 5280 5.3.1).
//
// It is written octet by octet, as there may be a million of them to be encoded before a list can be served.
func AppendRevoked(dst, serial []byte, at time.Time, reason int) ([]byte, error) {
	serial = bytes.TrimLeft(serial, "\x00")
	at = at.UTC()
	year, month, day := at.Date() // once, as it is half of the work
	switch {
	case len(serial) > maxSerial:
		return nil, fmt.Errorf("CRL entry: a serial number of %d octets, more than %d", len(serial), maxSerial)
	case year < 0 || year > 9999:
		return nil, fmt.Errorf("CRL entry: the year %d cannot be written", year)
	case reason < 0 || reason > 127:
		return nil, fmt.Errorf("CRL entry: there is no reason %d", reason)
	}
	begin := len(dst)
	dst = append(dst, byte(cbasn1.SEQUENCE), 0) // its length follows
	if len(serial) == 0 || serial[0] >= 0x80 {  // zero, or one that would be negative
		dst = append(dst, byte(cbasn1.INTEGER), byte(1+len(serial)), 0)
	} else {
		dst = append(dst, byte(cbasn1.INTEGER), byte(len(serial)))
	}
	dst = append(dst, serial...)
	if inUTCTime(year) {
		dst = append(dst, byte(cbasn1.UTCTime), byte(len(utcTime)))
	} else {
		dst = append(dst, byte(cbasn1.GeneralizedTime), byte(len(generalizedTime)))
		dst = appendTwoDigits(dst, year/100)
	}
	hour, minute, second := at.Clock()
	for _, n := range [...]int{year % 100, int(month), day, hour, minute, second} {
		dst = appendTwoDigits(dst, n)
	}
	dst = append(dst, 'Z')
	if reason != 0 {
		dst = append(dst, 0x30, 12, 0x30, 10, 6, 3, 0x55, 0x1d, 0x15, 4, 3, 10, 1, byte(reason)) // crlEntryExtensions with a reasonCode
	}
	dst[begin+1] = byte(len(dst) - begin - 2)
	return dst, nil
}

func appendTwoDigits(dst []byte, n int) []byte { return append(dst, '0'+byte(n/10), '0'+byte(n%10)) }

// SignCRL makes the DER of the list, signed by key, which must be that of t.Issuer. It returns
// the signature as well: with it, AssembleCRL makes the same bytes again.
func SignCRL(t CRLTemplate, key crypto.Signer) (der Octets, signature []byte, err error) {
	if !SameKey(key.Public(), t.Issuer.PublicKey) {
		return nil, nil, errors.New("CRL: the key is not that of the issuer")
	}
	b, err := t.build()
	if err != nil {
		return nil, nil, err
	}
	if signature, err = key.Sign(rand.Reader, digest(b.hash, b.tbs), b.hash); err != nil {
		return nil, nil, fmt.Errorf("CRL: %w", err)
	}
	return b.signed(signature), signature, nil
}

// AssembleCRL makes the DER of the list from a signature that SignCRL has returned. It fails
// when the signature is not that of t.Issuer over exactly this list.
func AssembleCRL(t CRLTemplate, signature []byte) (Octets, error) {
	b, err := t.build()
	if err != nil {
		return nil, err
	}
	if !verifies(t.Issuer.PublicKey, b.hash, digest(b.hash, b.tbs), signature) {
		return nil, errors.New("CRL: the signature is that of another list")
	}
	return b.signed(signature), nil
}

// A builtCRL is a list that is being put together: what is signed of it, in parts of which the first
// and the last are its own.
type builtCRL struct {
	tbs  Octets
	alg  []byte // DER of the AlgorithmIdentifier
	hash crypto.Hash
}

func (t CRLTemplate) build() (b builtCRL, err error) {
	algorithm, err := SignatureAlgorithm(t.Issuer.PublicKey)
	if err != nil {
		return b, err
	}
	if b.alg, b.hash, err = algorithmIdentifier(algorithm); err != nil {
		return b, err
	}
	head, err := t.head(b.alg)
	if err != nil {
		return b, err
	}
	tail, err := t.tail()
	if err != nil {
		return b, err
	}
	if entries := int(t.Entries.Size()); entries > 0 {
		head = appendHeader(head, byte(cbasn1.SEQUENCE), entries)
	}
	length := len(head) + int(t.Entries.Size()) + len(tail)
	head = append(appendHeader(nil, byte(cbasn1.SEQUENCE), length), head...)
	b.tbs = slices.Concat(Octets{head}, t.Entries, Octets{tail})
	return b, nil
}

// signed completes the list.
func (b builtCRL) signed(signature []byte) Octets {
	tail := slices.Concat(b.tbs[len(b.tbs)-1], b.alg)
	tail = appendHeader(tail, byte(cbasn1.BIT_STRING), 1+len(signature))
	tail = append(tail, 0) // no unused bits
	tail = append(tail, signature...)
	list := slices.Clone(b.tbs)
	list[len(list)-1] = tail
	list[0] = append(appendHeader(nil, byte(cbasn1.SEQUENCE), int(list.Size())), list[0]...)
	return list
}

// digest returns the hash of a message, or the message, in one piece, if there is none: Ed25519 signs that.
func digest(hash crypto.Hash, message Octets) []byte {
	if hash == 0 {
		return message.Join()
	}
	h := hash.New()
	for _, part := range message {
		h.Write(part)
	}
	return h.Sum(nil)
}

// verifies reports whether a key has made a signature over what digest has returned.
func verifies(key crypto.PublicKey, hash crypto.Hash, digest, signature []byte) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(key, digest, signature)
	}
	return false
}

// head is what of the TBSCertList stands before the entries.
func (t CRLTemplate) head(alg []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1Int64(1) // v2
	b.AddBytes(alg)
	b.AddBytes(t.Issuer.RawSubject)
	addTime(&b, t.ThisUpdate)
	addTime(&b, t.NextUpdate)
	return b.Bytes()
}

// tail is what of the TBSCertList stands after the entries.
func (t CRLTemplate) tail() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addExtension(b, oidAuthorityKeyID, func(b *cryptobyte.Builder) {
				addAuthorityKeyID(b, t.Issuer.SubjectKeyId)
			})
			addExtension(b, oidCRLNumber, func(b *cryptobyte.Builder) { b.AddASN1Int64(t.Number) })
		})
	})
	return b.Bytes()
}

func addExtension(b *cryptobyte.Builder, id asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) {
	addExtensionOf(b, id, false, value)
}

func addExtensionOf(b *cryptobyte.Builder, id asn1.ObjectIdentifier, critical bool, value func(*cryptobyte.Builder)) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		if critical { // FALSE is the default, which DER leaves out
			b.AddASN1Boolean(true)
		}
		b.AddASN1(cbasn1.OCTET_STRING, value)
	})
}

// addTime writes a Time: UTCTime through 2049, GeneralizedTime from then on (RFC 5280 5.1.2.4).
func addTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC().Truncate(time.Second)
	if isUTCTime(t) {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

func isUTCTime(t time.Time) bool { return inUTCTime(t.Year()) }

// inUTCTime reports whether a year is one that UTCTime can say.
func inUTCTime(year int) bool { return year >= 1950 && year < 2050 }

// algorithmIdentifier returns the DER of the AlgorithmIdentifier of alg, and the hash that
// goes with it: 0 for Ed25519, which takes the message itself.
func algorithmIdentifier(alg x509.SignatureAlgorithm) (der []byte, hash crypto.Hash, err error) {
	var id asn1.ObjectIdentifier
	withNull := false // RFC 4055 5: RSA has NULL parameters, the others none
	switch alg {
	case x509.SHA256WithRSA:
		id, hash, withNull = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, crypto.SHA256, true
	case x509.ECDSAWithSHA256:
		id, hash = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, crypto.SHA256
	case x509.ECDSAWithSHA384:
		id, hash = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, crypto.SHA384
	case x509.ECDSAWithSHA512:
		id, hash = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, crypto.SHA512
	case x509.PureEd25519:
		id = asn1.ObjectIdentifier{1, 3, 101, 112}
	default:
		return nil, 0, fmt.Errorf("no signature algorithm identifier for %v", alg)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		if withNull {
			b.AddASN1NULL()
		}
	})
	der, err = b.Bytes()
	return der, hash, err
}

func appendHeader(dst []byte, tag byte, length int) []byte {
	switch {
	case length < 0x80:
		return append(dst, tag, byte(length))
	case length < 1<<8:
		return append(dst, tag, 0x81, byte(length))
	case length < 1<<16:
		return append(dst, tag, 0x82, byte(length>>8), byte(length))
	case length < 1<<24:
		return append(dst, tag, 0x83, byte(length>>16), byte(length>>8), byte(length))
	default:
		return append(dst, tag, 0x84, byte(length>>24), byte(length>>16), byte(length>>8), byte(length))
	}
}
