package store

import "context"

// Within makes a Store of a transaction that is under way, so that several operations, each of
// which believes to have its own transaction, happen together or not at all. An Update that fails
// leaves behind what it has written until then: the caller has to let the whole transaction fail.
func Within(tx Tx) Store { return within{tx} }

type within struct{ tx Tx }

func (w within) View(_ context.Context, fn func(Reader) error) error { return fn(w.tx) }
func (w within) Update(_ context.Context, fn func(Tx) error) error   { return fn(w.tx) }

// Tx returns the transaction.
func (w within) Tx() Tx { return w.tx }

func (within) Ping(context.Context) error { return nil }
func (within) Close() error               { return nil }
