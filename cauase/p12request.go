package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"cauase/pkg/durable"
	"cauase/pkg/p12"
	"cauase/pkg/pemfile"

	manners "cauase/pkg/cli"
)

// wantP12 reads whether, and how, the certificate is to be in a PKCS #12 file, too.
func (t *tool) wantP12(c *cli.Context, r *enrolment) (err error) {
	path := c.String(flagP12)
	if path == "" {
		for _, name := range []string{flagP12Password, flagMake, flagLegacy, flagP12} {
			if c.IsSet(name) {
				return errUsage(c, fmt.Sprintf("--%s is about a PKCS #12 file: give --%s FILE", name, flagP12))
			}
		}
		return nil
	}
	_, err = os.Lstat(workingKey(path))
	r.p12, err = t.p12Output(c, path, r.p12Only && err == nil)
	return err
}

// already ends a command whose certificate an earlier run has got.
func (t *tool) already(r *enrolment, pair pemfile.Pair) error {
	if r.p12 != nil {
		if err := t.bundle(r, pair); err != nil {
			return err
		}
	}
	view := t.viewCertificate(pair.Crt)
	view.File, view.P12 = r.engine.Paths.Crt, t.p12Made
	if !t.json && view.P12 == nil {
		return nil
	}
	return t.print(view, func(p *printer) { p.p12(*view.P12) })
}

// workingKey is where the key is kept that will be in a PKCS #12 file only, until that is there.
func workingKey(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".key")
}

// bundle puts a pair that was issued, and the CA certificates that stand behind it, into the PKCS #12 file of a request. A key that
// is to be there only is removed once it is.
func (t *tool) bundle(r *enrolment, pair pemfile.Pair) error {
	candidates := slices.Concat(pair.Chain, t.trusted, t.roots)
	if stored, err := t.caStore.ReadCertificates(); err == nil {
		candidates = append(candidates, stored...)
	}
	if stored, err := t.rootStore.ReadCertificates(); err == nil {
		candidates = append(candidates, stored...)
	}
	candidates = slices.DeleteFunc(candidates, func(crt *x509.Certificate) bool { return !crt.IsCA })
	id := p12.Identity{Key: pair.Key, Crt: pair.Crt, Chain: p12.ChainOf(pair.Crt, candidates)}
	if err := t.writeP12(r.p12, id); err != nil {
		return manners.WithHint(fmt.Errorf("the certificate was issued, but %w", err), "key and certificate are in %s and %s, from which %s p12 makes the file", r.engine.Paths.KeyPath(), r.engine.Paths.Crt, toolName)
	}
	view := r.p12.view(id)
	t.p12Made = &view
	if !r.p12Only {
		return nil
	}
	key := r.engine.Paths.KeyPath()
	if err := os.Remove(key); err != nil {
		return fmt.Errorf("%s is written, but the key outside of it cannot be removed: %w", r.p12.path, err)
	}
	return durable.SyncFolder(filepath.Dir(key))
}
