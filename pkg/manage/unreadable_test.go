package manage

import (
	"context"
	"errors"
	"strings"
	"testing"

	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// A partly is a store that fails where CA certificates of one authority are read.
type partly struct {
	store.Store
	err error
}

func (p partly) View(ctx context.Context, fn func(store.Reader) error) error {
	return p.Store.View(ctx, func(r store.Reader) error { return fn(partlyReader{r, p.err}) })
}

type partlyReader struct {
	store.Reader
	err error
}

func (p partlyReader) CAs(ctx context.Context, name store.AuthorityName) ([]store.CA, error) {
	if name == "lab" {
		return nil, p.err
	}
	return p.Reader.CAs(ctx, name)
}

// Records of one authority that cannot be read do not hide the others; a database that is away is an error.
func TestUnreadableRecords(t *testing.T) {
	f := newFamily(t, newStore(t))
	spansOf := func(store.Authority) rollover.Spans { return spans(store.Services) }
	damaged := partly{f.store, errors.New("column x: a value of another type")}
	views := must[[]AuthorityView](t)(ViewAuthorities(t.Context(), damaged, f.clock))
	status := must[Status](t)(ReadStatus(t.Context(), damaged, f.clock.Now(), spansOf))
	if len(views) != 6 || len(status.Authorities) != 6 {
		t.Fatalf("%d and %d authorities", len(views), len(status.Authorities))
	}
	for i := range views {
		v, s := views[i], status.Authorities[i]
		if (v.Name == "lab") != strings.Contains(v.Problem, "column x") || (s.Name == "lab") != strings.Contains(s.Problem, "column x") {
			t.Errorf("%s: %q, %s: %q", v.Name, v.Problem, s.Name, s.Problem)
		}
	}
	away := partly{f.store, store.ErrUnavailable}
	if _, err := ViewAuthorities(t.Context(), away, f.clock); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if _, err := ReadStatus(t.Context(), away, f.clock.Now(), spansOf); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
