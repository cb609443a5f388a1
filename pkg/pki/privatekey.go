package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Errors here name what was wrong with a key, never any part of it: not even what
// x509 has to say, which is not under our control.

// ParsePrivateKeyPEM reads a private key of at most MaxPrivateKeySize bytes: PKCS#8
// ("PRIVATE KEY"), PKCS#1 ("RSA PRIVATE KEY") or SEC 1 ("EC PRIVATE KEY"), the latter
// with or without the "EC PARAMETERS" block that openssl writes before it. Encrypted
// keys are refused, and so are several keys. For a file that also holds certificates
// use [SplitPEM] and [ParsePrivateKeyBlock].
func ParsePrivateKeyPEM(data []byte) (crypto.Signer, error) {
	if len(data) > MaxPrivateKeySize {
		return nil, refusef("private key", "longer than %d bytes", MaxPrivateKeySize)
	}
	blocks, err := SplitPEM(data)
	if err != nil {
		return nil, refusef("private key", "not PEM: a block is broken")
	}
	var found *pem.Block
	for _, block := range blocks {
		if block.Type == "EC PARAMETERS" {
			continue
		}
		if found != nil {
			return nil, refusef("private key", "several PEM blocks where one is expected")
		}
		found = block
	}
	if found == nil {
		return nil, refusef("private key", "no PEM block")
	}
	return ParsePrivateKeyBlock(found)
}

// ErrEncrypted is a private key that takes a passphrase, where none can be given.
var ErrEncrypted = errors.New("encrypted private key")

// errEncrypted names a command that writes another file: openssl empties its output before it reads its input.
func errEncrypted() error {
	err := refusef("private key", "is encrypted with a passphrase, which cannot be given here; openssl pkey -in FILE -out NEW writes it without one to another file")
	err.is = ErrEncrypted
	return err
}

// IsPrivateKeyBlock reports whether block claims to hold a private key, readable or
// not.
func IsPrivateKeyBlock(block *pem.Block) bool {
	switch block.Type {
	case typePrivateKey, typeEncryptedKey, "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "OPENSSH PRIVATE KEY":
		return true
	}
	return false
}

// ParsePrivateKeyBlock reads the private key in one PEM block, see
// [ParsePrivateKeyPEM].
func ParsePrivateKeyBlock(block *pem.Block) (crypto.Signer, error) {
	if block.Type == typeEncryptedKey || block.Headers["DEK-Info"] != "" || block.Headers["Proc-Type"] == "4,ENCRYPTED" {
		return nil, errEncrypted()
	}
	if len(block.Bytes) > MaxPrivateKeySize {
		return nil, refusef("private key", "longer than %d bytes", MaxPrivateKeySize)
	}
	var key any
	var err error
	switch block.Type {
	case typePrivateKey:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, refusef("private key", "PEM block %s is not a private key we can read", quote(block.Type))
	}
	if err != nil {
		return nil, refusef("private key", "PEM block %s does not hold a valid key", quote(block.Type))
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, refusef("private key", "%T cannot sign", key)
}

// EncodePrivateKeyPEM writes key as PKCS#8. It fails on keys that do not leave their
// device.
func EncodePrivateKeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("private key of type %T has no PKCS#8 form", key)
	}
	return encodePEM(typePrivateKey, der), nil
}
