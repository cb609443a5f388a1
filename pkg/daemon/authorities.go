package daemon

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/hook"
	"cauase/pkg/lint"
	"cauase/pkg/server/caucase"
	"cauase/pkg/store"
)

// A directory is the authorities as the front-end wants them.
type directory struct{ *ca.Directory }

// Authority returns the authority of this name, and whether there is one.
func (d directory) Authority(name store.AuthorityName) (caucase.Core, bool) {
	a, ok := d.Directory.Authority(name)
	return a, ok
}

// All returns all of them, by name.
func (d directory) All() []caucase.Core {
	list := d.Directory.All()
	out := make([]caucase.Core, len(list))
	for i, a := range list {
		out[i] = a
	}
	return out
}

// Failed reports whether there is one of this name that could not be opened.
func (d directory) Failed(name store.AuthorityName) bool {
	_, failed := d.Directory.Failed()[name]
	return failed
}

// openAuthorities sees to it that the authorities which every daemon has are in the store, as the options
// say, and opens all that are there. Without one of those it is no use to go on; the others are tried again
// later.
func (d *Daemon) openAuthorities(ctx context.Context) (err error) {
	if err := d.openTokens(); err != nil {
		return err
	}
	if err := d.configureAuthorities(ctx); err != nil {
		return err
	}
	if d.linter, err = lint.New(); err != nil {
		return err
	}
	if d.authorities, err = ca.OpenDirectory(ctx, d.store, d.clock, d.authorityConfig, d.log); err != nil {
		return err
	}
	failed := d.authorities.Failed()
	for _, row := range d.cfg.rows() {
		if err := failed[row.Name]; err != nil {
			return fmt.Errorf("authority %s: %w", row.Name, err)
		}
	}
	d.noticed.begin(d.clock.Now(), d.authorities.All())
	return d.checkTokens(ctx)
}

// authorityConfig is what this daemon adds to an authority's row.
func (d *Daemon) authorityConfig(row store.Authority) ca.Config {
	cfg := ca.Config{
		Netloc:         d.cfg.Netloc.String(),
		Backdate:       d.cfg.Backdate,
		Retention:      d.cfg.Retention,
		ChainRetention: d.cfg.ChainRetention,
		Fork:           d.cfg.Lineages.Fork,
		RevokeOne:      d.cfg.Lineages.RevokeOne,
		Renewals:       int64(d.cfg.Lineages.Renewals),
		MaxUsers:       d.cfg.Lineages.MaxUsers,
		PendingTTL:     d.cfg.PendingTTL,
		PendingShare:   d.cfg.PendingShare,
		Profiles:       d.cfg.Profiles,
		Rules:          d.policy,
		AddressNames:   d.addressNames,
		Policy:         hookedPolicy{&hook.Policy{Rules: d.policy, Hooks: d.hooks}},
		Presign:        presigner{d},
		Announce:       d.announcer(),
		Linter:         d.linter,
		Custody:        d.custody,
		Statements:     envelope.Statements{},
		Ready:          d.skewed,
		Outdated:       d.hear,
		Observe:        d.observe(),
		Log:            d.log,
	}
	if row.Role == store.RoleDaemon {
		cfg.Host = d.cfg.Netloc.Host
	} else {
		cfg.LockAutoApprove = d.cfg.LockAutoApprove
	}
	return cfg
}

// Authority returns the authority of this name, and whether there is one.
func (d *Daemon) Authority(name store.AuthorityName) (*ca.Authority, bool) {
	return d.authorities.Authority(name)
}

// withRole returns the authorities with a role, in the order in which people see them.
func (d *Daemon) withRole(role store.Role) (list []*ca.Authority) {
	for _, a := range d.listed() {
		if a.Row().Role == role {
			list = append(list, a)
		}
	}
	return list
}

// listed returns all authorities in the order in which people see them: those that every daemon has, then
// the others by name.
func (d *Daemon) listed() []*ca.Authority {
	all := d.authorities.All()
	return inOrder(d, all, (*ca.Authority).Name)
}

// inOrder sorts what has a name, stably, so that what every daemon has comes first.
func inOrder[T any](d *Daemon, list []T, name func(T) store.AuthorityName) []T {
	rows := d.cfg.rows()
	rank := func(v T) int {
		if i := slices.IndexFunc(rows, func(row store.Authority) bool { return row.Name == name(v) }); i >= 0 {
			return i
		}
		return len(rows)
	}
	slices.SortStableFunc(list, func(a, b T) int { return rank(a) - rank(b) })
	return list
}

// retired reports whether an authority signs nothing any more but revocation lists.
func (d *Daemon) retired(a *ca.Authority) bool {
	at := a.Row().RetiredAt
	return !at.IsZero() && !d.clock.Now().Before(at)
}

// A serverIssuer is the authority that signs our own certificate, whichever that is now.
type serverIssuer struct{ d *Daemon }

func (s serverIssuer) authority() (*ca.Authority, error) {
	list := s.d.withRole(store.RoleDaemon)
	if len(list) == 0 {
		return nil, errors.New("there is no authority for the daemon's own certificate")
	}
	return list[0], nil
}

// IssueServer implements server.ServerIssuer.
func (s serverIssuer) IssueServer(ctx context.Context, pub crypto.PublicKey) (leaf, issuer *x509.Certificate, err error) {
	a, err := s.authority()
	if err != nil {
		return nil, nil, err
	}
	return a.IssueServer(ctx, pub)
}

// CACertificates implements server.ServerIssuer.
func (s serverIssuer) CACertificates(ctx context.Context) ([]*x509.Certificate, error) {
	a, err := s.authority()
	if err != nil {
		return nil, err
	}
	return a.CACertificates(ctx)
}
