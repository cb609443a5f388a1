package manage

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cauase/pkg/durable"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
)

// The files of a CA in a folder, an identity.
const (
	IdentityCertificate = "ca.cert.pem"
	IdentityRequest     = "ca.csr.pem"
	IdentityKey         = "ca.private_key.pem"
	IdentityPublicKey   = "ca.public_key.pem"
)

// Modes of an identity: whoever is in its group may read the certificate, and the key in its encrypted form.
const (
	identityFolderMode fs.FileMode = 0o750
	identityFileMode   fs.FileMode = 0o640
)

// MaxIdentityYears is how long a CA in a folder may be valid.
const MaxIdentityYears = 100

// An Identity is a CA that is to be made in a folder.
type Identity struct {
	Directory string
	Subject   []byte // DER
	KeyType   pki.KeyType
	Years     int
	Root      bool // it is to certify other CAs
	// Passphrase is asked for when all else is known to be right.
	Passphrase func() ([]byte, error)
}

// IdentitySubject returns the DER of a subject of attributes, each as TYPE=VALUE, with values as they are.
func IdentitySubject(fields []string) ([]byte, error) {
	var texts []string
	for _, field := range fields {
		kind, value, found := strings.Cut(field, "=")
		if !found {
			return nil, fmt.Errorf("%q is not TYPE=VALUE", pki.EscapeText(field))
		}
		var escaped strings.Builder
		for _, c := range []byte(value) {
			if strings.IndexByte(`\,+ `, c) >= 0 {
				escaped.WriteByte('\\')
			}
			escaped.WriteByte(c)
		}
		texts = append(texts, kind+"="+escaped.String())
	}
	return pki.ParseSubject(strings.Join(texts, ","))
}

// CreateIdentity makes a CA in a folder that is not there yet, or is empty. Whatever goes wrong, there is all of it or nothing.
func CreateIdentity(now time.Time, of Identity) (_ *x509.Certificate, err error) {
	dir, err := filepath.Abs(of.Directory)
	if err != nil {
		return nil, err
	}
	there, err := vacant(dir)
	if err != nil {
		return nil, err
	}
	key, err := of.KeyType.Generate()
	if err != nil {
		return nil, err
	}
	crt, err := of.certificate(now, key)
	if err != nil {
		return nil, err
	}
	staged := durable.TempName(dir)
	if err := os.Mkdir(staged, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(staged)
		}
	}()
	passphrase, err := of.Passphrase()
	if err != nil {
		return nil, err
	}
	if err := of.fill(staged, key, crt, passphrase); err != nil {
		return nil, err
	}
	if there {
		if err := os.Remove(dir); err != nil {
			return nil, err // somebody has put something into it
		}
	}
	if err := durable.Rename(staged, dir); err != nil {
		return nil, err
	}
	return crt, nil
}

// vacant reports whether there is a folder at a path. One that holds anything, or is none, is an error.
func vacant(dir string) (there bool, err error) {
	switch info, err := os.Lstat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.IsDir():
		return false, &fs.PathError{Op: "create", Path: dir, Err: fs.ErrExist}
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty: it holds %s: %w", dir, pki.EscapeText(entries[0].Name()), fs.ErrExist)
	}
	return true, err
}

// certificate makes the self-signed one.
func (of Identity) certificate(now time.Time, key crypto.Signer) (*x509.Certificate, error) {
	if of.Years < 1 || of.Years > MaxIdentityYears {
		return nil, fmt.Errorf("%d years: from 1 to %d are possible", of.Years, MaxIdentityYears)
	}
	begin := now.UTC().Truncate(time.Second)
	draft := profile.CA{Subject: of.Subject, PublicKey: key.Public(), Serial: pki.NewSerialAt(now), NotBefore: begin,
		NotAfter: begin.AddDate(of.Years, 0, 0), Root: of.Root}
	template, err := draft.Template()
	if err != nil {
		return nil, err
	}
	if template.SignatureAlgorithm, err = pki.SignatureAlgorithm(key.Public()); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pki.ParseCertificateDER(der)
}

// fill writes the files, and gives the folder its mode last.
func (of Identity) fill(dir string, key crypto.Signer, crt *x509.Certificate, passphrase []byte) error {
	private, err := pki.EncryptPrivateKeyPEM(key, passphrase)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: of.Subject}, key)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		IdentityCertificate: pki.EncodeCertificatePEM(crt.Raw),
		IdentityRequest:     pki.EncodeCSRPEM(request),
		IdentityKey:         private,
		IdentityPublicKey:   pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	} {
		options := durable.Options{Prepare: func(f *os.File) error { return f.Chmod(identityFileMode) }}
		if err := durable.WriteNew(filepath.Join(dir, name), content, options); err != nil {
			return err
		}
	}
	if err := os.Chmod(dir, identityFolderMode); err != nil {
		return err
	}
	return durable.SyncFolder(dir)
}

// IdentityFiles are those of a folder by which an authority adopts the CA in it.
func IdentityFiles(dir string) []string {
	return []string{filepath.Join(dir, IdentityCertificate), filepath.Join(dir, IdentityKey)}
}
