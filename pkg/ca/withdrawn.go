package ca

import (
	"context"
	"slices"

	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// A withdrawalCache keeps the statements about CA certificates that were withdrawn: signing them at every request would let
// anybody keep a CA key busy.
type withdrawalCache struct {
	making lock
	made   [][]byte
	by     int64   // CA.ID
	about  []int64 // CA.IDs
}

// Withdrawals returns the statements by which the newest CA of this authority says which earlier ones, that have not expired, are to be trusted no
// longer. It may be passive still: that says nothing about certificates.
func (a *Authority) Withdrawals(ctx context.Context) ([][]byte, error) {
	if _, err := a.valid(ctx); err != nil {
		return nil, err
	}
	now, known := a.clock.Now(), a.cas.Load()
	var about []generation
	for _, g := range known.revoked {
		if g.state == store.CACompromised && rollover.Valid(now, g.times) {
			about = append(about, g)
		}
	}
	newest := rollover.Newest(now, known.times())
	if len(about) == 0 || newest == rollover.None || known.list[newest].key == nil {
		return nil, nil
	}
	by := known.list[newest]
	c := &a.gone
	if err := c.making.lock(ctx); err != nil {
		return nil, err
	}
	defer c.making.unlock()
	ids := make([]int64, len(about))
	for i, g := range about {
		ids[i] = g.id
	}
	if c.by == by.id && slices.Equal(c.about, ids) {
		return c.made, nil
	}
	var made [][]byte
	for _, g := range about {
		statement, err := a.cfg.Statements.Withdrawal(by.key, by.trusted(), g.trusted())
		if err != nil {
			return nil, err
		}
		made = append(made, statement)
	}
	c.made, c.by, c.about = made, by.id, ids
	return made, nil
}
