package manage

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"cauase/pkg/audit"
	"cauase/pkg/dump"
	"cauase/pkg/store"
)

// Progress is told how far a long operation has come: its step, the kind of the last row, and the number of rows in
// this step. It is called for every row, and has to be fast. It may be nil.
type Progress func(step, kind string, rows int64)

// follow returns a function that tells p of each row of a step.
func (p Progress) follow(step string) func(store.Row) {
	var n int64
	return func(row store.Row) {
		if n++; p != nil {
			p(step, dump.Kind(row), n)
		}
	}
}

// ErrNotEmpty means that the store to be filled holds something already.
var ErrNotEmpty = errors.New("the database to copy to is not empty")

// ErrDifferent means that what was read back is not what was written.
var ErrDifferent = errors.New("the copy is not the same")

// Copy fills to, which holds nothing, with all rows of from, and returns what it has copied.
//
// All of it is read in one Update of from: nothing can change there until the copy is complete and
// durable, and a daemon that runs meanwhile refuses to write rather than to write what would be lost. The
// rows arrive in one transaction, are read back in it and compared, and only then is it committed,
// together with entry, which tells the audit log of the copy and is not part of the comparison. After an
// error to holds nothing, unless the error says otherwise.
func Copy(ctx context.Context, from, to store.Store, entry audit.Entry, progress Progress) (dump.Summary, error) {
	if err := checkEmpty(ctx, to); err != nil {
		return nil, err
	}
	var copied dump.Summary
	err := from.Update(ctx, func(source store.Tx) error {
		if copied != nil {
			// The database has made us run again, after the copy was complete.
			return unchanged(ctx, source, copied)
		}
		sum, err := fillStore(ctx, source, to, entry, progress)
		copied = sum
		return err
	})
	if err != nil && copied != nil {
		return nil, fmt.Errorf("the copy is complete, but whether something was written to the original meanwhile is not known: do not use the copy: %w", err)
	}
	return copied, err
}

// fillStore fills to, and returns nil if that has not happened.
func fillStore(ctx context.Context, source store.Reader, to store.Store, entry audit.Entry, progress Progress) (sum dump.Summary, err error) {
	from := &original{Reader: source}
	err = to.Update(ctx, func(target store.Tx) (err error) {
		sum, err = fill(ctx, from, target, progress)
		if err != nil {
			return err
		}
		return target.AppendAudit(ctx, entry)
	})
	switch {
	case err == nil:
		return sum, nil
	case from.err != nil:
		return nil, fmt.Errorf("the original: %w", from.err)
	case errors.Is(err, ErrNotEmpty), errors.Is(err, ErrDifferent):
		return nil, err
	}
	return nil, fmt.Errorf("the copy: %w", err)
}

// An original keeps its own read error, so that it can be told from one of the copy.
type original struct {
	store.Reader
	err error
}

func (o *original) Rows(ctx context.Context, fn func(store.Row) error) error {
	var failed error
	err := o.Reader.Rows(ctx, func(row store.Row) error {
		failed = fn(row)
		return failed
	})
	if failed == nil {
		o.err = err
	}
	return err
}

// errFound ends a walk that has seen enough.
var errFound = errors.New("found")

// checkEmpty saves the time of a copy that would be refused.
func checkEmpty(ctx context.Context, s store.Store) error {
	err := s.View(ctx, func(r store.Reader) error {
		return r.Rows(ctx, func(store.Row) error { return errFound })
	})
	if errors.Is(err, errFound) {
		return ErrNotEmpty
	}
	return err
}

// fill loads the rows of source into target and makes sure that they have arrived.
func fill(ctx context.Context, source store.Reader, target store.Tx, progress Progress) (dump.Summary, error) {
	written, copying := dump.NewHash(), progress.follow("copying")
	var last store.Row
	err := target.Load(ctx, stream(ctx, source, func(row store.Row) error {
		last = row
		copying(row)
		return errors.Join(ctx.Err(), written.Add(row)) // a Tx does not look at ctx
	}))
	switch {
	case errors.Is(err, store.ErrExists) && last == nil:
		return nil, ErrNotEmpty
	case err != nil && last != nil:
		return nil, fmt.Errorf("at %s: %w", dump.Describe(last), err)
	case err != nil:
		return nil, err
	}
	read, comparing := dump.NewHash(), progress.follow("comparing")
	err = target.Rows(ctx, func(row store.Row) error {
		comparing(row)
		return errors.Join(ctx.Err(), read.Add(row))
	})
	if err != nil {
		return nil, err
	}
	if diff := written.Summary().Diff(read.Summary()); diff != "" {
		return nil, fmt.Errorf("%w: %s", ErrDifferent, diff)
	}
	return written.Summary(), nil
}

// stream gives the rows of r, each after fn has seen it.
func stream(ctx context.Context, r store.Reader, fn func(store.Row) error) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		err := r.Rows(ctx, func(row store.Row) error {
			if err := fn(row); err != nil {
				return err
			}
			if !yield(dump.Clean(row), nil) {
				return errFound
			}
			return nil
		})
		if err != nil && !errors.Is(err, errFound) {
			yield(nil, err)
		}
	}
}

// unchanged makes sure that r still holds what was copied.
func unchanged(ctx context.Context, r store.Reader, copied dump.Summary) error {
	now, err := dump.Summarize(ctx, r)
	if err != nil {
		return err
	}
	if diff := now.Diff(copied); diff != "" {
		return fmt.Errorf("the original has changed meanwhile: %s", diff)
	}
	return nil
}
