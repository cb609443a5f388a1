// Package p12 makes PKCS #12 files (RFC 7292): a private key, its certificate and the chain behind that, encrypted with
// a password, in the form in which browsers, mail programs, Windows and Java import identities.
package p12

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"cauase/pkg/pki"
)

// A Form is how a file is encrypted, which decides who can read it.
type Form int

// The forms. Modern is PBES2 with PBKDF2, HMAC-SHA-256 and AES-256, authenticated by HMAC-SHA-256: OpenSSL 1.1.1, Java 12,
// Windows Server 2019, Windows 10 1709, and whatever is newer. Legacy is 3DES and SHA-1, for what is older.
const (
	Modern Form = iota
	Legacy
)

// How often a password is stretched. Each file does so three times, once each for key, certificates and authentication,
// and Windows and NSS refuse files that ask for more than 600,000 together. What is old takes what openssl has always written.
const (
	modernIterations = 150_000
	legacyIterations = 2048
)

func (f Form) encoder() *pkcs12.Encoder {
	if f == Legacy {
		return pkcs12.LegacyDES.WithIterations(legacyIterations)
	}
	return pkcs12.Modern2023.WithIterations(modernIterations)
}

// An Identity is what a file holds.
type Identity struct {
	Key   crypto.Signer
	Crt   *x509.Certificate
	Chain []*x509.Certificate // CA certificates, the issuer of Crt first
}

// ErrPassword means that a file cannot be opened with the password given.
var ErrPassword = errors.New("wrong password")

// Encode makes a file, and reads it back: what cannot be read here is not handed out.
func Encode(id Identity, password string, form Form) ([]byte, error) {
	if err := CheckPassword(password); err != nil {
		return nil, err
	}
	if id.Key == nil || id.Crt == nil || !pki.SameKey(id.Key.Public(), id.Crt.PublicKey) {
		return nil, errors.New("the key does not match the certificate")
	}
	file, err := form.encoder().Encode(id.Key, id.Crt, id.Chain, password)
	if err != nil {
		return nil, fmt.Errorf("a key of type %T cannot be put into a PKCS #12 file", id.Key) // whatever the library quotes
	}
	back, err := Decode(file, password)
	if err != nil {
		return nil, fmt.Errorf("the PKCS #12 file that was made cannot be read: %w", err)
	}
	if !back.Equal(id) {
		return nil, errors.New("the PKCS #12 file that was made does not hold what it should")
	}
	return file, nil
}

// MaxSize bounds the files that are read, in bytes.
const MaxSize = 1 << 20

// Decode reads a file of either form.
func Decode(file []byte, password string) (id Identity, err error) {
	if len(file) > MaxSize {
		return id, fmt.Errorf("longer than %d bytes", MaxSize)
	}
	key, crt, chain, err := pkcs12.DecodeChain(file, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return id, ErrPassword
	case err != nil:
		return id, errors.New("not a PKCS #12 file that can be read here") // whatever the library quotes
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return id, fmt.Errorf("its key, a %T, cannot sign", key)
	}
	return Identity{Key: signer, Crt: crt, Chain: chain}, nil
}

// Equal reports whether two identities are one.
func (id Identity) Equal(other Identity) bool {
	same := func(a, b *x509.Certificate) bool { return a.Equal(b) }
	return id.Crt.Equal(other.Crt) && pki.SameKey(id.Key.Public(), other.Key.Public()) && slices.EqualFunc(id.Chain, other.Chain, same)
}

// maxPassword bounds passwords, in characters. Windows takes no more than 127 in some places, Java less than 50 in a few.
const maxPassword = 127

// CheckPassword refuses passwords with which not everybody who should could open a file.
func CheckPassword(password string) error {
	switch {
	case password == "":
		return errors.New("the password is empty")
	case !utf8.ValidString(password):
		return errors.New("the password is not UTF-8")
	case utf8.RuneCountInString(password) > maxPassword:
		return fmt.Errorf("the password is longer than %d characters, which not every program accepts", maxPassword)
	case strings.ContainsFunc(password, unicode.IsControl):
		return errors.New("the password has a control character in it")
	case strings.ContainsFunc(password, func(r rune) bool { return utf16.RuneLen(r) != 1 }):
		return errors.New("the password has a character in it that PKCS #12 has no place for, such as an emoji (it encodes passwords as BMPString, RFC 7292 B.1)")
	}
	return nil
}

// Portable reports whether all programs read a password alike. Beyond ASCII some encode it in ways of their own.
func Portable(password string) bool {
	return !strings.ContainsFunc(password, func(r rune) bool { return r > unicode.MaxASCII })
}

// letters are those of made passwords: 32, none of which looks or sounds like another one too much.
const letters = "abcdefghijkmnpqrstuvwxyz23456789"

// NewPassword makes a password of a hundred random bits that is read, said and typed without mistakes.
func NewPassword() (string, error) {
	random := make([]byte, 20)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	var text strings.Builder
	for i, b := range random {
		if i > 0 && i%4 == 0 {
			text.WriteByte('-')
		}
		text.WriteByte(letters[b&31])
	}
	return text.String(), nil
}

// Unsupported says who is known not to take keys of this kind from a file, "" for nobody.
func Unsupported(pub crypto.PublicKey) string {
	if _, isEd25519 := pub.(ed25519.PublicKey); isEd25519 {
		return "browsers, Windows, macOS, and Java before 15"
	}
	return ""
}

// ChainOf returns those of candidates that lead from a certificate to its root, which is the last of them if it is there.
func ChainOf(crt *x509.Certificate, candidates []*x509.Certificate) (chain []*x509.Certificate) {
	for last := crt; len(chain) <= len(candidates) && last.CheckSignatureFrom(last) != nil; last = chain[len(chain)-1] {
		i := slices.IndexFunc(candidates, func(ca *x509.Certificate) bool {
			return !slices.ContainsFunc(chain, ca.Equal) && last.CheckSignatureFrom(ca) == nil
		})
		if i < 0 {
			break
		}
		chain = append(chain, candidates[i])
	}
	return chain
}
