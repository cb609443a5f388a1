package pemfile

import (
	"crypto"
	"crypto/sha256"
	"encoding/pem"
	"fmt"

	"cauase/pkg/pki"
)

// A Lock is what it takes to read private keys that are encrypted, and to keep their successors encrypted. It is for the
// files of one pair.
type Lock struct {
	Open [][]byte // passphrases of the keys there
	Seal []byte   // of keys that are written, nil to write them in the clear

	read map[[sha256.Size]byte]crypto.Signer // stretching a passphrase takes long
}

// key reads a private key, which may be encrypted.
func (l *Lock) key(block *pem.Block) (crypto.Signer, error) {
	if l == nil || !pki.IsEncryptedBlock(block) {
		return pki.ParsePrivateKeyBlock(block)
	}
	sum := sha256.Sum256(block.Bytes)
	if key, ok := l.read[sum]; ok {
		return key, nil
	}
	err := pki.ErrPassphrase
	for _, passphrase := range l.Open {
		var key crypto.Signer
		if key, err = pki.DecryptPrivateKeyBlock(block, passphrase); err == nil {
			if l.read == nil {
				l.read = map[[sha256.Size]byte]crypto.Signer{}
			}
			l.read[sum] = key
			return key, nil
		}
	}
	return nil, err
}

// encodeKey writes a private key as its file has it.
func (a Attributes) encodeKey(key crypto.Signer) ([]byte, error) {
	if a.Lock != nil && a.Lock.Seal != nil {
		return pki.EncryptPrivateKeyPEM(key, a.Lock.Seal)
	}
	return pki.EncodePrivateKeyPEM(key)
}

// A LockedKey is an encrypted private key in a file.
type LockedKey struct {
	Path  string
	block *pem.Block
}

// Try reports why a passphrase does not open the key: [pki.ErrPassphrase], or that none could.
func (k LockedKey) Try(passphrase []byte) error {
	_, err := pki.DecryptPrivateKeyBlock(k.block, passphrase)
	if err != nil {
		return fmt.Errorf("%s: %w", k.Path, err)
	}
	return nil
}

// LockedKeys returns the encrypted keys of a pair: the one in place, and the one that is staged. Files that cannot be
// read have none: whoever reads them says why.
func (p PairPaths) LockedKeys() (found []LockedKey) {
	for _, path := range []string{p.KeyPath(), p.nextKey()} {
		content, err := p.Attributes.Read(path)
		if err != nil {
			continue
		}
		blocks, err := pki.SplitPEM(content.Data)
		if err != nil {
			continue
		}
		for _, block := range blocks {
			if pki.IsEncryptedBlock(block) {
				found = append(found, LockedKey{path, block})
				break
			}
		}
	}
	return found
}
