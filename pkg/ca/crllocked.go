package ca

import (
	"context"
	"time"

	"cauase/pkg/store"
)

// lastCRLs returns the lists that were last made, as no others can be while keys are locked, for as long as verifiers accept
// them. Without any it fails for the reason why.
func (a *Authority) lastCRLs(ctx context.Context, now time.Time, why error) (*crlSet, error) {
	a.dropKeys(why)
	number, version, err := a.numbers(ctx, now)
	if err != nil {
		return nil, err
	}
	known := a.cas.Load()
	if version != known.version {
		if err := a.reload(ctx); err != nil {
			return nil, err
		}
		known = a.cas.Load()
	}
	if set := a.crls.serving.Load(); set.inTime(now) && set.number == number && set.version == known.version {
		return set, nil
	}
	if err := a.crls.making.lock(ctx); err != nil {
		return nil, err
	}
	defer a.crls.making.unlock()
	listed := known.listed(now, a.spans)
	b, err := a.readBasis(ctx, listed)
	if err != nil {
		return nil, err
	}
	a.crls.entries = b.entries
	have, rows := b.current(now, listed)
	if len(have) == 0 {
		return nil, why
	}
	set := a.assemble(ctx, now, state{generations: known}, have, rows, b.entries)
	if set == nil {
		return nil, why
	}
	a.crls.serving.Store(set)
	a.crls.news.publish()
	return set, nil
}

// current returns the generations of listed with a list that is the last and is still accepted, and the rows of these.
func (b basis) current(now time.Time, listed []generation) (have []generation, rows []store.CRL) {
	for _, g := range listed {
		row, ok := b.rows[g.id]
		if ok && row.Number == b.number && row.Pruned == b.entries.pruned && !now.Before(row.ThisUpdate) && now.Before(row.NextUpdate) {
			have, rows = append(have, g), append(rows, row)
		}
	}
	return have, rows
}
