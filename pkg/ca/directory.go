package ca

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/store"
)

// A Directory is the authorities that a store lists, as they are now: it opens new ones, and opens
// those anew whose rows have changed. It is safe for concurrent use.
type Directory struct {
	store  store.Store
	clock  clock.Clock
	config func(store.Authority) Config
	log    *slog.Logger

	refreshing lock
	current    atomic.Pointer[listing]
}

// A listing is the authorities as of one version of their rows.
type listing struct {
	version int64
	open    map[store.AuthorityName]*Authority
	failed  map[store.AuthorityName]error // why the others could not be opened
	tried   time.Time                     // when they were last tried
	orphans map[store.AuthorityName]error // why the parents of some cannot certify them
}

// openAgain is how long an authority that could not be opened is left alone: what stands in the way does
// not go away with the next request.
const openAgain = 10 * time.Second

// OpenDirectory opens all authorities of a store, of which each gets its part of the configuration
// from config. One that cannot be opened does not keep the others from it: see Failed.
func OpenDirectory(ctx context.Context, st store.Store, clk clock.Clock, config func(store.Authority) Config, log *slog.Logger) (*Directory, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Directory{store: st, clock: clk, config: config, log: log, refreshing: newLock()}
	d.current.Store(&listing{version: -1})
	_, err := d.refreshRows(ctx)
	return d, err
}

// Authority returns the authority of this name, and whether there is one that could be opened.
func (d *Directory) Authority(name store.AuthorityName) (*Authority, bool) {
	a, ok := d.current.Load().open[name]
	return a, ok
}

// All returns the authorities that could be opened, by name.
func (d *Directory) All() []*Authority {
	return slices.SortedFunc(maps.Values(d.current.Load().open), func(a, b *Authority) int { return cmp.Compare(a.name, b.name) })
}

// Failed says of each authority that is there and could not be opened, why.
func (d *Directory) Failed() map[store.AuthorityName]error {
	return maps.Clone(d.current.Load().failed)
}

// Refresh takes over what others have changed: the rows of authorities, their CA certificates and
// their revocations. It costs next to nothing when there is nothing, and reports whether rows or CA certificates have
// changed.
func (d *Directory) Refresh(ctx context.Context) (changed bool, err error) {
	changed, err = d.refreshRows(ctx)
	if err != nil {
		return changed, err
	}
	err = d.each(func(a *Authority) error {
		if a.external() {
			before := a.cas.Load().version
			err := errors.Join(a.reload(ctx), a.lookForLists(ctx))
			changed = changed || a.cas.Load().version != before
			return err
		}
		news, err := a.Refresh(ctx)
		changed = changed || news
		return a.unlessExpected(err)
	})
	return changed, err
}

// Maintain does what time alone makes due, for every authority.
func (d *Directory) Maintain(ctx context.Context) error {
	_, err := d.refreshRows(ctx)
	if errors.Is(err, store.ErrUnavailable) {
		return err
	}
	return errors.Join(err, d.each(func(a *Authority) error { return a.unlessExpected(a.Maintain(ctx)) }), d.nameLineages(ctx))
}

// each calls do with each authority, parents first, until the store is away: the others need not wait
// for it, too.
func (d *Directory) each(do func(*Authority) error) error {
	all := d.All()
	slices.SortStableFunc(all, func(a, b *Authority) int { return cmp.Compare(generationOf(a.row), generationOf(b.row)) })
	var errs []error
	for _, a := range all {
		err := do(a)
		if err != nil {
			errs = append(errs, fmt.Errorf("authority %s: %w", a.name, err))
		}
		if errors.Is(err, store.ErrUnavailable) {
			break
		}
	}
	return errors.Join(errs...)
}

// unlessExpected returns err unless it is what has to be expected of the authority: one that is retired
// may have no CA certificate left, and one that waits for a sign-off, or is locked, says so elsewhere.
func (a *Authority) unlessExpected(err error) error {
	if errors.Is(err, ErrSignoff) || errors.Is(err, ErrLocked) || errors.Is(err, ErrNoSigner) && a.retired(a.clock.Now()) {
		return nil
	}
	return err
}

// generationOf is 0 for who may be a parent, and 1 for who has one.
func generationOf(row store.Authority) int {
	if row.Parent != "" {
		return 1
	}
	return 0
}

// refreshRows opens and drops authorities so that they are those of the store, and reports whether
// that has changed anything.
func (d *Directory) refreshRows(ctx context.Context) (changed bool, err error) {
	if err := d.refreshing.lock(ctx); err != nil {
		return false, err
	}
	defer d.refreshing.unlock()
	before := d.current.Load()
	now := d.clock.Now()
	again := len(before.failed) > 0 && (now.Sub(before.tried) >= openAgain || now.Before(before.tried))
	var version int64
	var rows []store.Authority
	err = d.store.View(ctx, func(r store.Reader) (err error) {
		if version, err = r.Counter(ctx, "", store.CounterAuthorities); err != nil {
			return err
		}
		if version == before.version && !again {
			return nil
		}
		rows, err = r.Authorities(ctx)
		return err
	})
	if err != nil || version == before.version && !again {
		return false, err
	}
	next := &listing{version: version, open: map[store.AuthorityName]*Authority{}, failed: map[store.AuthorityName]error{}, tried: now,
		orphans: map[store.AuthorityName]error{}}
	// Who has a parent asks it for its first CA certificate: parents come first, and are known then.
	slices.SortStableFunc(rows, func(a, b store.Authority) int { return cmp.Compare(generationOf(a), generationOf(b)) })
	for i, row := range rows {
		if err := store.CheckParent(row, rows); err != nil {
			next.orphans[row.Name] = err
			d.warnOfParent(ctx, row, err, before)
		}
		if generationOf(row) > 0 && (i == 0 || generationOf(rows[i-1]) == 0) {
			d.current.Store(before.with(next.open))
		}
		known, ok := before.open[row.Name]
		if ok && reflect.DeepEqual(known.row, row) {
			next.open[row.Name] = known
			continue
		}
		changed = true
		a, err := d.open(ctx, row, before)
		switch {
		case errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil:
			return false, errors.Join(err, ctx.Err()) // and everybody keeps what there was
		case err != nil:
			next.failed[row.Name] = err
		default:
			next.open[row.Name] = a
		}
	}
	changed = changed || len(next.open) != len(before.open)
	d.current.Store(next)
	for name, old := range before.open {
		if next.open[name] != old {
			old.crls.news.publish() // whoever waits for it is to wait for the one in its place
		}
	}
	return changed, nil
}

// open opens one authority, and says so.
func (d *Directory) open(ctx context.Context, row store.Authority, before *listing) (*Authority, error) {
	cfg := d.config(row)
	cfg.Parents = d
	a, err := Open(ctx, d.store, d.clock, row, cfg)
	if err != nil {
		if old, was := before.failed[row.Name]; !was || old.Error() != err.Error() {
			d.log.ErrorContext(ctx, "an authority cannot be opened", "authority", string(row.Name), "error", err)
		}
		return nil, err
	}
	d.log.InfoContext(ctx, "authority opened", "authority", string(row.Name), "role", string(row.Role), "parent", string(row.Parent))
	return a, nil
}

// warnOfParent says at once what would otherwise show only when the next CA certificate is due. Until then the
// authority goes on with those it has.
func (d *Directory) warnOfParent(ctx context.Context, row store.Authority, err error, before *listing) {
	if old, was := before.orphans[row.Name]; !was || old.Error() != err.Error() {
		d.log.ErrorContext(ctx, "the parent of an authority cannot certify it", "authority", string(row.Name), "parent", string(row.Parent), "error", err)
	}
}

// Orphans says of each authority whose parent cannot certify it, why.
func (d *Directory) Orphans() map[store.AuthorityName]error {
	return maps.Clone(d.current.Load().orphans)
}

// with is a listing in which some authorities are newer.
func (l *listing) with(newer map[store.AuthorityName]*Authority) *listing {
	merged := *l
	merged.open = maps.Clone(l.open)
	if merged.open == nil {
		merged.open = map[store.AuthorityName]*Authority{}
	}
	maps.Copy(merged.open, newer)
	return &merged
}

// OpenOne opens one authority of a store, and its parent if it has one, for the commands of an operator: no
// daemon need run.
func OpenOne(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, config func(store.Authority) Config) (*Authority, error) {
	var row, above store.Authority
	err := st.View(ctx, func(r store.Reader) (err error) {
		if row, err = r.Authority(ctx, name); err != nil || row.Parent == "" {
			return err
		}
		above, err = r.Authority(ctx, row.Parent)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: there is no authority %s", ErrNotFound, cmp.Or(row.Parent, name))
	} else if err != nil {
		return nil, err
	}
	cfg := config(row)
	if row.Parent != "" {
		parent, err := Open(ctx, st, clk, above, config(above))
		if err != nil {
			return nil, fmt.Errorf("parent %s: %w", above.Name, err)
		}
		cfg.Parents = only{it: parent}
	}
	return Open(ctx, st, clk, row, cfg)
}

// only is a directory of one.
type only struct{ it *Authority }

func (o only) Authority(name store.AuthorityName) (*Authority, bool) { return o.it, o.it.name == name }
