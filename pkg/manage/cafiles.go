package manage

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"cauase/pkg/pki"
)

var (
	// ErrUnpaired means that a key has no certificate, or a certificate no key.
	ErrUnpaired = errors.New("keys and certificates do not match")
	// ErrUnfit means that a certificate should not be that of a CA. It may be insisted on.
	ErrUnfit = errors.New("not fit for a CA")
)

// A File is the content of a file that an operator has named.
type File struct {
	Name string // for messages
	Data []byte
}

// AskPassphrase returns the passphrase of the encrypted key that is described. It is asked anew for
// each key.
type AskPassphrase func(what string) ([]byte, error)

// A KeyPair is a CA certificate with its key.
type KeyPair struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	// Anchor is a self-signed certificate for the same name and key, where Certificate is signed by a parent; nil: none was found.
	Anchor *x509.Certificate
	from   string // where the certificate was found
}

// trusted is the certificate that those know who trust this CA itself, as store.CA.Trusted.
func (p KeyPair) trusted() *x509.Certificate {
	if p.Anchor != nil {
		return p.Anchor
	}
	return p.Certificate
}

// join makes one of two pairs of the same key, if one has the certificate by a parent and the other a self-signed one.
func (p KeyPair) join(other KeyPair) (KeyPair, bool) {
	if selfIssued(p.Certificate) {
		p, other = other, p
	}
	if p.Anchor != nil || other.Anchor != nil || selfIssued(p.Certificate) || !selfIssued(other.Certificate) ||
		!bytes.Equal(p.Certificate.RawSubject, other.Certificate.RawSubject) {
		return p, false
	}
	p.Anchor = other.Certificate
	return p, true
}

// ReadKeyPairs finds the key pairs in files: keys and certificates in any order, in one file or
// several, keys encrypted or not. Every key has to have one certificate, every certificate a key.
func ReadKeyPairs(files []File, ask AskPassphrase) ([]KeyPair, error) {
	var p pairing
	for _, f := range files {
		blocks, err := pki.SplitPEM(f.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if len(blocks) == 0 {
			return nil, fmt.Errorf("%s: there is neither a key nor a certificate in PEM form", f.Name)
		}
		for i, block := range blocks {
			if err := p.add(fmt.Sprintf("%s, block %d", f.Name, i+1), block, ask); err != nil {
				return nil, err
			}
		}
	}
	return p.pairs()
}

// A pairing collects keys and certificates.
type pairing struct {
	crts []KeyPair // without keys
	keys []foundKey
}

type foundKey struct {
	crypto.Signer
	from string
}

func (p *pairing) add(from string, block *pem.Block, ask AskPassphrase) error {
	switch {
	case block.Type == "EC PARAMETERS":
		return nil // openssl writes it before a key, which says the same
	case pki.IsPrivateKeyBlock(block):
		key, err := readKey(from, block, ask)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		for _, other := range p.keys {
			if pki.SameKey(other.Public(), key.Public()) {
				return fmt.Errorf("%w: %s and %s are the same key", ErrUnpaired, other.from, from)
			}
		}
		p.keys = append(p.keys, foundKey{key, from})
		return nil
	case block.Type == "CERTIFICATE":
		crt, err := pki.ParseCertificateDER(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		for i, other := range p.crts {
			if !pki.SameKey(other.Certificate.PublicKey, crt.PublicKey) {
				continue
			}
			joined, ok := other.join(KeyPair{Certificate: crt, from: from})
			if !ok {
				return fmt.Errorf("%w: %s and %s are certificates of the same key", ErrUnpaired, other.from, from)
			}
			p.crts[i] = joined
			return nil
		}
		p.crts = append(p.crts, KeyPair{Certificate: crt, from: from})
		return nil
	}
	return fmt.Errorf("%s: PEM block %.40q is neither a key nor a certificate", from, block.Type)
}

// readKey reads a private key, asking for its passphrase if it has one.
func readKey(from string, block *pem.Block, ask AskPassphrase) (crypto.Signer, error) {
	if !pki.IsEncryptedBlock(block) {
		return pki.ParsePrivateKeyBlock(block)
	}
	// Before a passphrase is asked for in vain.
	if _, err := pki.DecryptPrivateKeyBlock(block, nil); !errors.Is(err, pki.ErrPassphrase) {
		return nil, err
	}
	passphrase, err := ask("the key in " + from)
	if err != nil {
		return nil, err
	}
	return pki.DecryptPrivateKeyBlock(block, passphrase)
}

func (p *pairing) pairs() ([]KeyPair, error) {
	used := make([]bool, len(p.keys))
	for i := range p.crts {
		for j, key := range p.keys {
			if pki.SameKey(key.Public(), p.crts[i].Certificate.PublicKey) {
				p.crts[i].Key, used[j] = key.Signer, true
			}
		}
		if p.crts[i].Key == nil {
			return nil, fmt.Errorf("%w: there is no key for the certificate in %s (%s)",
				ErrUnpaired, p.crts[i].from, pki.SubjectString(p.crts[i].Certificate.RawSubject))
		}
	}
	for j, key := range p.keys {
		if !used[j] {
			return nil, fmt.Errorf("%w: there is no certificate for the key in %s", ErrUnpaired, key.from)
		}
	}
	if len(p.crts) == 0 {
		return nil, fmt.Errorf("%w: there is no certificate", ErrUnpaired)
	}
	return p.crts, nil
}
