package daemon

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/server"
	"cauase/pkg/server/caucase"
	"cauase/pkg/store"
)

// authorities are those there are now. A ca.Directory is.
type authorities interface {
	Authority(name store.AuthorityName) (*ca.Authority, bool)
	All() []*ca.Authority
	// Refresh takes over what others have changed, and reports whether that was anything.
	Refresh(ctx context.Context) (changed bool, err error)
	// Maintain does what time makes due.
	Maintain(ctx context.Context) error
}

// A directory is authorities as the front-end wants them.
type directory struct{ authorities }

func (d directory) Authority(name store.AuthorityName) (caucase.Authority, bool) {
	a, ok := d.authorities.Authority(name)
	return a, ok
}

func (d directory) All() []caucase.Authority {
	list := d.authorities.All()
	out := make([]caucase.Authority, len(list))
	for i, a := range list {
		out[i] = a
	}
	return out
}

// openAuthorities sees to it that the authorities which every daemon has are in the store, as they
// are configured, and opens all that are there.
func (d *Daemon) openAuthorities(ctx context.Context) (err error) {
	d.authorities, err = openDirectory(ctx, d.store, d.clock, d.cfg.rows(), d.authorityConfig)
	return err
}

// authorityConfig is what this daemon adds to an authority's row.
func (d *Daemon) authorityConfig(row store.Authority) ca.Config {
	cfg := ca.Config{
		Netloc:         d.cfg.Netloc.String(),
		Backdate:       d.cfg.Backdate,
		Retention:      d.cfg.Retention,
		ChainRetention: d.cfg.ChainRetention,
		Profiles:       d.cfg.Profiles,
		Statements:     envelope.Statements{},
		Ready:          d.skewed,
		Observe:        d.metrics.observeOperation(),
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

// withRole returns the authority with a role of which there is exactly one.
func (d *Daemon) withRole(role store.Role) (*ca.Authority, error) {
	for _, a := range d.authorities.All() {
		if a.Row().Role == role {
			return a, nil
		}
	}
	return nil, fmt.Errorf("there is no authority with the role %s", role)
}

// serverCAs returns the CA certificates of the authority that signs our own.
func (d *Daemon) serverCAs(ctx context.Context) ([]*x509.Certificate, error) {
	a, err := d.withRole(store.RoleDaemon)
	if err != nil {
		return nil, err
	}
	return a.CACertificates(ctx)
}

// roleOrder is the order in which authorities are listed, by name within each.
var roleOrder = [...]store.Role{store.RoleUsers, store.RoleServices, store.RoleDaemon, store.RoleRoot}

// listed returns all authorities in the order in which people see them.
func (d *Daemon) listed() []*ca.Authority {
	list := slices.Clone(d.authorities.All())
	slices.SortFunc(list, func(a, b *ca.Authority) int {
		byRole := slices.Index(roleOrder[:], a.Row().Role) - slices.Index(roleOrder[:], b.Row().Role)
		return cmp.Or(byRole, cmp.Compare(a.Name(), b.Name()))
	})
	return list
}

// checks are what readiness depends on.
func (d *Daemon) checks() []server.Check {
	checks := []server.Check{{Name: "database", Run: d.store.Ping}}
	for _, a := range d.listed() {
		check := server.Check{Name: string(a.Name()), Run: func(ctx context.Context) error {
			// Making a list when none is fresh needs a CA that can sign.
			_, err := a.CRLs(ctx)
			return err
		}}
		if a.Row().Role == store.RoleDaemon {
			check.Run = func(context.Context) error { return d.keyPair.Check() }
		}
		checks = append(checks, check)
	}
	if _, shared := d.store.(store.Watcher); shared {
		checks = append(checks, server.Check{Name: "clock", Run: func(context.Context) error { return d.skewed() }})
	}
	return append(checks, d.backupChecks()...)
}
