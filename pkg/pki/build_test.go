package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Requests that no library would write are written here by hand, from DER up.

var (
	oidRSA             = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidRSAPSS          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidEC              = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidECDSASHA256     = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSASHA1       = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	oidSHA256RSA       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidSHA1RSA         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}
	oidMD5RSA          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}
	oidCN              = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidExtRequest      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
	oidMSExtRequest    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 14}
	oidChallenge       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}
	oidSAN             = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidKeyUsage        = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidEKU             = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidBasic           = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidPolicies        = asn1.ObjectIdentifier{2, 5, 29, 32}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidTLSFeature      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}
)

func build(f func(b *cryptobyte.Builder)) []byte {
	b := cryptobyte.NewBuilder(nil)
	f(b)
	return b.BytesOrPanic()
}

func tlv(tag cbasn1.Tag, parts ...[]byte) []byte {
	return build(func(b *cryptobyte.Builder) {
		b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) })
	})
}

func seq(parts ...[]byte) []byte { return tlv(cbasn1.SEQUENCE, parts...) }
func set(parts ...[]byte) []byte { return tlv(cbasn1.SET, parts...) }
func utf8s(s string) []byte      { return tlv(cbasn1.UTF8String, []byte(s)) }

func oid(id asn1.ObjectIdentifier) []byte {
	return build(func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(id) })
}

func integer(n *big.Int) []byte {
	return build(func(b *cryptobyte.Builder) { b.AddASN1BigInt(n) })
}

func bitString(content []byte) []byte {
	return build(func(b *cryptobyte.Builder) { b.AddASN1BitString(content) })
}

// cn is a Name of one common name.
func cn(value string) []byte { return seq(set(seq(oid(oidCN), utf8s(value)))) }

func extension(id asn1.ObjectIdentifier, critical bool, value []byte) []byte {
	parts := [][]byte{oid(id)}
	if critical {
		parts = append(parts, []byte{1, 1, 0xff})
	}
	return seq(append(parts, tlv(cbasn1.OCTET_STRING, value))...)
}

func extRequest(extensions ...[]byte) []byte {
	return seq(oid(oidExtRequest), set(seq(extensions...)))
}

// san is a SubjectAltName extension.
func san(names ...[]byte) []byte { return extension(oidSAN, false, seq(names...)) }

func general(kind nameKind, value string) []byte {
	tag := cbasn1.Tag(kind).ContextSpecific()
	if kind == nameOther || kind == nameDirectory || kind == nameX400 || kind == nameEDIParty {
		tag = tag.Constructed()
	}
	return tlv(tag, []byte(value))
}

func dns(name string) []byte { return general(nameDNS, name) }

// A testCSR is a request in parts, each as DER. The zero value is a good request.
type testCSR struct {
	version    int64
	subject    []byte
	spki       []byte // default: that of key
	attributes []byte // contents of the [0]
	noAttrs    bool   // leave the [0] away altogether
	algorithm  []byte // default: ecdsa-with-SHA256
	trailer    []byte // after the signature
	key        crypto.Signer
	sign       func(t testing.TB, info []byte) []byte // default: ECDSA with SHA-256
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c testCSR) der(t testing.TB) []byte {
	t.Helper()
	if c.key == nil {
		c.key = ecKey(t, elliptic.P256())
	}
	if c.subject == nil {
		c.subject = cn("alice")
	}
	if c.spki == nil {
		var err error
		if c.spki, err = x509.MarshalPKIXPublicKey(c.key.Public()); err != nil {
			t.Fatal(err)
		}
	}
	if c.algorithm == nil {
		c.algorithm = seq(oid(oidECDSASHA256))
	}
	if c.sign == nil {
		c.sign = signWith(c.key, crypto.SHA256)
	}
	parts := [][]byte{integer(big.NewInt(c.version)), c.subject, c.spki}
	if !c.noAttrs {
		parts = append(parts, tlv(cbasn1.Tag(0).ContextSpecific().Constructed(), c.attributes))
	}
	info := seq(parts...)
	return seq(info, c.algorithm, bitString(c.sign(t, info)), c.trailer)
}

func (c testCSR) pem(t testing.TB) []byte { return EncodeCSRPEM(c.der(t)) }

func signWith(key crypto.Signer, hash crypto.Hash) func(testing.TB, []byte) []byte {
	return func(t testing.TB, info []byte) []byte {
		t.Helper()
		signed := info
		if _, pure := key.(ed25519.PrivateKey); !pure {
			h := hash.New()
			h.Write(info)
			signed = h.Sum(nil)
		}
		sig, err := key.Sign(rand.Reader, signed, hash)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
}

// rsaSPKI encodes any two numbers as an RSA key.
func rsaSPKI(n, e *big.Int) []byte {
	return seq(seq(oid(oidRSA), []byte{5, 0}), bitString(seq(integer(n), integer(e))))
}

// oddOfSize returns a random odd number of so many bits without small factors.
func oddOfSize(t testing.TB, bits int) *big.Int {
	t.Helper()
	for {
		n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
		if err != nil {
			t.Fatal(err)
		}
		// The second bit, too: what is multiplied with it or taken from it then has the size that is expected.
		n.SetBit(n, bits-1, 1).SetBit(n, bits-2, 1).SetBit(n, 0, 1)
		if bits > 20_000 || !hasSmallFactor(n) {
			return n
		}
	}
}

// rocaModulus makes a number with the fingerprint of CVE-2017-15361: modulo each small
// prime it is a power of 65537.
func rocaModulus(t testing.TB, bits int) *big.Int {
	t.Helper()
	product := big.NewInt(1)
	for p := int64(2); p <= 167; p++ {
		if big.NewInt(p).ProbablyPrime(0) {
			product.Mul(product, big.NewInt(p))
		}
	}
	residue := new(big.Int).Exp(big.NewInt(65537), big.NewInt(123_456_789), product)
	n := oddOfSize(t, bits)
	n.Sub(n, new(big.Int).Mod(n, product)).Add(n, residue)
	for hasSmallFactor(n) {
		n.Sub(n, product) // which is even, so n stays odd
	}
	return n
}

// closeModulus makes a product of two numbers without small factors that differ little.
func closeModulus(t testing.TB, bits int) *big.Int {
	t.Helper()
	p := oddOfSize(t, bits/2)
	p.SetBit(p, bits/2-2, 1)
	for hasSmallFactor(p) {
		p.Add(p, big.NewInt(2))
	}
	q := new(big.Int).Add(p, big.NewInt(2))
	for hasSmallFactor(q) {
		q.Add(q, big.NewInt(2))
	}
	return p.Mul(p, q)
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
