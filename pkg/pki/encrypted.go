package pki

import (
	"crypto"
	"crypto/aes"
	"crypto/des" //nolint:gosec // old keys are encrypted with it; they are read, never written
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"slices"

	"github.com/youmark/pkcs8"
)

// ErrPassphrase means that a key cannot be decrypted with the passphrase given.
var ErrPassphrase = errors.New("wrong passphrase")

// IsEncryptedBlock reports whether block holds a private key that takes a passphrase to read.
func IsEncryptedBlock(block *pem.Block) bool {
	return block.Type == typeEncryptedKey || isTraditional(block)
}

const typeEncryptedKey = "ENCRYPTED PRIVATE KEY"

// isTraditional recognises RFC 1421 headers, as openssl wrote them before PKCS #8.
func isTraditional(block *pem.Block) bool {
	//lint:ignore SA1019 old keys are encrypted that way
	return IsPrivateKeyBlock(block) && x509.IsEncryptedPEMBlock(block)
}

// DecryptPrivateKeyBlock reads an encrypted private key: PKCS #8 with PBES2 (RFC 8018), or with RFC
// 1421 headers. The error is [ErrPassphrase], or [ErrInvalid] when no passphrase could open it. Without a
// passphrase, ErrPassphrase means that one is worth asking for.
func DecryptPrivateKeyBlock(block *pem.Block, passphrase []byte) (crypto.Signer, error) {
	if len(block.Bytes) > MaxPrivateKeySize {
		return nil, refusef("private key", "longer than %d bytes", MaxPrivateKeySize)
	}
	if isTraditional(block) {
		return decryptTraditional(block, passphrase)
	}
	if err := checkEncryption(block.Bytes); err != nil {
		return nil, err
	}
	if len(passphrase) == 0 {
		return nil, ErrPassphrase
	}
	key, _, err := pkcs8.ParsePrivateKey(block.Bytes, passphrase)
	if err != nil {
		return nil, ErrPassphrase
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, refusef("private key", "%T cannot sign", key)
	}
	return signer, nil
}

// iterations is how often PBKDF2 is repeated for a new passphrase: OWASP's advice of 2023 for HMAC-SHA-256. Unlike
// scrypt, every openssl since 1.0.2 reads it without being asked to.
const iterations = 600_000

// EncryptPrivateKeyPEM writes key as PKCS #8, encrypted with a passphrase: PBES2 with PBKDF2 and AES-256 (RFC 8018).
func EncryptPrivateKeyPEM(key crypto.Signer, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	der, err := pkcs8.MarshalPrivateKey(key, passphrase, &pkcs8.Opts{
		Cipher:  pkcs8.AES256CBC,
		KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: iterations, HMACHash: crypto.SHA256},
	})
	if err != nil {
		return nil, errors.New("a private key cannot be encrypted") // whatever the library quotes
	}
	return encodePEM(typeEncryptedKey, der), nil
}

// decryptTraditional notices a wrong passphrase by what comes out.
func decryptTraditional(block *pem.Block, passphrase []byte) (crypto.Signer, error) {
	if len(passphrase) == 0 {
		return nil, ErrPassphrase
	}
	//lint:ignore SA1019 see isTraditional
	der, err := x509.DecryptPEMBlock(block, passphrase)
	if err == nil {
		var key crypto.Signer
		if key, err = ParsePrivateKeyBlock(&pem.Block{Type: block.Type, Bytes: der}); err == nil {
			return key, nil
		}
		return nil, ErrPassphrase
	}
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, ErrPassphrase
	}
	return nil, errUnknownEncryption()
}

// Bounds of what it takes to derive a key from a passphrase: seconds, and as much memory as a
// daemon may have. What others use is far below.
const (
	maxIterations   = 50_000_000
	maxScryptMemory = 1 << 30
)

// checkEncryption makes sure of what the library takes for granted: it panics on an initialization
// vector or a text of the wrong length, and works for as many iterations as the file asks for.
func checkEncryption(der []byte) error {
	var info struct {
		Algorithm struct {
			OID    asn1.ObjectIdentifier
			Params struct{ KDF, Cipher algorithm }
		}
		Data []byte
	}
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 || !info.Algorithm.OID.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}) {
		return errUnknownEncryption()
	}
	if err := info.Algorithm.Params.KDF.checkKDF(); err != nil {
		return err
	}
	return info.Algorithm.Params.Cipher.checkCipher(len(info.Data))
}

func errUnknownEncryption() error {
	return refusef("private key", "encrypted in a way that is not known: PKCS #8 with PBES2, PBKDF2 of SHA-1 or SHA-256 or scrypt, AES or 3DES in CBC mode is")
}

// An algorithm is an AlgorithmIdentifier (RFC 5280 4.1.1.2).
type algorithm struct {
	OID    asn1.ObjectIdentifier
	Params asn1.RawValue `asn1:"optional"`
}

// isKnownPRF reports whether the library can stretch a passphrase with it: HMAC with SHA-1, which is
// the default, or SHA-256.
func (a algorithm) isKnownPRF() bool {
	return len(a.OID) == 0 || a.OID.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}) ||
		a.OID.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9})
}

func (a algorithm) checkKDF() error {
	switch {
	case a.OID.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}): // PBKDF2, RFC 8018 A.2
		var p struct {
			Salt       []byte
			Iterations int
			KeyLength  int       `asn1:"optional"`
			PRF        algorithm `asn1:"optional"`
		}
		if _, err := asn1.Unmarshal(a.Params.FullBytes, &p); err != nil || !p.PRF.isKnownPRF() {
			return errUnknownEncryption()
		}
		if p.Iterations < 1 || p.Iterations > maxIterations {
			return refusef("private key", "its passphrase is stretched %d times: 1 to %d accepted", p.Iterations, maxIterations)
		}
		return nil
	case a.OID.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}): // scrypt, RFC 7914 7.1
		var p struct {
			Salt      []byte
			N, R, P   int
			KeyLength int `asn1:"optional"`
		}
		if _, err := asn1.Unmarshal(a.Params.FullBytes, &p); err != nil {
			return errUnknownEncryption()
		}
		if p.N < 2 || p.R < 1 || p.P < 1 || p.P > 64 || p.R > maxScryptMemory/128 || p.N > maxScryptMemory/128/p.R || p.N&(p.N-1) != 0 {
			return refusef("private key", "its passphrase is stretched with scrypt beyond what is accepted")
		}
		return nil
	}
	return errUnknownEncryption()
}

func (a algorithm) checkCipher(length int) error {
	blockSize := aes.BlockSize
	switch {
	case a.OID.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}):
		blockSize = des.BlockSize
	case !slices.ContainsFunc(aesCBC(), a.OID.Equal):
		return errUnknownEncryption()
	}
	var iv []byte
	if _, err := asn1.Unmarshal(a.Params.FullBytes, &iv); err != nil || len(iv) != blockSize {
		return errUnknownEncryption()
	}
	if length == 0 || length%blockSize != 0 {
		return refusef("private key", "its encrypted form is cut off")
	}
	return nil
}

// aesCBC are the identifiers of AES with keys of 128, 192 and 256 bits in CBC mode.
func aesCBC() []asn1.ObjectIdentifier {
	return []asn1.ObjectIdentifier{
		{2, 16, 840, 1, 101, 3, 4, 1, 2}, {2, 16, 840, 1, 101, 3, 4, 1, 22}, {2, 16, 840, 1, 101, 3, 4, 1, 42},
	}
}
