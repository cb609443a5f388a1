package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// RSA bounds, in bits. Above 8192 a verification costs the verifier more than it costs the
// attacker to demand it.
const (
	minRSABits  = 2048
	maxRSABits  = 8192
	rsaExponent = 65537
)

// CheckPublicKey decides whether a certificate may be issued for pub: RSA of 2048 to
// 8192 bits with e = 65537, ECDSA on P-256, P-384 or P-521, Ed25519, and no key whose
// private half is known to be computable (ROCA, CVE-2017-15361; close primes,
// CVE-2022-26320; small factors; Ed25519 points of small order). Sizes are checked before
// any arithmetic.
//
// The keys of Debian's broken generator (CVE-2008-0166) are not recognised: that takes
// lists of a hundred thousand fingerprints for each key size.
func CheckPublicKey(pub crypto.PublicKey) error {
	if err := checkPublicKey(pub); err != nil {
		return refuse("public key", err)
	}
	return nil
}

func checkPublicKey(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if err := checkRSASize(pub); err != nil {
			return err
		}
		return checkRSAModulus(pub.N)
	case *ecdsa.PublicKey:
		return checkECDSA(pub)
	case ed25519.PublicKey:
		return checkEd25519(pub)
	}
	return fmt.Errorf("%s is not accepted: RSA, ECDSA or Ed25519 needed", DescribeKey(pub))
}

func checkRSASize(pub *rsa.PublicKey) error {
	if pub.N == nil {
		return errors.New("RSA key without a modulus")
	}
	switch bits := pub.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("RSA modulus of %d bits: at least %d needed", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("RSA modulus of %d bits: at most %d accepted", bits, maxRSABits)
	case pub.E != rsaExponent:
		return fmt.Errorf("RSA exponent %d: only %d accepted", pub.E, rsaExponent)
	case pub.N.Sign() < 0 || pub.N.Bit(0) == 0:
		return errors.New("RSA modulus is not a product of odd primes")
	}
	return nil
}

// checkECDSA accepts the three NIST curves. All have prime order, so a point that is
// on the curve and not at infinity passes the full validation of NIST SP 800-56A
// 5.6.2.3.3, and crypto/ecdsa makes those checks when it encodes the point. A
// multiplication by the order would cost every renewal more to learn the same.
func checkECDSA(pub *ecdsa.PublicKey) error {
	switch pub.Curve {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
	case nil:
		return errors.New("ECDSA key without a curve")
	default:
		return fmt.Errorf("%s is not accepted: P-256, P-384 or P-521 needed", DescribeKey(pub))
	}
	if _, err := pub.Bytes(); err != nil {
		return errors.New("ECDSA point is not on its curve")
	}
	return nil
}

func checkEd25519(pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("Ed25519 key of %d bytes: %d needed", len(pub), ed25519.PublicKeySize)
	}
	y := hex.EncodeToString(append(bytes.Clone(pub[:31]), pub[31]&0x7f)) // without the sign of x
	if slices.Contains(smallOrder[:], y) {
		return errors.New("weak Ed25519 key: a point of small order, for which anybody can sign")
	}
	return nil
}

// smallOrder are the encodings of the points of order 1, 2, 4 and 8 on edwards25519, less the sign
// bit, the last two of them not canonical. RFC 8032 lets them pass as public keys, and
// verifies for some of them one and the same signature over any message.
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}
