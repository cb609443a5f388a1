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
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSubjectKeyID          = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidBasicConstraints      = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidCRLDistributionPoints = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidAuthorityInfoAccess   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	oidAccessOCSP            = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1}
	oidAccessIssuers         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 2}
)

// SignCertificate makes the DER of the certificate of a user or service: of template, for pub, signed by key, which
// must be that of issuer. Names, usages and policies are in template.ExtraExtensions; of the other fields it takes those
// that every certificate has, and refuses the rest.
//
// It writes what x509.CreateCertificate writes for the same arguments, in a third of its time. That one encodes by
// reflection, and verifies each signature with the key that has just made it. Here only those of other implementations of
// crypto.Signer, such as tokens, are verified: with keys in memory ECDSA and Ed25519 cannot give away the key by a
// fault of the arithmetic that a verification would see, and crypto/rsa looks for it by itself.
func SignCertificate(template, issuer *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	if !SameKey(key.Public(), issuer.PublicKey) {
		return nil, errors.New("certificate: the key is not that of the issuer")
	}
	c, err := buildCertificate(template, issuer, pub)
	if err != nil {
		return nil, err
	}
	hashed := digest(c.hash, Octets{c.tbs})
	signature, err := key.Sign(rand.Reader, hashed, c.hash)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if !inMemory(key) && !verifies(issuer.PublicKey, c.hash, hashed, signature) {
		return nil, errors.New("certificate: the signature that was made does not verify")
	}
	return c.signed(signature)
}

// DraftCertificate makes what SignCertificate would, to be looked at before anything is signed: with a signature
// that has the form of those of issuer, and that nobody has made.
func DraftCertificate(template, issuer *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	c, err := buildCertificate(template, issuer, pub)
	if err != nil {
		return nil, err
	}
	signature, err := noSignature(issuer.PublicKey)
	if err != nil {
		return nil, err
	}
	return c.signed(signature)
}

// noSignature has the form of a signature by the key that belongs to pub.
func noSignature(pub crypto.PublicKey) ([]byte, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return make([]byte, pub.Size()), nil
	case ed25519.PublicKey:
		return make([]byte, ed25519.SignatureSize), nil
	case *ecdsa.PublicKey: // Ecdsa-Sig-Value (RFC 3279 2.2.3)
		half := new(big.Int).Rsh(pub.Params().N, 1)
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1BigInt(half)
			b.AddASN1BigInt(half)
		})
		return b.Bytes()
	}
	return nil, fmt.Errorf("certificate: no signatures of a %T", pub)
}

// A builtCertificate is a certificate that is being put together.
type builtCertificate struct {
	tbs  []byte // DER of the TBSCertificate, which is signed
	alg  []byte // DER of the AlgorithmIdentifier
	hash crypto.Hash
}

func buildCertificate(template, issuer *x509.Certificate, pub crypto.PublicKey) (c builtCertificate, err error) {
	if err := onlyLeaf(template); err != nil {
		return c, err
	}
	algorithm, err := SignatureAlgorithm(issuer.PublicKey)
	if err != nil {
		return c, err
	}
	if c.alg, c.hash, err = algorithmIdentifier(algorithm); err != nil {
		return c, err
	}
	if c.tbs, err = tbsCertificate(template, issuer, pub, c.alg); err != nil {
		return c, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

// signed completes the certificate.
func (c builtCertificate) signed(signature []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(c.tbs)
		b.AddBytes(c.alg)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// inMemory reports whether a key is one of the standard library's.
func inMemory(key crypto.Signer) bool {
	switch key.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey:
		return true
	}
	return false
}

// onlyLeaf refuses a template with fields that would be left out.
func onlyLeaf(t *x509.Certificate) error {
	switch {
	case t.SerialNumber == nil || t.SerialNumber.Sign() <= 0:
		return errors.New("certificate: the serial number is not positive (RFC 5280 4.1.2.2)")
	case t.RawSubject == nil:
		return errors.New("certificate: there is no subject")
	case !t.BasicConstraintsValid || t.IsCA || t.MaxPathLen != 0 || t.MaxPathLenZero:
		return errors.New("certificate: it is that of a CA")
	case t.KeyUsage != 0, t.ExtKeyUsage != nil, t.UnknownExtKeyUsage != nil, t.Policies != nil, t.PolicyIdentifiers != nil,
		t.DNSNames != nil, t.EmailAddresses != nil, t.IPAddresses != nil, t.URIs != nil,
		t.PermittedDNSDomains != nil, t.ExcludedDNSDomains != nil, t.PermittedIPRanges != nil, t.ExcludedIPRanges != nil,
		t.PermittedEmailAddresses != nil, t.ExcludedEmailAddresses != nil, t.PermittedURIDomains != nil, t.ExcludedURIDomains != nil:
		return errors.New("certificate: names, usages, policies and constraints have to be among the extra extensions")
	}
	return nil
}

// tbsCertificate is the DER of the TBSCertificate (RFC 5280 4.1).
func tbsCertificate(t, issuer *x509.Certificate, pub crypto.PublicKey, alg []byte) ([]byte, error) {
	spki, err := marshalSPKI(pub)
	if err != nil {
		return nil, err
	}
	for _, at := range []int{t.NotBefore.UTC().Year(), t.NotAfter.UTC().Year()} {
		if at < 0 || at > 9999 {
			return nil, fmt.Errorf("the year %d is none that a certificate can have", at)
		}
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 1024))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) }) // v3
		b.AddASN1BigInt(t.SerialNumber)
		b.AddBytes(alg)
		b.AddBytes(issuer.RawSubject)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, t.NotBefore)
			addTime(b, t.NotAfter)
		})
		b.AddBytes(t.RawSubject)
		b.AddBytes(spki)
		b.AddASN1(cbasn1.Tag(3).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { addExtensions(b, t, issuer) })
		})
	})
	return b.Bytes()
}

// addExtensions writes the extensions that every certificate has, unless they are among the extra ones, and then those.
func addExtensions(b *cryptobyte.Builder, t, issuer *x509.Certificate) {
	usual := func(id asn1.ObjectIdentifier, critical, present bool, value func(*cryptobyte.Builder)) {
		for _, extra := range t.ExtraExtensions {
			if extra.Id.Equal(id) {
				return
			}
		}
		if present {
			addExtensionOf(b, id, critical, value)
		}
	}
	authority := t.AuthorityKeyId
	if len(issuer.SubjectKeyId) > 0 && !bytes.Equal(issuer.RawSubject, t.RawSubject) {
		authority = issuer.SubjectKeyId
	}
	usual(oidBasicConstraints, true, true, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(*cryptobyte.Builder) {})
	})
	usual(oidSubjectKeyID, false, len(t.SubjectKeyId) > 0, func(b *cryptobyte.Builder) { b.AddASN1OctetString(t.SubjectKeyId) })
	usual(oidAuthorityKeyID, false, len(authority) > 0, func(b *cryptobyte.Builder) { addAuthorityKeyID(b, authority) })
	usual(oidAuthorityInfoAccess, false, len(t.OCSPServer)+len(t.IssuingCertificateURL) > 0, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addAccess(b, oidAccessOCSP, t.OCSPServer)
			addAccess(b, oidAccessIssuers, t.IssuingCertificateURL)
		})
	})
	usual(oidCRLDistributionPoints, false, len(t.CRLDistributionPoints) > 0, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, url := range t.CRLDistributionPoints {
				addDistributionPoint(b, url)
			}
		})
	})
	for _, extra := range t.ExtraExtensions {
		addExtensionOf(b, extra.Id, extra.Critical, func(b *cryptobyte.Builder) { b.AddBytes(extra.Value) })
	}
}

func addAuthorityKeyID(b *cryptobyte.Builder, id []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(id) })
	})
}

func addAccess(b *cryptobyte.Builder, method asn1.ObjectIdentifier, urls []string) {
	for _, url := range urls {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(method)
			addURI(b, url)
		})
	}
}

func addDistributionPoint(b *cryptobyte.Builder, url string) {
	inside := cbasn1.Tag(0).Constructed().ContextSpecific()
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(inside, func(b *cryptobyte.Builder) { // distributionPoint
			b.AddASN1(inside, func(b *cryptobyte.Builder) { addURI(b, url) }) // fullName
		})
	})
}

// addURI writes a GeneralName that is a uniformResourceIdentifier.
func addURI(b *cryptobyte.Builder, url string) {
	b.AddASN1(cbasn1.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(url)) })
}
