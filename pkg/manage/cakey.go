package manage

import (
	"crypto"
	"crypto/aes"
	"crypto/des" //nolint:gosec // old keys are encrypted with it; they are read, never written
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/youmark/pkcs8"

	"cauase/pkg/pki"
)

// readKey reads a private key, asking for its passphrase if it has one.
func readKey(from string, block *pem.Block, ask AskPassphrase) (crypto.Signer, error) {
	//lint:ignore SA1019 old CA keys are encrypted that way
	traditional := x509.IsEncryptedPEMBlock(block)
	if block.Type != "ENCRYPTED PRIVATE KEY" && !traditional {
		return pki.ParsePrivateKeyBlock(block)
	}
	if !traditional {
		// Before anybody types for nothing.
		if err := checkEncryption(block.Bytes); err != nil {
			return nil, err
		}
	}
	passphrase, err := ask("the key in " + from)
	if err != nil {
		return nil, err
	}
	if len(passphrase) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	if traditional {
		return decryptTraditional(block, passphrase)
	}
	key, _, err := pkcs8.ParsePrivateKey(block.Bytes, passphrase)
	if err != nil {
		return nil, ErrPassphrase
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	return signer, nil
}

// decryptTraditional reads a key with RFC 1421 headers, as openssl wrote them before PKCS #8. A wrong
// passphrase is noticed by what comes out.
func decryptTraditional(block *pem.Block, passphrase []byte) (crypto.Signer, error) {
	//lint:ignore SA1019 see readKey
	der, err := x509.DecryptPEMBlock(block, passphrase)
	if err == nil {
		var key crypto.Signer
		if key, err = pki.ParsePrivateKeyBlock(&pem.Block{Type: block.Type, Bytes: der}); err == nil {
			return key, nil
		}
		return nil, ErrPassphrase
	}
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, ErrPassphrase
	}
	return nil, errors.New("the key is encrypted in a way that is not known")
}

// Bounds of what it takes to derive a key from a passphrase: seconds, and as much memory as a
// daemon may have. What others use is far below.
const (
	maxIterations   = 50_000_000
	maxScryptMemory = 1 << 30
)

// checkEncryption makes sure of what the library takes for granted: it panics on an initialization
// vector or a text of the wrong length, and works for as long as the file tells it.
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
	return errors.New("the key is encrypted in a way that is not known: PKCS #8 with PBES2, PBKDF2 or scrypt, AES or 3DES in CBC mode is")
}

// An algorithm is an AlgorithmIdentifier (RFC 5280 4.1.1.2).
type algorithm struct {
	OID    asn1.ObjectIdentifier
	Params asn1.RawValue `asn1:"optional"`
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
		if _, err := asn1.Unmarshal(a.Params.FullBytes, &p); err != nil {
			return errUnknownEncryption()
		}
		if p.Iterations < 1 || p.Iterations > maxIterations {
			return fmt.Errorf("its passphrase is stretched %d times: 1 to %d accepted", p.Iterations, maxIterations)
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
			return errors.New("its passphrase is stretched with scrypt beyond what is accepted")
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
		return errors.New("the encrypted key is cut off")
	}
	return nil
}

// aesCBC are the identifiers of AES with keys of 128, 192 and 256 bits in CBC mode.
func aesCBC() []asn1.ObjectIdentifier {
	return []asn1.ObjectIdentifier{
		{2, 16, 840, 1, 101, 3, 4, 1, 2}, {2, 16, 840, 1, 101, 3, 4, 1, 22}, {2, 16, 840, 1, 101, 3, 4, 1, 42},
	}
}
