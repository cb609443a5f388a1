package pemfile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"

	"cauase/pkg/pki"
)

// ErrMismatch is a key and a certificate that do not belong together.
var ErrMismatch = errors.New("the key does not match the certificate")

// A Pair is a private key and its certificate, in two files or in one.
type Pair struct {
	Key crypto.Signer
	Crt *x509.Certificate // nil where a file holds only the key so far

	// Chain are the intermediate CA certificates that stand behind Crt in its file, its
	// issuer first: what a TLS server sends along. A self-signed one is not among them.
	Chain []*x509.Certificate
}

// PEM encodes the certificate and what stands behind it, in the order in which TLS sends
// them (RFC 8446 4.4.2) and RFC 8555 7.4.2 writes them.
func (p Pair) PEM() []byte {
	content := pki.EncodeCertificatePEM(p.Crt.Raw)
	for _, ca := range p.Chain {
		content = append(content, pki.EncodeCertificatePEM(ca.Raw)...)
	}
	return content
}

// chainOf returns those of candidates that lead from crt towards its root, in their order.
// Certificates that have nothing to do with crt are passed over, and so is a self-signed one:
// whoever needs it has it already.
func chainOf(crt *x509.Certificate, candidates []*x509.Certificate) []*x509.Certificate {
	var chain []*x509.Certificate
	last := crt
	for _, ca := range candidates {
		if bytes.Equal(last.RawIssuer, ca.RawSubject) && !bytes.Equal(ca.RawIssuer, ca.RawSubject) && last.CheckSignatureFrom(ca) == nil {
			chain = append(chain, ca)
			last = ca
		}
	}
	return chain
}

// PairPaths says where a Pair is kept. Without Key, Crt holds both.
type PairPaths struct {
	Crt string
	Key string

	Attributes Attributes
}

// Combined reports whether key and certificate share a file.
func (p PairPaths) Combined() bool { return p.Key == "" || p.Key == p.Crt }

// KeyPath is the file with the key in it.
func (p PairPaths) KeyPath() string {
	if p.Combined() {
		return p.Crt
	}
	return p.Key
}

// ReadPair reads a key, the certificate that goes with it, and the chain behind that. Other
// certificates beside it are passed over. A certificate file that does not exist, or holds
// nothing yet, leaves Crt nil; one that holds only certificates of other keys is
// [ErrMismatch].
func ReadPair(paths PairPaths) (Pair, error) {
	pair, _, _, err := LoadPair(paths)
	return pair, err
}

// LoadPair is ReadPair with the files' contents: whatever pair is in them. They are there as far as
// they could be read, and crt is nothing where both are in one file.
func LoadPair(paths PairPaths) (pair Pair, key, crt Content, err error) {
	key, keyErr := paths.Attributes.Read(paths.KeyPath())
	if paths.Combined() {
		pair, err = assemble(paths, key, keyErr, key, keyErr)
		return pair, key, Content{}, err
	}
	crt, crtErr := paths.Attributes.Read(paths.Crt)
	pair, err = assemble(paths, key, keyErr, crt, crtErr)
	return pair, key, crt, err
}

// assemble makes a pair of what was read.
func assemble(paths PairPaths, keyFile Content, keyErr error, crtFile Content, crtErr error) (Pair, error) {
	if keyErr != nil {
		return Pair{}, keyErr
	}
	key, err := paths.Attributes.keyOf(paths.KeyPath(), keyFile.Data)
	switch {
	case err != nil:
		return Pair{}, err
	case errors.Is(crtErr, fs.ErrNotExist):
		return Pair{Key: key}, nil
	case crtErr != nil:
		return Pair{}, crtErr
	}
	crts, err := CertificatesOf(paths.Crt, crtFile.Data)
	if err != nil {
		return Pair{}, err
	}
	for i, crt := range crts {
		if pki.SameKey(key.Public(), crt.PublicKey) {
			return Pair{Key: key, Crt: crt, Chain: chainOf(crt, crts[i+1:])}, nil
		}
	}
	if len(crts) > 0 {
		return Pair{}, fmt.Errorf("%s and %s: %w", paths.KeyPath(), paths.Crt, ErrMismatch)
	}
	return Pair{Key: key}, nil
}

// ReadKey reads the one private key of a file, which may hold certificates too. A file
// without a key is fs.ErrNotExist as well as one that does not exist.
func ReadKey(path string) (crypto.Signer, error) { return Attributes{}.ReadKey(path) }

// ReadKey does so as far as Guard and Follow let it.
func (a Attributes) ReadKey(path string) (crypto.Signer, error) {
	content, err := a.Read(path)
	if err != nil {
		return nil, err
	}
	return a.keyOf(path, content.Data)
}

func (a Attributes) keyOf(path string, content []byte) (crypto.Signer, error) {
	blocks, err := pki.SplitPEM(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var key crypto.Signer
	for _, block := range blocks {
		if !pki.IsPrivateKeyBlock(block) {
			continue
		}
		if key != nil {
			return nil, fmt.Errorf("%s holds several private keys", path)
		}
		if key, err = a.Lock.key(block); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if key == nil {
		return nil, noKeyError(path)
	}
	return key, nil
}

// A noKeyError is a file without a private key. For those who look for one it is as good as none.
type noKeyError string

func (e noKeyError) Error() string { return string(e) + " holds no private key" }

// Is makes it one of fs.ErrNotExist.
func (e noKeyError) Is(target error) bool { return target == fs.ErrNotExist }

// ReadCertificates reads the certificates of one file, which may hold keys too.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	content, err := Read(path)
	if err != nil {
		return nil, err
	}
	return CertificatesOf(path, content)
}

// CertificatesOf returns the certificates in the content of a file, which may hold keys too.
func CertificatesOf(path string, content []byte) ([]*x509.Certificate, error) {
	blocks, err := pki.SplitPEM(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var crts []*x509.Certificate
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue
		}
		crt, err := pki.ParseIssuedDER(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		crts = append(crts, crt)
	}
	return crts, nil
}

// WritePair puts a key and its certificate, with its chain, in place together. It refuses a pair that
// does not match before it touches anything.
func WritePair(paths PairPaths, pair Pair) (changed bool, err error) {
	if pair.Crt == nil || !pki.SameKey(pair.Key.Public(), pair.Crt.PublicKey) {
		return false, ErrMismatch
	}
	key, err := paths.Attributes.EncodeKey(pair.Key)
	if err != nil {
		return false, err
	}
	// Whatever else is in the files stays there: parameters, comments, certificates of others.
	old, err := paths.current()
	if err != nil {
		return false, err
	}
	if paths.Combined() {
		content := merged(old.key, key, pair.Crt, pair.Chain)
		return Write(File{Path: paths.Crt, Content: content, Secret: true, Attributes: paths.Attributes})
	}
	// The key goes first: a new key found alone shows what was about to happen, and
	// the certificate for it can be fetched again.
	crt, secret := mergedCrt(old.crt, old.signer, key, pair.Crt, pair.Chain)
	return WriteAll(
		File{Path: paths.Key, Content: mergedKey(old.key, key), Secret: true, Attributes: paths.Attributes},
		File{Path: paths.Crt, Content: crt, Secret: secret, Attributes: paths.Attributes},
	)
}

// A current pair is what the files hold that a new one is about to replace.
type current struct {
	key, crt []byte
	signer   crypto.Signer // nil if there is none that can be read
}

func (p PairPaths) current() (c current, err error) {
	key, err := p.Attributes.readIfThere(p.KeyPath())
	if err != nil {
		return c, err
	}
	c.key = key
	if c.signer, err = p.Attributes.keyOf(p.KeyPath(), key); err != nil {
		c.signer = nil
	}
	if !p.Combined() {
		c.crt, err = p.Attributes.readIfThere(p.Crt)
		return c, err
	}
	return c, nil
}

// readIfThere is Read, with nothing for a file that does not exist.
func (a Attributes) readIfThere(path string) ([]byte, error) {
	content, err := a.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return content.Data, err
}

// AddCertificate stores a certificate, with its chain, where [PairPaths] say. With a combined file that
// exists, the key in it is kept and must match; a certificate in it gives way. With
// separate files, the key file must match if it exists. A certificate file that holds
// one for another key is not overwritten: that is [ErrMismatch].
func AddCertificate(paths PairPaths, crt *x509.Certificate, chain ...*x509.Certificate) (changed bool, err error) {
	key, err := paths.Attributes.ReadKey(paths.KeyPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if key != nil && !pki.SameKey(key.Public(), crt.PublicKey) {
		return false, fmt.Errorf("%s: %w", paths.KeyPath(), ErrMismatch)
	}
	if paths.Combined() && key != nil {
		found, err := paths.Attributes.Read(paths.Crt)
		if err != nil {
			return false, err
		}
		content := merged(found.Data, nil, crt, chain)
		return Write(File{Path: paths.Crt, Content: content, Secret: true, Attributes: paths.Attributes})
	}
	old, err := paths.Attributes.Read(paths.Crt)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if len(bytes.TrimSpace(old.Data)) > 0 {
		crts, err := CertificatesOf(paths.Crt, old.Data)
		if err != nil {
			return false, err
		}
		if len(crts) == 0 || !pki.SameKey(crts[0].PublicKey, crt.PublicKey) {
			return false, fmt.Errorf("%s holds something else: %w", paths.Crt, ErrMismatch)
		}
	}
	content, secret := mergedCrt(old.Data, key, nil, crt, chain)
	return Write(File{Path: paths.Crt, Content: content, Secret: secret, Attributes: paths.Attributes})
}
