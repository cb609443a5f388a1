package daemon

import (
	"context"
	"errors"
	"fmt"

	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/store"
)

// openAll is the authorities of a list of rows.
type openAll []*ca.Authority

func openDirectory(ctx context.Context, st store.Store, clk clock.Clock, rows []store.Authority, cfg func(store.Authority) ca.Config) (openAll, error) {
	var all openAll
	for _, row := range rows {
		a, err := ca.Open(ctx, st, clk, row, cfg(row))
		if err != nil {
			return nil, fmt.Errorf("authority %s: %w", row.Name, err)
		}
		all = append(all, a)
	}
	return all, nil
}

func (l openAll) Authority(name store.AuthorityName) (*ca.Authority, bool) {
	for _, a := range l {
		if a.Name() == name {
			return a, true
		}
	}
	return nil, false
}

func (l openAll) All() []*ca.Authority { return l }

func (l openAll) Refresh(ctx context.Context) (changed bool, err error) {
	return l.each(func(a *ca.Authority) (bool, error) { return a.Refresh(ctx) })
}

func (l openAll) Maintain(ctx context.Context) error {
	_, err := l.each(func(a *ca.Authority) (bool, error) { return false, a.Maintain(ctx) })
	return err
}

func (l openAll) each(do func(*ca.Authority) (bool, error)) (changed bool, err error) {
	for _, a := range l {
		news, one := do(a)
		changed = changed || news
		if one != nil {
			err = errors.Join(err, fmt.Errorf("authority %s: %w", a.Name(), one))
		}
		if errors.Is(one, store.ErrUnavailable) {
			break // the others need not wait for it, too
		}
	}
	return changed, err
}
