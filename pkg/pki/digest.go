package pki

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
)

// A Digest is the SHA-256 of a request in DER. It stands for the request as its names do not: these
// anybody can write into another one.
type Digest [sha256.Size]byte

const digestPrefix = "sha256:"

// String returns "sha256:" and 64 lower-case hexadecimal digits.
func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// DigestOf returns the digest of the one request in PEM. What is around the block and whether the request can be
// accepted does not matter.
func DigestOf(pemData []byte) (Digest, error) {
	if len(pemData) > MaxCSRSize {
		return Digest{}, refusef("CSR", "%d bytes, at most %d accepted", len(pemData), MaxCSRSize)
	}
	var found *pem.Block
	for rest := pemData; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if found != nil {
			return Digest{}, refusef("CSR", "more than one PEM block")
		}
		found = block
	}
	if found == nil || found.Type != typeCSR && found.Type != typeCSRLegacy {
		return Digest{}, refusef("CSR", "no PEM block of a certificate request")
	}
	return sha256.Sum256(found.Bytes), nil
}

// ParseDigest reads what String returns, with digits in either case.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits, ok := strings.CutPrefix(s, digestPrefix)
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil || len(raw) != len(d) {
		return d, fmt.Errorf("%s is not a digest: sha256: and 64 hexadecimal digits needed", quote(s))
	}
	copy(d[:], raw)
	return d, nil
}
