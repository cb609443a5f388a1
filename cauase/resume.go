package main

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// prepare finds the key and request of an earlier run, or decides that new ones may be made. It
// is done if an earlier run has got the certificate already.
func (t *tool) prepare(r *enrolment, wanted *x509.CertificateRequest, force bool) (from enroll.Files, done bool, err error) {
	if err := t.recoverPair(r.engine); err != nil && !errors.Is(err, pemfile.ErrMismatch) && !nothingToRecover(err) {
		return from, false, err
	}
	from = enroll.Look(r.engine.Paths)
	if !force {
		switch {
		case errors.Is(from.Err, fs.ErrNotExist):
			if done, err := t.resume(r, wanted, from); err == nil && r.Request != nil {
				return from, done, nil
			}
		case from.Err != nil:
			return from, false, manners.WithHint(from.Err, "--force replaces what is there")
		default:
			done, err := t.resume(r, wanted, from)
			return from, done, err
		}
	}
	if err := r.checkReplaceable(force); err != nil {
		return from, false, err
	}
	return from, false, enroll.CheckTemplate(wanted)
}

// checkReplaceable refuses to overwrite what is not from an earlier run: a name may have been mistyped.
func (r *enrolment) checkReplaceable(force bool) error {
	keyFile := r.engine.Paths.KeyPath()
	if !force {
		for _, path := range []string{r.engine.Paths.Crt, keyFile} {
			// Writing says what is wrong with a symbolic link.
			info, err := os.Lstat(path)
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if data, err := pemfile.Read(path); err == nil && len(bytes.TrimSpace(data)) > 0 {
				return manners.WithHint(fmt.Errorf("%s exists, and the key that goes with it is not in %s", path, keyFile), "choose another file, or replace what is there with --force")
			}
		}
	}
	data, err := pemfile.Read(r.csr)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return nil //nolint:nilerr // not there, or its writing will say what is wrong with it
	}
	if _, err := pki.ParseRequest(data); err != nil {
		return manners.WithHint(fmt.Errorf("%s holds something else than a request, and would lose it", r.csr), "choose another file for the request with --csr")
	}
	return nil
}

// resume reuses an existing key, in place or staged. That is safe if its request is
// there too and was for the same name; otherwise another key would be replaced.
func (t *tool) resume(r *enrolment, wanted *x509.CertificateRequest, from enroll.Files) (done bool, err error) {
	exists := fmt.Errorf("%s holds a private key already", r.engine.Paths.KeyPath())
	data, err := pemfile.Read(r.csr)
	if errors.Is(err, fs.ErrNotExist) {
		return false, manners.WithHint(exists, "choose another file, or replace the key with --force")
	}
	if err != nil {
		return false, err
	}
	found, err := r.engine.Resume(data, from)
	switch {
	case err != nil && !errors.Is(err, enroll.ErrOtherKey):
		return false, fmt.Errorf("%s: %w", r.csr, err)
	case err != nil || found.CSR.Subject.CommonName != wanted.Subject.CommonName:
		return false, manners.WithHint(exists, "%s holds the request of another key or name; choose another file, or replace the key with --force", r.csr)
	}
	if missing := missing(wanted, found.CSR); missing != "" {
		return false, manners.WithHint(fmt.Errorf("%s is a request without %s", r.csr, missing), "choose other files, or make a new key and request with --force")
	}
	crt := from.Pair.Crt
	if crt != nil && !found.Staged && pki.CheckValidity(crt, t.clock.Now()) == nil {
		t.note("%s holds a valid certificate for this request already; --force makes a new key and request", r.engine.Paths.Crt)
		r.Request = found
		return true, nil
	}
	r.Request = found
	return false, nil
}

// missing says what is wanted and not in a request, "" for nothing. Not all that a
// request asks for has to be repeated to resume it.
func missing(wanted, have *x509.CertificateRequest) string {
	lists := []struct {
		flag         string
		wanted, have []string
	}{
		{"org", wanted.Subject.Organization, have.Subject.Organization},
		{"ou", wanted.Subject.OrganizationalUnit, have.Subject.OrganizationalUnit},
		{"country", wanted.Subject.Country, have.Subject.Country},
		{"dns", wanted.DNSNames, have.DNSNames},
		{"ip", stringsOf(wanted.IPAddresses), stringsOf(have.IPAddresses)},
		{"email", wanted.EmailAddresses, have.EmailAddresses},
		{"uri", stringsOf(wanted.URIs), stringsOf(have.URIs)},
	}
	for _, list := range lists {
		for _, name := range list.wanted {
			if !slices.Contains(list.have, name) {
				return fmt.Sprintf("--%s %s", list.flag, name)
			}
		}
	}
	for _, ext := range wanted.ExtraExtensions {
		if !slices.ContainsFunc(have.Extensions, func(e pkix.Extension) bool {
			return e.Id.Equal(ext.Id) && bytes.Equal(e.Value, ext.Value)
		}) {
			return "these --eku"
		}
	}
	return ""
}

func stringsOf[T fmt.Stringer](list []T) []string {
	var all []string
	for _, item := range list {
		all = append(all, item.String())
	}
	return all
}
