package server

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/pki"
)

// A ServerIssuer certifies the daemon's own HTTPS key. The HTTPS authority is one.
type ServerIssuer interface {
	IssueServer(ctx context.Context, pub crypto.PublicKey) (leaf, issuer *x509.Certificate, err error)
	CACertificates(ctx context.Context) ([]*x509.Certificate, error)
}

// KeyPairConfig says what kind of key pair to keep, and where.
type KeyPairConfig struct {
	Path      string        // of a file with the key, its certificate and that of the CA, PEM
	Host      string        // that the certificate has to name
	Threshold time.Duration // how long before its expiry a certificate is renewed
	Issuer    ServerIssuer
	Clock     clock.Clock
	Log       *slog.Logger
}

// A KeyPair is the daemon's own HTTPS key and certificate. The file is the truth: what is
// put there in place of ours is used if it is usable, and replaced if not.
type KeyPair struct {
	cfg KeyPairConfig

	mu      sync.Mutex
	file    []byte // what current was read from or written as
	current *tls.Certificate

	// unwritten is what was issued last and could not be written yet.
	unwritten *pairFile
}

// A pairFile is a key pair and the file it makes.
type pairFile struct {
	data []byte
	crt  *tls.Certificate
}

// NewKeyPair returns a KeyPair that has nothing yet. Refresh gives it something.
func NewKeyPair(cfg KeyPairConfig) *KeyPair { return &KeyPair{cfg: cfg} }

// Certificate returns what to show in handshakes, nil before the first Refresh.
func (k *KeyPair) Certificate() *tls.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// Refresh reads the file again and, when its certificate is due for renewal or there is
// anything wrong with it, replaces it by a fresh key with a fresh certificate. Only a
// problem with that is an error; what was current stays so. The key is of the type of the
// HTTPS authority's, so that a deployment is of one kind throughout.
func (k *KeyPair) Refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.cfg.Clock.Now()
	cas, err := k.cfg.Issuer.CACertificates(ctx)
	if err != nil {
		return fmt.Errorf("HTTPS CA: %w", err)
	}
	data, loaded, err := k.load(cas, now)
	if err == nil {
		if renewAt := k.renewAt(loaded.Leaf); now.Before(renewAt) {
			k.file, k.current = data, loaded
			return nil
		}
		k.cfg.Log.InfoContext(ctx, "the HTTPS certificate is due for renewal", "not_after", loaded.Leaf.NotAfter)
	} else {
		k.cfg.Log.InfoContext(ctx, "the HTTPS key pair is made anew", "path", k.cfg.Path, "because", pki.EscapeText(err.Error()))
	}
	if err := k.renew(ctx, cas, now); err != nil {
		return fmt.Errorf("HTTPS key pair %q: %w", k.cfg.Path, err)
	}
	return nil
}

// Check returns an error unless there is a certificate that is valid now.
func (k *KeyPair) Check() error {
	crt := k.Certificate()
	if crt == nil {
		return errors.New("no HTTPS certificate")
	}
	return pki.CheckValidity(crt.Leaf, k.cfg.Clock.Now())
}

// renewAt is when leaf is to be replaced. A certificate that lives less than twice the
// threshold is used for half its life: otherwise it would be due as soon as it is made.
func (k *KeyPair) renewAt(leaf *x509.Certificate) time.Time {
	margin := min(k.cfg.Threshold, leaf.NotAfter.Sub(leaf.NotBefore)/2)
	return leaf.NotAfter.Add(-margin)
}

// load reads the file and checks that it can be used at now. Why not is its error.
func (k *KeyPair) load(cas []*x509.Certificate, now time.Time) ([]byte, *tls.Certificate, error) {
	data, err := readKeyPair(k.cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	if k.current != nil && bytes.Equal(data, k.file) {
		// Parsed and matched before; time and CAs may have moved on.
		return data, k.current, k.verify(k.current.Leaf, cas, now)
	}
	crt, err := parseKeyPair(data)
	if err != nil {
		return nil, nil, err
	}
	return data, crt, k.verify(crt.Leaf, cas, now)
}

func readKeyPair(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there is none")
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > pki.MaxBundleSize:
		return nil, errors.New("not a regular file of reasonable size")
	case info.Mode().Perm()&0o077 != 0:
		return nil, errors.New("others than its owner could have read the key")
	}
	return os.ReadFile(path)
}

// parseKeyPair reads a key, then the certificates, the key's own first.
func parseKeyPair(data []byte) (*tls.Certificate, error) {
	blocks, err := pki.SplitPEM(data)
	if err != nil {
		return nil, err
	}
	crt := &tls.Certificate{}
	for _, block := range blocks {
		switch {
		case !pki.IsPrivateKeyBlock(block):
			crt.Certificate = append(crt.Certificate, block.Bytes)
		case crt.PrivateKey != nil:
			return nil, errors.New("several private keys")
		default:
			if crt.PrivateKey, err = pki.ParsePrivateKeyBlock(block); err != nil {
				return nil, err
			}
		}
	}
	if crt.PrivateKey == nil || len(crt.Certificate) == 0 {
		return nil, errors.New("key or certificate is missing")
	}
	if crt.Leaf, err = pki.ParseCertificateDER(crt.Certificate[0]); err != nil {
		return nil, err
	}
	if signer, ok := crt.PrivateKey.(crypto.Signer); !ok || !pki.SameKey(signer.Public(), crt.Leaf.PublicKey) {
		return nil, errors.New("key and certificate do not belong together")
	}
	return crt, nil
}

// verify checks that leaf is one of ours, valid, and for our host.
func (k *KeyPair) verify(leaf *x509.Certificate, cas []*x509.Certificate, now time.Time) error {
	if _, err := pki.VerifyIssued(leaf, cas, now); err != nil {
		return err
	}
	return leaf.VerifyHostname(k.cfg.Host)
}

// renew makes a key pair, writes it, and only then uses it. While the file cannot be written it
// tries so with the same one: each that is issued is on record for months.
func (k *KeyPair) renew(ctx context.Context, cas []*x509.Certificate, now time.Time) error {
	made := k.unwritten
	if made == nil || k.verify(made.crt.Leaf, cas, now) != nil || !now.Before(k.renewAt(made.crt.Leaf)) {
		var err error
		if made, err = k.issue(ctx, cas); err != nil {
			return err
		}
	}
	k.unwritten = made
	if err := writePrivateFile(k.cfg.Path, made.data); err != nil {
		return err
	}
	k.file, k.current, k.unwritten = made.data, made.crt, nil
	k.cfg.Log.InfoContext(ctx, "new HTTPS certificate", "not_after", made.crt.Leaf.NotAfter, "path", k.cfg.Path)
	return nil
}

// issue makes a key and has it certified.
func (k *KeyPair) issue(ctx context.Context, cas []*x509.Certificate) (*pairFile, error) {
	keyType, err := pki.KeyTypeOf(cas[len(cas)-1].PublicKey)
	if err != nil {
		keyType = pki.DefaultKeyType // an imported CA of a kind that is not made any more
	}
	key, err := keyType.Generate()
	if err != nil {
		return nil, err
	}
	keyPEM, err := pki.EncodePrivateKeyPEM(key)
	if err != nil {
		return nil, err
	}
	leaf, issuer, err := k.cfg.Issuer.IssueServer(ctx, key.Public())
	if err != nil {
		return nil, err
	}
	return &pairFile{
		data: slices.Concat(keyPEM, pki.EncodeCertificatePEM(leaf.Raw), pki.EncodeCertificatePEM(issuer.Raw)),
		crt:  &tls.Certificate{Certificate: [][]byte{leaf.Raw, issuer.Raw}, PrivateKey: key, Leaf: leaf},
	}, nil
}
