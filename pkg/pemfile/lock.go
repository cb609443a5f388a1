package pemfile

import (
	"crypto"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"

	"cauase/pkg/pki"
)

// A Lock is what it takes to read private keys that are encrypted, and to keep their successors encrypted. It is for the
// files of one pair.
type Lock struct {
	seal  []byte                              // passphrase of keys that are written
	opens [][]byte                            // passphrases of the keys there
	read  map[[sha256.Size]byte]crypto.Signer // stretching a passphrase takes long
}

// NewLock returns a lock for keys that are going to be made.
func NewLock(passphrase []byte) *Lock {
	l := &Lock{seal: passphrase, read: map[[sha256.Size]byte]crypto.Signer{}}
	if passphrase != nil {
		l.opens = [][]byte{passphrase}
	}
	return l
}

// Add has the lock open a key, too. The keys that are written from now on have its passphrase.
func (l *Lock) Add(key LockedKey, passphrase []byte) error {
	signer, err := pki.DecryptPrivateKeyBlock(key.block, passphrase)
	if err != nil {
		return fmt.Errorf("%s: %w", key.Path, err)
	}
	l.seal, l.opens = passphrase, append(l.opens, passphrase)
	l.read[sha256.Sum256(key.block.Bytes)] = signer
	return nil
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
	for _, passphrase := range l.opens {
		var key crypto.Signer
		if key, err = pki.DecryptPrivateKeyBlock(block, passphrase); err == nil {
			l.read[sum] = key
			return key, nil
		}
	}
	return nil, err
}

// EncodeKey writes a private key as its file has it.
func (a Attributes) EncodeKey(key crypto.Signer) ([]byte, error) {
	if a.Lock == nil {
		return pki.EncodePrivateKeyPEM(key)
	}
	content, err := pki.EncryptPrivateKeyPEM(key, a.Lock.seal)
	if block, _ := pem.Decode(content); block != nil {
		a.Lock.read[sha256.Sum256(block.Bytes)] = key
	}
	return content, err
}

// A LockedKey is an encrypted private key in a file.
type LockedKey struct {
	Path  string
	block *pem.Block
}

// Check reports that no passphrase could open the key.
func (k LockedKey) Check() error {
	if _, err := pki.DecryptPrivateKeyBlock(k.block, nil); !errors.Is(err, pki.ErrPassphrase) {
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
