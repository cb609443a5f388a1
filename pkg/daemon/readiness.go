package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/keys"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// checks are what readiness depends on.
func (d *Daemon) checks() []server.Check {
	checks := []server.Check{{Name: "database", Run: d.store.Ping}}
	checks = append(checks, d.authorityChecks()...)
	if _, shared := d.store.(store.Watcher); shared {
		checks = append(checks, server.Check{Name: "clock", Run: func(context.Context) error { return d.skewed() }})
	}
	return append(checks, d.backupChecks()...)
}

// authorityChecks are one for each authority that the store has, whether it could be opened or not.
func (d *Daemon) authorityChecks() []server.Check {
	failed := d.authorities.Failed()
	names := slices.Collect(maps.Keys(failed))
	for _, a := range d.authorities.All() {
		names = append(names, a.Name())
	}
	slices.Sort(names)
	names = inOrder(d, slices.Compact(names), func(name store.AuthorityName) store.AuthorityName { return name })
	checks := make([]server.Check, len(names))
	for i, name := range names {
		checks[i] = server.Check{Name: string(name), Run: func(ctx context.Context) error {
			if a, ok := d.authorities.Authority(name); ok {
				return d.checkAuthority(ctx, a)
			}
			if err := failed[name]; err != nil {
				return err
			}
			return ca.ErrNotFound
		}}
	}
	return checks
}

// checkAuthority returns why an authority cannot do what it is for, or will not be able to.
func (d *Daemon) checkAuthority(ctx context.Context, a *ca.Authority) error {
	if err := a.Locked(); err != nil && !errors.Is(err, keys.ErrOwn) {
		return &server.Explained{Err: err, Reason: "the private keys are locked"}
	}
	switch {
	case a.Row().Role == store.RoleDaemon:
		return d.keyPair.Check()
	case a.External():
		return d.checkExternal(ctx, a)
	}
	// Making a list when none is fresh needs a CA that can sign.
	_, err := a.CRLs(ctx)
	if d.retired(a) {
		if errors.Is(err, ca.ErrNoSigner) {
			return nil // all that it has issued has expired
		}
		return err
	}
	if errors.Is(err, keys.ErrOwn) {
		return server.Warn("its revocation lists have expired, or there is none: %v", err)
	}
	if err != nil {
		return err
	}
	if err := d.authorities.Orphans()[a.Name()]; err != nil {
		return server.Warn("no CA certificate can follow the current one: %v", err)
	}
	awaited, waiting, err := a.Awaited(ctx)
	if err != nil || !waiting {
		return err
	}
	return server.Warn("waiting for a sign-off of %s, needed from %s; the current CA certificate ends %s",
		awaited.Parent, stamp(awaited.From), stamp(awaited.Until))
}

// externalNotice is how long before the end of a CA certificate that operators import they are
// warned to import the next.
const externalNotice = 30 * 24 * time.Hour

// checkExternal reports what operators have to import of an authority whose keys are kept elsewhere.
func (d *Daemon) checkExternal(ctx context.Context, a *ca.Authority) error {
	now := d.clock.Now()
	crts, err := a.CACertificates(ctx)
	if err != nil {
		return err
	}
	if len(crts) == 0 {
		if d.retired(a) {
			return nil
		}
		return ca.ErrNoSigner
	}
	lists, err := a.CRLs(ctx)
	if err != nil {
		return err
	}
	for _, crt := range crts {
		i := slices.IndexFunc(lists, func(l ca.List) bool { return string(l.KeyID) == string(crt.SubjectKeyId) })
		switch {
		case i < 0:
			return server.Warn("no revocation list of CA %x was imported", crt.SubjectKeyId)
		case now.After(lists[i].NextUpdate):
			return server.Warn("the imported revocation list of CA %x expired %s", crt.SubjectKeyId, stamp(lists[i].NextUpdate))
		}
	}
	newest := slices.MaxFunc(crts, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	if left := newest.NotAfter.Sub(now); left < externalNotice && !d.retired(a) {
		return server.Warn("the last imported CA certificate ends %s", stamp(newest.NotAfter))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }
