package keys

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cauase/pkg/durable"
)

// A Secret is the content of a secret file: one of the two inputs that open KEKs.
type Secret [32]byte

const (
	secretPrefix  = "cauase-key-secret-1 "
	maxSecretFile = 1024
)

// ID tells secrets apart. It says nothing about them: it is what HKDF makes of them for this purpose.
func (s *Secret) ID() string {
	id, err := hkdf.Expand(sha256.New, s[:], "cauase key secret identifier", 8)
	if err != nil {
		panic(err) // of a length that HKDF does not have
	}
	return hex.EncodeToString(id)
}

// ErrSecretFile means that there is a secret file which must not be used as it is.
var ErrSecretFile = errors.New("the key secret cannot be used")

// ReadSecret reads a secret file, fs.ErrNotExist if there is none. It belongs to us or to root, and nobody else can read it.
func ReadSecret(path string) (*Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := checkPrivate(f, path); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile))
	if err != nil {
		return nil, err
	}
	defer clear(text)
	encoded, ok := bytes.CutPrefix(bytes.TrimSpace(text), []byte(secretPrefix))
	var s Secret
	if n, err := base64.StdEncoding.Strict().Decode(make([]byte, base64.StdEncoding.DecodedLen(len(encoded))), encoded); !ok || err != nil || n != len(s) {
		return nil, fmt.Errorf("%w: %s is not a file that cauased has made: it is one line, %q and 44 characters of base64", ErrSecretFile, path, secretPrefix)
	}
	decoded, _ := base64.StdEncoding.DecodeString(string(encoded))
	copy(s[:], decoded)
	clear(decoded)
	return &s, nil
}

// checkPrivate refuses a file that others than its owner can read, or that belongs to somebody else.
func checkPrivate(f *os.File, path string) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a regular file", ErrSecretFile, path)
	}
	if IsCredential(path) {
		return nil // the folder keeps others out, and what access lists of files in it look like is systemd's
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%w: %s has mode %04o, and others than its owner must not be able to read or change it: chmod 600 %s", ErrSecretFile, path, mode, path)
	}
	if owner, ok := ownerOf(info); ok && owner != os.Geteuid() && owner != 0 {
		return fmt.Errorf("%w: %s belongs to the user with id %d, and not to the one that runs this, %d, or to root", ErrSecretFile, path, owner, os.Geteuid())
	}
	return nil
}

// CheckPrivate is checkPrivate for other files with something secret in them.
func CheckPrivate(f *os.File, path string) error { return checkPrivate(f, path) }

// IsCredential reports whether a file is one that systemd has handed over.
func IsCredential(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return dir != "" && filepath.IsAbs(dir) && filepath.Dir(filepath.Clean(path)) == filepath.Clean(dir)
}

// NewSecret makes a secret, which is in no file yet.
func NewSecret() (*Secret, error) {
	var s Secret
	_, err := rand.Read(s[:])
	return &s, err
}

// Write puts the secret on disk, at a path where nothing is: fs.ErrExist otherwise.
func (s *Secret) Write(path string) error {
	text := append([]byte(secretPrefix), base64.StdEncoding.EncodeToString(s[:])...)
	defer clear(text)
	f, err := durable.Create(path, 0o600)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := f.Set(append(text, '\n')); err != nil {
		return err
	}
	// A part of it would be one that opens nothing, and that nothing replaces.
	if err := f.Publish(); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(path))
}

// NextSecret is where a secret is that is to replace the one at path, until it has.
func NextSecret(path string) string { return path + ".new" }

// FindSecret returns the secret with this id: that of the file, or the one that is to replace it, if whoever began that was interrupted
// after the KEKs were encrypted with it. Then it is put in place. ErrLocked if it is neither.
func FindSecret(path, id string) (*Secret, error) {
	s, err := ReadSecret(path)
	if err == nil && s.ID() == id {
		return s, nil
	}
	next, nextErr := ReadSecret(NextSecret(path))
	if nextErr == nil && next.ID() == id {
		// Where it cannot be renamed, as with a folder that is read-only, it is found again in the same way.
		_ = durable.Rename(NextSecret(path), path)
		return next, nil
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no key secret at %s", ErrLocked, path)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return nil, fmt.Errorf("%w: the key secret at %s is another one (%s) than that which the keys are sealed with (%s)", ErrLocked, path, s.ID(), id)
}
