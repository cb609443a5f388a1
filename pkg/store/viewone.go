package store

import "context"

// A OneViewer is a Store in which a single query needs no transaction.
type OneViewer interface {
	// ViewOne is View for an fn that makes one query. Any further one fails: it would be of another snapshot.
	ViewOne(ctx context.Context, fn func(Reader) error) error
}

// A Glancer is a Store that answers a single query at less cost than a OneViewer, by what is written and may not be durable yet.
type Glancer interface {
	// Glance is ViewOne for those who look again as they write. It waits for Updates that are under way, and they wait for fn.
	Glance(ctx context.Context, fn func(Reader) error) error
}

// Glance runs fn, which makes one query, for one who looks again as he writes.
func Glance(ctx context.Context, st Store, fn func(Reader) error) error {
	if g, ok := st.(Glancer); ok {
		return g.Glance(ctx, fn)
	}
	return ViewOne(ctx, st, fn)
}

// ViewOne runs fn, which makes one query, at the least cost.
func ViewOne(ctx context.Context, st Store, fn func(Reader) error) error {
	if v, ok := st.(OneViewer); ok {
		return v.ViewOne(ctx, fn)
	}
	return st.View(ctx, fn)
}
