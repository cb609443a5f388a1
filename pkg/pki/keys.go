package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RFC 5280 4.2.1.2 key identifiers; nothing relies on its collision resistance.
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A KeyType names a kind of key pair that can be generated, as flags and
// configuration spell it.
type KeyType string

// The key types.
const (
	KeyECDSAP256 KeyType = "ecdsa-p256"
	KeyECDSAP384 KeyType = "ecdsa-p384"
	KeyEd25519   KeyType = "ed25519"
	KeyRSA2048   KeyType = "rsa-2048"
	KeyRSA3072   KeyType = "rsa-3072"
	KeyRSA4096   KeyType = "rsa-4096"

	// Of keys that are not offered, but followed by others like them: see [LikeKeyType].
	keyECDSAP521 KeyType = "ecdsa-p521"

	// DefaultKeyType is what is generated unless a type is chosen.
	DefaultKeyType = KeyECDSAP256
)

// keyRSA is what the types of RSA keys begin with, which may be of any size that is accepted.
const keyRSA = "rsa-"

// KeyTypes lists the key types, the default first.
func KeyTypes() []KeyType {
	return []KeyType{KeyECDSAP256, KeyECDSAP384, KeyEd25519, KeyRSA2048, KeyRSA3072, KeyRSA4096}
}

// ParseKeyType reads the name of a key type. The error lists the names there are.
func ParseKeyType(s string) (KeyType, error) {
	names := make([]string, 0, len(KeyTypes()))
	for _, t := range KeyTypes() {
		if s == string(t) {
			return t, nil
		}
		names = append(names, string(t))
	}
	return "", refusef("key type", "%s is not one of %s", quote(s), strings.Join(names, ", "))
}

// Generate makes a new key pair of type t.
func (t KeyType) Generate() (crypto.Signer, error) {
	switch t {
	case KeyECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case KeyECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case KeyEd25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return key, nil
	case KeyRSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case KeyRSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case KeyRSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	if t == keyECDSAP521 {
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	}
	if size, isRSA := strings.CutPrefix(string(t), keyRSA); isRSA {
		if bits, err := strconv.Atoi(size); err == nil && bits >= minRSABits && bits <= maxRSABits {
			return rsa.GenerateKey(rand.Reader, bits)
		}
	}
	_, err := ParseKeyType(string(t))
	return nil, err
}

// LikeKeyType returns the type of a key like pub, for whoever renews the certificate of a key that somebody else has
// made. It is KeyTypeOf, and beyond that P-521 and RSA of all sizes that are accepted in a request.
func LikeKeyType(pub crypto.PublicKey) (KeyType, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if bits := pub.N.BitLen(); bits >= minRSABits && bits <= maxRSABits {
			return KeyType(keyRSA + strconv.Itoa(bits)), nil
		}
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P521() {
			return keyECDSAP521, nil
		}
	}
	return KeyTypeOf(pub)
}

// KeyTypeOf returns the type of key that succeeds pub, of those that a CA may have. Others that are accepted in
// a CSR (P-521, RSA of other sizes) have none and are an error, see [LikeKeyType].
func KeyTypeOf(pub crypto.PublicKey) (KeyType, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		switch pub.N.BitLen() {
		case 2048:
			return KeyRSA2048, nil
		case 3072:
			return KeyRSA3072, nil
		case 4096:
			return KeyRSA4096, nil
		}
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return KeyECDSAP256, nil
		case elliptic.P384():
			return KeyECDSAP384, nil
		}
	case ed25519.PublicKey:
		return KeyEd25519, nil
	}
	return "", refusef("public key", "no key type generates %s", DescribeKey(pub))
}

// NearestKeyType is KeyTypeOf, but for a key whose like is never generated here it is the RSA type
// next in strength, or the strongest there is.
func NearestKeyType(pub crypto.PublicKey) KeyType {
	if t, err := KeyTypeOf(pub); err == nil {
		return t
	}
	if pub, ok := pub.(*rsa.PublicKey); ok && pub.N.BitLen() < 3072 {
		return KeyRSA3072
	}
	return KeyRSA4096
}

// DescribeKey names the algorithm and size of any public key for people to read:
// "ECDSA P-521", "RSA 8192", "Ed25519".
func DescribeKey(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", pub.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + pub.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case nil:
		return "an unknown kind of key"
	}
	return fmt.Sprintf("%T", pub)
}

// KeyID returns the 20 bytes of RFC 5280 4.2.1.2 method (1): SHA-1 of the
// subjectPublicKey BIT STRING without tag, length and count of unused bits. It fails
// on keys that have no SubjectPublicKeyInfo form.
func KeyID(pub crypto.PublicKey) ([]byte, error) {
	if point := pointOfP256(pub); point != nil {
		return keyIDOfBits(point), nil
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("key id: %w", err)
	}
	return keyIDOfSPKI(der)
}

// pointOfP256 is what the BIT STRING of a P-256 key holds, the point, uncompressed (RFC 5480 2.2); nil for any other key. The detour over a
// structure that is the same for all of them would cost more than half of what reading a certificate does.
func pointOfP256(pub crypto.PublicKey) []byte {
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil
	}
	point, err := key.Bytes()
	if err != nil {
		return nil // not on the curve: x509 says so
	}
	return point
}

// spkiP256 is what comes before the point in the SubjectPublicKeyInfo of a P-256 key.
var spkiP256 = []byte{
	0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
	0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
}

// marshalSPKI is x509.MarshalPKIXPublicKey, for P-256 keys without reflection.
func marshalSPKI(pub crypto.PublicKey) ([]byte, error) {
	if point := pointOfP256(pub); point != nil {
		return slices.Concat(spkiP256, point), nil
	}
	return x509.MarshalPKIXPublicKey(pub)
}

// KeyIDOf identifies the key of a certificate that exists, which may be of a kind that is not known here: then
// it is the subject key identifier, or what KeyID computes.
func KeyIDOf(crt *x509.Certificate) ([]byte, error) {
	if id, err := KeyID(crt.PublicKey); err == nil {
		return id, nil
	}
	if len(crt.SubjectKeyId) > 0 {
		return crt.SubjectKeyId, nil
	}
	return keyIDOfSPKI(crt.RawSubjectPublicKeyInfo)
}

func keyIDOfSPKI(der []byte) ([]byte, error) {
	var spki cryptobyte.String
	var bits []byte
	input := cryptobyte.String(der)
	if !input.ReadASN1(&spki, asn1.SEQUENCE) ||
		!spki.SkipASN1(asn1.SEQUENCE) ||
		!spki.ReadASN1BitStringAsBytes(&bits) {
		return nil, refusef("public key", "not a SubjectPublicKeyInfo")
	}
	return keyIDOfBits(bits), nil
}

func keyIDOfBits(bits []byte) []byte {
	sum := sha1.Sum(bits) //nolint:gosec // see the import
	return sum[:]
}

// SameKey reports whether a and b are the same public key. Keys of unknown kinds are
// never the same as anything.
func SameKey(a, b crypto.PublicKey) bool {
	eq, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && eq.Equal(b)
}

// NewSerial returns a certificate serial number of 159 random bits, never zero. The
// 160th bit would be a sign bit in DER and could make it 21 bytes long; RFC 5280
// 4.1.2.2 allows 20.
func NewSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), 159)
	for {
		serial, err := rand.Int(rand.Reader, limit)
		if err != nil {
			return nil, fmt.Errorf("serial number: %w", err)
		}
		if serial.Sign() > 0 {
			return serial, nil
		}
	}
}

// NewSerialAt returns a serial number for what is issued at t: 39 bits of the time, in units of 16 ms, and 120 random ones, far more than the 64
// that nobody must be able to predict. Numbers grow with time, so that those of one hour are neighbours in an index: random ones
// would be spread over all of its pages, each of which had to be read and written for a single entry.
func NewSerialAt(t time.Time) *big.Int {
	var b [20]byte
	binary.BigEndian.PutUint64(b[:], uint64(t.UnixMilli()>>4)<<24&(1<<63-1))
	_, _ = rand.Read(b[5:]) // never fails
	return new(big.Int).SetBytes(b[:])
}

// SignatureAlgorithm returns what a CA holding pub signs certificates and CRLs with: a
// hash as strong as the key, and PKCS#1 v1.5 for RSA because old verifiers know
// nothing else.
func SignatureAlgorithm(pub crypto.PublicKey) (x509.SignatureAlgorithm, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return x509.SHA256WithRSA, nil
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return x509.ECDSAWithSHA256, nil
		case elliptic.P384():
			return x509.ECDSAWithSHA384, nil
		}
	case ed25519.PublicKey:
		return x509.PureEd25519, nil
	}
	return x509.UnknownSignatureAlgorithm,
		refuse("public key", errors.New(DescribeKey(pub)+" is not a key a CA may have"))
}
