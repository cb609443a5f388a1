package manage

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// A workbench opens authorities of a store that no daemon serves yet.
type workbench struct {
	store store.Store
	clock clock.Clock
	rows  []store.Authority
	// netloc is what new CA certificates and what they sign point to, as far as it is not said by their predecessors.
	netloc string
	open   map[store.AuthorityName]*ca.Authority
}

func newWorkbench(ctx context.Context, st store.Store, clk clock.Clock) (*workbench, error) {
	w := &workbench{store: st, clock: clk, open: map[store.AuthorityName]*ca.Authority{}}
	err := st.View(ctx, func(r store.Reader) (err error) {
		if w.netloc, err = r.Setting(ctx, "", store.SettingNetloc); errors.Is(err, store.ErrNotFound) {
			w.netloc, err = unknownNetloc, nil
		}
		if err != nil {
			return err
		}
		w.rows, err = r.Authorities(ctx)
		return err
	})
	return w, err
}

// Authority finds one that is open, for those below it.
func (w *workbench) Authority(name store.AuthorityName) (*ca.Authority, bool) {
	a, ok := w.open[name]
	return a, ok
}

// row returns the row of an authority.
func (w *workbench) row(name store.AuthorityName) (store.Authority, error) {
	for _, row := range w.rows {
		if row.Name == name {
			return row, nil
		}
	}
	return store.Authority{}, fmt.Errorf("%w: authority %s", store.ErrNotFound, name)
}

// authority opens an authority, and its parent before. change, when set, adapts its row to what is to be
// done with it.
func (w *workbench) authority(ctx context.Context, name store.AuthorityName, change func(*store.Authority)) (*ca.Authority, error) {
	if a, ok := w.open[name]; ok {
		return a, nil
	}
	row, err := w.row(name)
	if err != nil {
		return nil, err
	}
	if _, ok := w.open[row.Parent]; row.Parent != "" && !ok {
		// A root has no parent: this does not go on.
		if _, err := w.authority(ctx, row.Parent, nil); err != nil {
			return nil, fmt.Errorf("parent: %w", err)
		}
	}
	newest, err := w.newestCA(ctx, name)
	if err != nil {
		return nil, err
	}
	row = complete(row, newest)
	if change != nil {
		change(&row)
	}
	if row.Span <= 0 && row.Role != store.RoleDaemon {
		return nil, fmt.Errorf("there is no CA certificate of %s", name)
	}
	cfg := w.config()
	cfg.Parents = w
	if row.Role == store.RoleDaemon {
		if cfg.Host = onlyHost(newest); cfg.Host == "" {
			return nil, errNoHost
		}
	}
	a, err := ca.Open(ctx, w.store, w.clock, row, cfg)
	if err != nil {
		return nil, err
	}
	w.open[name] = a
	return a, nil
}

// newestCA returns the authority's newest CA certificate, nil when it has none.
func (w *workbench) newestCA(ctx context.Context, name store.AuthorityName) (newest *x509.Certificate, err error) {
	err = w.store.View(ctx, func(r store.Reader) error {
		newest = nil
		rows, err := r.CAs(ctx, name)
		if err != nil || len(rows) == 0 {
			return err
		}
		last := rows[len(rows)-1]
		if newest, err = x509.ParseCertificate(last.Certificate); err != nil {
			return fmt.Errorf("%w: CA certificate %d of %s: %w", ca.ErrDamaged, last.ID, name, err)
		}
		return nil
	})
	return newest, err
}

// complete fills in what the row of an authority leaves to the daemon's flags, as they seem to have been
// when its newest CA certificate was made.
func complete(row store.Authority, newest *x509.Certificate) store.Authority {
	row.Life = lifeOf(row)
	if row.Span == 0 && newest != nil {
		row.Span = newest.NotAfter.Sub(newest.NotBefore) / time.Duration(row.Life)
	}
	row.KeyType = cmp.Or(row.KeyType, string(pki.DefaultKeyType))
	// What an operator does, nobody else's requests shall stand in the way of.
	row.MaxPending, row.AutoApprove = math.MaxInt32, 0
	return row
}

// lifeOf is how long an authority's CA certificates last, in spans.
func lifeOf(row store.Authority) int {
	if row.Life > 0 {
		return row.Life
	}
	if row.Role == store.RoleDaemon {
		return rollover.DaemonLife
	}
	return rollover.DefaultLife
}

// errNoHost means that nothing says which host the daemon's own certificates are for.
var errNoHost = errors.New("it has no CA certificate that names the daemon's host: the daemon makes one when it starts")

// onlyHost is the one host that a CA of the daemon's own certificates may name, empty if there is no such one.
func onlyHost(crt *x509.Certificate) string {
	switch {
	case crt == nil:
	case len(crt.PermittedDNSDomains) == 1:
		return crt.PermittedDNSDomains[0]
	case len(crt.PermittedIPRanges) == 1:
		return crt.PermittedIPRanges[0].IP.String()
	}
	return ""
}

// unknownNetloc stands in for the netloc in databases that were never served: no daemon has recorded one.
const unknownNetloc = "restored.invalid"

// config leaves it to the daemon, which knows the lifetimes that were chosen, to make CA certificates.
// Only when none is left that could sign, which happens to old backups, one is made.
func (w *workbench) config() ca.Config {
	return ca.Config{
		Netloc:     w.netloc,
		Backdate:   defaultBackdate,
		Statements: envelope.Statements{},
		Decide: func(now time.Time, spans rollover.Spans, list []rollover.Generation) rollover.Plan {
			plan := rollover.Decide(now, spans, list)
			plan.Create = plan.Create && plan.Signer == rollover.None
			return plan
		},
	}
}

// authorities returns the rows of a store's authorities in the order in which people see them.
func authorities(ctx context.Context, r store.Reader) ([]store.Authority, error) {
	rows, err := r.Authorities(ctx)
	store.SortForDisplay(rows)
	return rows, err
}
