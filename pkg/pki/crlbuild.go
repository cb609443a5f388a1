package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
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
// one copy, one hash and one signature, however few entries are new.
type CRLTemplate struct {
	Issuer     *x509.Certificate
	Number     int64
	ThisUpdate time.Time // whole seconds are kept
	NextUpdate time.Time
	Entries    []byte // made by AppendRevoked; may be empty
}

// AppendRevoked appends the DER of one revokedCertificates entry to dst. A reason of zero,
// unspecified, is left out (RFC 5280 5.3.1).
func AppendRevoked(dst []byte, serial *big.Int, at time.Time, reason int) ([]byte, error) {
	b := cryptobyte.NewBuilder(dst)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(serial)
		addTime(b, at)
		if reason == 0 {
			return
		}
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addExtension(b, oidCRLReason, func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(reason)) })
		})
	})
	return b.Bytes()
}

// SignCRL makes the DER of the list, signed by key, which must be that of t.Issuer. It returns
// the signature as well: with it, AssembleCRL makes the same bytes again.
func SignCRL(t CRLTemplate, key crypto.Signer) (der, signature []byte, err error) {
	if !SameKey(key.Public(), t.Issuer.PublicKey) {
		return nil, nil, errors.New("CRL: the key is not that of the issuer")
	}
	b, err := t.build()
	if err != nil {
		return nil, nil, err
	}
	if signature, err = signBytes(key, b.hash, b.toBeSigned()); err != nil {
		return nil, nil, fmt.Errorf("CRL: %w", err)
	}
	return b.signed(signature), signature, nil
}

// AssembleCRL makes the DER of the list from a signature that SignCRL has returned. It fails
// when the signature is not that of t.Issuer over exactly this list.
func AssembleCRL(t CRLTemplate, signature []byte) ([]byte, error) {
	b, err := t.build()
	if err != nil {
		return nil, err
	}
	if err := t.Issuer.CheckSignature(b.algorithm, b.toBeSigned(), signature); err != nil {
		return nil, fmt.Errorf("CRL: %w", err)
	}
	return b.signed(signature), nil
}

// A crlBuffer holds a list while it is put together, in one allocation. Room is left in front
// for two headers, whose lengths are known last.
type crlBuffer struct {
	buf       []byte
	start     int    // of the TBSCertList
	alg       []byte // DER of the AlgorithmIdentifier
	algorithm x509.SignatureAlgorithm
	hash      crypto.Hash
}

func (t CRLTemplate) build() (*crlBuffer, error) {
	b := &crlBuffer{}
	var err error
	if b.algorithm, err = SignatureAlgorithm(t.Issuer.PublicKey); err != nil {
		return nil, err
	}
	if b.alg, b.hash, err = algorithmIdentifier(b.algorithm); err != nil {
		return nil, err
	}
	head, err := t.head(b.alg)
	if err != nil {
		return nil, err
	}
	tail, err := t.tail()
	if err != nil {
		return nil, err
	}
	const maxSignature = 1100 // RSA 8192, with its header
	size := 3*maxHeader + len(head) + len(t.Entries) + len(tail) + len(b.alg) + maxSignature
	b.buf = make([]byte, 2*maxHeader, size)
	b.buf = append(b.buf, head...)
	if len(t.Entries) > 0 {
		b.buf = appendHeader(b.buf, byte(cbasn1.SEQUENCE), len(t.Entries))
		b.buf = append(b.buf, t.Entries...)
	}
	b.buf = append(b.buf, tail...)
	b.start = prependHeader(b.buf, 2*maxHeader, byte(cbasn1.SEQUENCE))
	return b, nil
}

func (b *crlBuffer) toBeSigned() []byte { return b.buf[b.start:] }

// signed completes the list. It is the buffer's last use.
func (b *crlBuffer) signed(signature []byte) []byte {
	b.buf = append(b.buf, b.alg...)
	b.buf = appendHeader(b.buf, byte(cbasn1.BIT_STRING), 1+len(signature))
	b.buf = append(b.buf, 0) // no unused bits
	b.buf = append(b.buf, signature...)
	return b.buf[prependHeader(b.buf, b.start, byte(cbasn1.SEQUENCE)):]
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
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) {
						b.AddBytes(t.Issuer.SubjectKeyId)
					})
				})
			})
			addExtension(b, oidCRLNumber, func(b *cryptobyte.Builder) { b.AddASN1Int64(t.Number) })
		})
	})
	return b.Bytes()
}

func addExtension(b *cryptobyte.Builder, id asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		b.AddASN1(cbasn1.OCTET_STRING, value)
	})
}

// addTime writes a Time: UTCTime through 2049, GeneralizedTime from then on (RFC 5280 5.1.2.4).
func addTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC().Truncate(time.Second)
	if t.Year() >= 1950 && t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

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
		return nil, 0, fmt.Errorf("CRL: no signature algorithm identifier for %v", alg)
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

func signBytes(key crypto.Signer, hash crypto.Hash, message []byte) ([]byte, error) {
	if hash == 0 {
		return key.Sign(rand.Reader, message, hash)
	}
	h := hash.New()
	h.Write(message)
	return key.Sign(rand.Reader, h.Sum(nil), hash)
}

// maxHeader is the longest DER header written here: a tag, and a length of up to four bytes.
const maxHeader = 6

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

// prependHeader writes the header of buf[start:] right in front of it and returns where it begins.
func prependHeader(buf []byte, start int, tag byte) int {
	header := appendHeader(make([]byte, 0, maxHeader), tag, len(buf)-start)
	return start - copy(buf[start-len(header):start], header)
}
