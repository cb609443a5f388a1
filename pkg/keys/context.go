package keys

import "context"

type custodyKey struct{}

// Into returns a context in which custody keeps the keys: for commands, which open a database here and have its authorities do something
// several packages further down. A daemon says it in the configuration of each authority.
func Into(ctx context.Context, custody Custody) context.Context {
	return context.WithValue(ctx, custodyKey{}, custody)
}

// From returns the custody of a context, Row if it has none.
func From(ctx context.Context) Custody {
	if custody, ok := ctx.Value(custodyKey{}).(Custody); ok {
		return custody
	}
	return Row{}
}
