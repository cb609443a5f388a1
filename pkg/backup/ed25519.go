package backup

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"math/big"
	"slices"
)

// An Ed25519 key is used for key agreement by taking it to the Montgomery form of the same curve
// (RFC 7748 4.1). Signing and agreeing with one key is sound for this pair of schemes (Thormarker,
// "On using the same key pair for Ed25519 and an X25519 based KEM", 2021).

// x25519Public maps a public key: u = (1+y)/(1-y). The arithmetic is not constant in time, which
// it need not be, as all of it is public. What is not the canonical encoding of a point on the
// curve, and what has no image, is refused; points of small order are pki.CheckPublicKey's to refuse.
func x25519Public(key ed25519.PublicKey) (*ecdh.PublicKey, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, errors.New("an Ed25519 key of the wrong size")
	}
	one := big.NewInt(1)
	p := new(big.Int).Lsh(one, 255)
	p.Sub(p, big.NewInt(19))
	bigEndian := slices.Clone(key)
	slices.Reverse(bigEndian)
	bigEndian[0] &= 0x7f // the sign of x, of which u is independent
	y := new(big.Int).SetBytes(bigEndian)
	if y.Cmp(p) >= 0 || !onEdwards25519(y, p) {
		return nil, errors.New("an Ed25519 key that is not a point of the curve")
	}
	below := new(big.Int).Sub(one, y)
	below.Mod(below, p)
	if below.ModInverse(below, p) == nil {
		return nil, errors.New("an Ed25519 key that has no X25519 form")
	}
	u := y.Add(y, one)
	u.Mul(u, below).Mod(u, p)
	littleEndian := u.FillBytes(make([]byte, 32))
	slices.Reverse(littleEndian)
	return ecdh.X25519().NewPublicKey(littleEndian)
}

// onEdwards25519 reports whether some x satisfies -x² + y² = 1 + d·x²·y² modulo p, that is, whether
// (y²-1)/(d·y²+1) is a square. So is then the product of the two, which spares a division. The
// denominator is never zero, because -1/d is no square.
func onEdwards25519(y, p *big.Int) bool {
	one := big.NewInt(1)
	d := new(big.Int).ModInverse(big.NewInt(121666), p) // d = -121665/121666
	d.Mul(d, big.NewInt(-121665))
	y2 := new(big.Int).Mul(y, y)
	above := new(big.Int).Sub(y2, one)
	below := d.Mul(d, y2)
	below.Add(below, one)
	square := above.Mul(above, below)
	return big.Jacobi(square.Mod(square, p), p) >= 0
}

// x25519Private returns the scalar that RFC 8032 5.1.5 derives from the seed. X25519 clamps it.
func x25519Private(key ed25519.PrivateKey) (*ecdh.PrivateKey, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("an Ed25519 key of the wrong size")
	}
	digest := sha512.Sum512(key.Seed())
	return ecdh.X25519().NewPrivateKey(digest[:32])
}
