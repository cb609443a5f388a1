package store

import "context"

// A Prefetcher is a Reader that is far from its database and can send several queries in one round trip.
type Prefetcher interface {
	// Prefetch records the queries that ask makes of its Reader, which answers as if nothing were there,
	// and sends all of them at once. The same queries made of the Prefetcher are then answered from
	// memory, until something is written.
	Prefetch(ctx context.Context, ask func(Reader)) error
}

// Prefetch has r fetch the answers to what ask is going to ask, where that saves round trips.
func Prefetch(ctx context.Context, r Reader, ask func(Reader)) error {
	if p, ok := r.(Prefetcher); ok {
		return p.Prefetch(ctx, ask)
	}
	return nil
}
