package adversaries

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"cauase/pkg/pki"
)

// Requests that no library would write are written here from DER up.

func o(arcs ...int) asn1.ObjectIdentifier { return arcs }

var (
	oidRSA         = o(1, 2, 840, 113549, 1, 1, 1)
	oidRSAPSS      = o(1, 2, 840, 113549, 1, 1, 10)
	oidSHA256RSA   = o(1, 2, 840, 113549, 1, 1, 11)
	oidSHA1RSA     = o(1, 2, 840, 113549, 1, 1, 5)
	oidMD5RSA      = o(1, 2, 840, 113549, 1, 1, 4)
	oidEC          = o(1, 2, 840, 10045, 2, 1)
	oidP256        = o(1, 2, 840, 10045, 3, 1, 7)
	oidECDSASHA256 = o(1, 2, 840, 10045, 4, 3, 2)
	oidECDSASHA1   = o(1, 2, 840, 10045, 4, 1)
	oidEd25519     = o(1, 3, 101, 112)
	oidCN          = o(2, 5, 4, 3)
	oidExtensions  = o(1, 2, 840, 113549, 1, 9, 14)
	oidSAN         = o(2, 5, 29, 17)
	oidKeyUsage    = o(2, 5, 29, 15)
	oidConstraints = o(2, 5, 29, 30)
	oidBasic       = o(2, 5, 29, 19)
)

func tlv(tag cbasn1.Tag, parts ...[]byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) })
	return b.BytesOrPanic()
}

func seq(parts ...[]byte) []byte { return tlv(cbasn1.SEQUENCE, parts...) }
func set(parts ...[]byte) []byte { return tlv(cbasn1.SET, parts...) }
func utf8s(s string) []byte      { return tlv(cbasn1.UTF8String, []byte(s)) }
func bits(content []byte) []byte { return tlv(cbasn1.BIT_STRING, []byte{0}, content) }

func oid(id asn1.ObjectIdentifier) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1ObjectIdentifier(id)
	return b.BytesOrPanic()
}

func integer(n *big.Int) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1BigInt(n)
	return b.BytesOrPanic()
}

var null = []byte{5, 0}

func cn(value []byte) []byte { return seq(set(seq(oid(oidCN), value))) }

func extension(id asn1.ObjectIdentifier, critical bool, value []byte) []byte {
	parts := [][]byte{oid(id)}
	if critical {
		parts = append(parts, []byte{1, 1, 0xff})
	}
	return seq(append(parts, tlv(cbasn1.OCTET_STRING, value))...)
}

func extensions(list ...[]byte) []byte { return seq(oid(oidExtensions), set(seq(list...))) }

// general is a name in a SAN extension.
func general(tag uint8, value string) []byte {
	t := cbasn1.Tag(tag).ContextSpecific()
	if tag == 0 || tag == 4 {
		t = t.Constructed()
	}
	return tlv(t, []byte(value))
}

func dns(name string) []byte { return general(2, name) }

func san(names ...[]byte) []byte { return extensions(extension(oidSAN, false, seq(names...))) }

// A csr is a request in parts, each as DER. The zero value is a good request with a new key.
type csr struct {
	version    int64
	subject    []byte
	key        crypto.Signer
	spki       []byte // if not that of the key
	attributes []byte // content
	algorithm  []byte
	sign       func(info []byte) []byte
	mangle     func(der []byte) []byte
}

func (c csr) der() []byte {
	if c.key == nil {
		c.key = ecKey(elliptic.P256())
	}
	if c.subject == nil {
		c.subject = cn(utf8s("mallory"))
	}
	if c.spki == nil {
		c.spki = must(x509.MarshalPKIXPublicKey(c.key.Public()))
	}
	if c.algorithm == nil {
		c.algorithm = seq(oid(oidECDSASHA256))
	}
	if c.sign == nil {
		c.sign = signer(c.key, crypto.SHA256)
	}
	info := seq(integer(big.NewInt(c.version)), c.subject, c.spki, tlv(cbasn1.Tag(0).ContextSpecific().Constructed(), c.attributes))
	der := seq(info, c.algorithm, bits(c.sign(info)))
	if c.mangle != nil {
		der = c.mangle(der)
	}
	return der
}

func (c csr) pem() []byte { return pki.EncodeCSRPEM(c.der()) }

func signer(key crypto.Signer, hash crypto.Hash) func([]byte) []byte {
	return func(info []byte) []byte {
		if hash == 0 {
			return must(key.Sign(rand.Reader, info, hash))
		}
		h := hash.New()
		h.Write(info)
		return must(key.Sign(rand.Reader, h.Sum(nil), hash))
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // of a library that was given what it takes
	}
	return v
}

func ecKey(curve elliptic.Curve) crypto.Signer { return must(ecdsa.GenerateKey(curve, rand.Reader)) }

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func rsaSPKI(n, e *big.Int) []byte {
	return seq(seq(oid(oidRSA), null), bits(seq(integer(n), integer(e))))
}

// ofSize is an odd number of so many bits, the upper two of which are set.
func ofSize(bits int) *big.Int {
	n := must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits))))
	return n.SetBit(n, bits-1, 1).SetBit(n, bits-2, 1).SetBit(n, 0, 1)
}

// rough is such a number without a factor below 1000.
func rough(bits int) *big.Int {
	for {
		if n := ofSize(bits); new(big.Int).GCD(nil, nil, n, primorial(1000)).Cmp(big.NewInt(1)) == 0 {
			return n
		}
	}
}

func primorial(below int64) *big.Int {
	product := big.NewInt(1)
	for p := int64(2); p < below; p++ {
		if big.NewInt(p).ProbablyPrime(0) {
			product.Mul(product, big.NewInt(p))
		}
	}
	return product
}

// roca has the fingerprint of CVE-2017-15361: modulo each small prime it is a power of 65537.
func roca() *big.Int {
	product := primorial(168)
	residue := new(big.Int).Exp(big.NewInt(65537), big.NewInt(123_456_789), product)
	n := ofSize(2048)
	n.Sub(n, new(big.Int).Mod(n, product)).Add(n, residue)
	for new(big.Int).GCD(nil, nil, n, primorial(1000)).Cmp(big.NewInt(1)) != 0 {
		n.Sub(n, product)
	}
	return n
}

// close is the product of two numbers that differ little (CVE-2022-26320).
func closePrimes() *big.Int {
	p := rough(1024)
	for q := new(big.Int).Add(p, big.NewInt(2)); ; q.Add(q, big.NewInt(2)) {
		if new(big.Int).GCD(nil, nil, q, primorial(1000)).Cmp(big.NewInt(1)) == 0 {
			return new(big.Int).Mul(p, q)
		}
	}
}

// weak asks for an RSA key of which only modulus and exponent are known.
func weak(n func() *big.Int, e *big.Int) func(*world) answer {
	return func(w *world) answer {
		return w.submit(csr{spki: rsaSPKI(n(), e), algorithm: seq(oid(oidSHA256RSA), null),
			sign: func([]byte) []byte { return make([]byte, 256) }}.pem())
	}
}

func sized(bits int) func() *big.Int { return func() *big.Int { return ofSize(bits) } }

// keyed asks for a key by its DER.
func keyed(spki func() []byte) func(*world) answer {
	return func(w *world) answer { return w.submit(csr{spki: spki()}.pem()) }
}

func point(curve []byte, p []byte) func(*world) answer {
	return keyed(func() []byte { return seq(seq(oid(oidEC), curve), bits(p)) })
}
