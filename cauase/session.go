package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// session brings trust up to date and prepares to act as the user.
func (t *tool) session(ctx context.Context) (*client.Session, error) {
	user, err := t.user()
	if err != nil {
		return nil, err
	}
	c, err := t.trust(ctx)
	if err != nil {
		return nil, err
	}
	before := t.vouchedBefore(c.URL())
	s, err := c.Connect(ctx, tls.Certificate{
		Certificate: [][]byte{user.Crt.Raw}, PrivateKey: user.Key, Leaf: user.Crt,
	}, t.trusted, client.Caucase{Allowed: t.caucase, Vouched: before != ""})
	switch {
	case errors.Is(err, client.ErrVouchedBefore):
		return nil, manners.WithHint(err, "somebody may be answering in the CA's place; if a reference caucased has replaced the daemon, remove %s after making sure, and give --caucase", before)
	case err != nil:
		return nil, err
	case !s.Verified():
		t.warn("--caucase: this daemon does not vouch for its HTTPS certificate, so that what it answers is not authenticated")
		return s, nil
	}
	t.vouched = true
	if t.caucase && !t.firstUse {
		err = t.rememberVouched()
	}
	return s, err
}

// user reads whom to act as.
func (t *tool) user() (pemfile.Pair, error) {
	if t.userKey == "" {
		return pemfile.Pair{}, manners.WithHint(errors.New("only users may do this"), "give a user's key and certificate with --user-key FILE")
	}
	paths, err := t.unlock(pemfile.PairPaths{Crt: t.userKey})
	if err != nil {
		return pemfile.Pair{}, fmt.Errorf("--user-key: %w", err)
	}
	user, err := pemfile.ReadPair(paths)
	if err == nil && user.Crt == nil {
		err = fmt.Errorf("%s holds no certificate", t.userKey)
	}
	if err == nil {
		err = pki.CheckValidity(user.Crt, t.clock.Now())
	}
	if err != nil {
		return user, fmt.Errorf("--user-key: %w", err)
	}
	return user, nil
}

// vouchedBefore returns the file that records that the daemon at a URL has vouched for its HTTPS
// certificate, "" for none. For the authority at work any recorded URL counts, for others this one.
func (t *tool) vouchedBefore(url string) string {
	own := enroll.VouchedBeside(t.caStore.Path)
	if addresses, err := own.Addresses(); len(addresses) > 0 || t.unreadable(err) {
		return own.Path
	}
	for _, location := range t.builtIn {
		other := enroll.VouchedBeside(location)
		addresses, err := other.Addresses()
		if slices.ContainsFunc(addresses, func(a string) bool { return strings.EqualFold(a, url) }) || t.unreadable(err) {
			return other.Path
		}
	}
	return ""
}

// unreadable reports whether a record cannot be read. It is then taken to exist, which fails closed.
func (t *tool) unreadable(err error) bool {
	if err != nil && t.caucase {
		t.warn("%v: so the daemon is taken for one that vouches for its HTTPS certificate", err)
	}
	return err != nil
}

// rememberVouched records that the daemon vouches for its HTTPS certificate. It is called once the command has
// succeeded, as one that fails leaves nothing behind; with --caucase, whose effect depends on the record, before
// anything is sent.
func (t *tool) rememberVouched() error {
	t.vouched = false
	err := t.makeFor(t.caStore.Path)
	if err == nil {
		own := enroll.VouchedBeside(t.caStore.Path)
		own.Mode = t.caStore.Attributes.Mode
		err = own.Add(t.client.URL())
	}
	if err != nil && t.caucase {
		return manners.WithHint(fmt.Errorf("that the daemon vouches for its HTTPS certificate cannot be recorded: %w", err), "leave out --caucase: the daemon is not a reference caucased")
	}
	// Without --caucase nothing depends on it, and the CA's files may be read-only to this user.
	return nil
}
