package manage

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/dump"
	"cauase/pkg/store"
)

func TestCopy(t *testing.T) {
	from, to := newStore(t), newStore(t)
	now := live(t, from)
	want := rowsOf(t, from)
	var steps []string
	sum, err := Copy(t.Context(), from, to, entry(), func(step, kind string, n int64) { steps = append(steps, step+" "+kind) })
	if err != nil {
		t.Fatal(err)
	}
	got := rowsOf(t, to)
	last := got[len(got)-1].(store.AuditEntry)
	if last.Action != audit.CopyDB || last.Actor.Kind != audit.Operator {
		t.Errorf("the last entry is %+v", last)
	}
	h := dump.NewHash()
	for i, row := range got[:len(got)-1] {
		if _, is := row.(store.Log); is {
			row = want[i] // the last entry has moved the head
		}
		if err := h.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	if !h.Summary().Equal(sum) || sum.Rows() != int64(len(want)) {
		t.Errorf("%s", h.Summary().Diff(sum))
	}
	if found, _ := check(t, to, now); len(found) > 0 {
		t.Errorf("the copy: %q", found)
	}
	if steps = slices.Compact(steps); steps[0] != "copying authority" || !slices.Contains(steps, "comparing audit") {
		t.Errorf("%q", steps)
	}
	if again := rowsOf(t, from); len(again) != len(want) {
		t.Error("the original has changed")
	}
	// And nobody copies over it.
	_, err = Copy(t.Context(), from, to, entry(), nil)
	if !errors.Is(err, ErrNotEmpty) {
		t.Errorf("to one that is not empty: %v", err)
	}
	// A copy of the copy is the same, but for what tells of it.
	third := newStore(t)
	again, err := Copy(t.Context(), to, third, entry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := again.Diff(sum); !strings.HasPrefix(diff, "log: as many rows, but not the same, audit: ") {
		t.Errorf("the copy of the copy: %s", diff)
	}
}

func TestCopyNothing(t *testing.T) {
	from, to := newStore(t), newStore(t)
	if sum, err := Copy(t.Context(), from, to, entry(), nil); err != nil || sum.Rows() != 0 {
		t.Error(sum, err)
	}
}

// While it is copied, the original takes no change: it would be lost.
func TestCopyLocks(t *testing.T) {
	for _, test := range []struct {
		name     string
		original func(*testing.T) string
	}{
		{"SQLite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "db.sqlite") }},
		{"PostgreSQL", func(t *testing.T) string { return postgres(t).NewDatabase(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dsn := test.original(t)
			from, beside, to := openStore(t, dsn), openStore(t, dsn), newStore(t)
			live(t, from)
			write := func() error {
				return beside.Update(t.Context(), func(tx store.Tx) error { return tx.PutSetting(t.Context(), store.Users, "x", "y") })
			}
			tried := false
			sum, err := Copy(t.Context(), from, to, entry(), func(string, string, int64) {
				if tried {
					return
				}
				tried = true
				if err := write(); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("a daemon's write beside the copy: %v", err)
				}
				err := beside.View(t.Context(), func(r store.Reader) error { _, err := r.CAs(t.Context(), store.Users); return err })
				if err != nil {
					t.Errorf("a daemon reads beside the copy: %v", err)
				}
			})
			if err != nil || !tried {
				t.Error(err)
			}
			if err := write(); err != nil {
				t.Errorf("a daemon's write after the copy: %v", err)
			}
			if n := int64(len(rowsOf(t, to))) - 1; n != sum.Rows() {
				t.Errorf("%d rows of %d", n, sum.Rows())
			}
		})
	}
}

// A fake is a store that goes wrong.
type fake struct {
	store.Store
	rows  func(store.Reader) store.Reader // in View and Update
	twice bool                            // runs fn once more, after something else has happened
	after func(store.Tx) error
	fail  error // of Update, once fn has returned
}

func (f *fake) Update(ctx context.Context, fn func(store.Tx) error) error {
	if f.twice {
		undone := errors.New("undone")
		err := f.Store.Update(ctx, func(tx store.Tx) error { return errors.Join(fn(tx), undone) })
		if !errors.Is(err, undone) {
			return err
		}
		if f.after != nil {
			if err := f.Store.Update(ctx, f.after); err != nil {
				return err
			}
		}
	}
	if err := f.Store.Update(ctx, func(tx store.Tx) error { return fn(wrapTx(tx, f.rows)) }); err != nil {
		return err
	}
	return f.fail
}

// A tampered transaction reads other rows than it wrote.
type tampered struct {
	store.Tx
	rows store.Reader
}

func (t tampered) Rows(ctx context.Context, fn func(store.Row) error) error {
	return t.rows.Rows(ctx, fn)
}

func wrapTx(tx store.Tx, wrap func(store.Reader) store.Reader) store.Tx {
	if wrap == nil {
		return tx
	}
	return tampered{tx, wrap(tx)}
}

type rowsReader struct {
	store.Reader
	change func(store.Row) (store.Row, error)
}

func (r rowsReader) Rows(ctx context.Context, fn func(store.Row) error) error {
	return r.Reader.Rows(ctx, func(row store.Row) error {
		row, err := r.change(row)
		if err != nil || row == nil {
			return err
		}
		return fn(row)
	})
}

func changed(fn func(store.Row) (store.Row, error)) func(store.Reader) store.Reader {
	return func(r store.Reader) store.Reader { return rowsReader{r, fn} }
}

func TestCopyGoesWrong(t *testing.T) {
	source := newStore(t)
	live(t, source)
	broken := errors.New("broken")
	for _, test := range []struct {
		name     string
		from, to fake
		want     error
		text     string
	}{
		{name: "the original cannot be read to its end", want: broken, from: fake{rows: changed(func(row store.Row) (store.Row, error) {
			if _, ok := row.(store.AuditEntry); ok {
				return nil, broken
			}
			return row, nil
		})}},
		{name: "a row gets lost", want: ErrDifferent, text: "revocation: ", to: fake{rows: changed(func(row store.Row) (store.Row, error) {
			if v, ok := row.(store.Revocation); ok && v.Seq == 3 {
				return nil, nil
			}
			return row, nil
		})}},
		{name: "a row arrives as another", want: ErrDifferent, text: "certificate: as many rows, but not the same", to: fake{rows: changed(func(row store.Row) (store.Row, error) {
			if v, ok := row.(store.Certificate); ok {
				v.NotAfter = v.NotAfter.Add(-time.Microsecond)
				return v, nil
			}
			return row, nil
		})}},
		{name: "the copy cannot be read", want: broken, to: fake{rows: changed(func(store.Row) (store.Row, error) { return nil, broken })}},
		{name: "the copy cannot be committed", want: broken, to: fake{twice: true, after: func(store.Tx) error { return broken }}},
		{name: "a row that no backup could hold", want: dump.ErrInvalid, from: fake{rows: changed(func(row store.Row) (store.Row, error) {
			if v, ok := row.(store.Counter); ok {
				v.Value = -1
				return v, nil
			}
			return row, nil
		})}},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := newStore(t)
			test.from.Store, test.to.Store = source, to
			_, err := Copy(t.Context(), &test.from, &test.to, entry(), nil)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want %v, %q", err, test.want, test.text)
			}
			if left := rowsOf(t, to); len(left) > 0 {
				t.Errorf("%d rows are left", len(left))
			}
		})
	}
}

// PostgreSQL may run a transaction again.
func TestCopyAgain(t *testing.T) {
	source := newStore(t)
	live(t, source)
	t.Run("target", func(t *testing.T) {
		to := newStore(t)
		sum, err := Copy(t.Context(), source, &fake{Store: to, twice: true}, entry(), nil)
		if err != nil || sum.Rows() != int64(len(rowsOf(t, to)))-1 {
			t.Error(sum, err)
		}
	})
	t.Run("original", func(t *testing.T) {
		to := newStore(t)
		sum, err := Copy(t.Context(), &fake{Store: source, twice: true}, to, entry(), nil)
		if err != nil || sum.Rows() != int64(len(rowsOf(t, to)))-1 {
			t.Error(sum, err)
		}
	})
	t.Run("original that has changed", func(t *testing.T) {
		from := newStore(t)
		live(t, from)
		_, err := Copy(t.Context(), &fake{Store: from, twice: true, after: func(tx store.Tx) error {
			return tx.PutSetting(t.Context(), store.Users, "x", "y")
		}}, newStore(t), entry(), nil)
		if err == nil || !strings.Contains(err.Error(), "do not use the copy") || !strings.Contains(err.Error(), "setting: ") {
			t.Error(err)
		}
	})
	t.Run("original that is lost", func(t *testing.T) {
		_, err := Copy(t.Context(), &fake{Store: source, fail: store.ErrUnavailable}, newStore(t), entry(), nil)
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "do not use the copy") {
			t.Error(err)
		}
	})
}
