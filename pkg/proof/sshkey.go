package proof

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"cauase/pkg/pki"
)

// SSHFolder is where a host has its SSH host keys.
const SSHFolder = "/etc/ssh"

// hostKeys are the files in which sshd has host keys unless it is told otherwise, the best type first.
var hostKeys = []string{"ssh_host_ed25519_key", "ssh_host_ecdsa_key", "ssh_host_rsa_key"}

// An SSHKey is a host key with which a host proves who it is.
type SSHKey struct {
	File        string
	Signer      crypto.Signer
	Certificate *ssh.Certificate // that is beside it, nil for none
}

// Fingerprint names the key as OpenSSH does.
func (k *SSHKey) Fingerprint() string {
	public, err := ssh.NewPublicKey(k.Signer.Public())
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(public)
}

// FindSSHKey reads the best host key in a folder.
func FindSSHKey(in string) (*SSHKey, error) {
	for _, name := range hostKeys {
		key, err := ReadSSHKey(filepath.Join(in, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return key, err
	}
	return nil, fmt.Errorf("no SSH host key in %s: %w", in, fs.ErrNotExist)
}

// ReadSSHKey reads a private key of OpenSSH, and its certificate if there is one beside it, FILE-cert.pub. One that is locked is a
// [pki.ErrEncrypted].
func ReadSSHKey(file string) (*SSHKey, error) {
	content, err := readUpTo(file, pki.MaxPrivateKeySize)
	if err != nil {
		return nil, err
	}
	raw, err := ssh.ParseRawPrivateKey(content)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("%s: %w", file, pki.ErrEncrypted)
	case err != nil:
		return nil, invalid("%s is not a private key of OpenSSH", file)
	}
	signer, ok := raw.(crypto.Signer)
	if !ok {
		return nil, invalid("%s is a key of a type that is not accepted", file)
	}
	key := &SSHKey{File: file, Signer: signer}
	public, err := ssh.NewPublicKey(signer.Public())
	if err == nil {
		err = usable(public)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	key.Certificate, err = certificateOf(file, public)
	return key, err
}

// certificateOf reads the certificate beside a host key. One for another key is left over, and is not shown.
func certificateOf(file string, key ssh.PublicKey) (*ssh.Certificate, error) {
	file += "-cert.pub"
	content, err := readUpTo(file, MaxSSHSignature)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(content)
	if err != nil {
		return nil, invalid("%s is not a certificate of OpenSSH", file)
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok || !bytes.Equal(cert.Key.Marshal(), key.Marshal()) {
		return nil, nil
	}
	return cert, nil
}

func readUpTo(file string, most int) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, invalid("%s is not a file", file)
	case info.Size() > int64(most):
		return nil, invalid("%s is longer than %d bytes", file, most)
	}
	return os.ReadFile(file)
}
