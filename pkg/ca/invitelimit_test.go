package ca

import (
	"fmt"
	"testing"

	"cauase/pkg/store"
)

// Whoever has filled the list of pending requests does not get in when more are approved than before.
func TestPendingLimitsComeBeforeAnyApproval(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Users)
	cfg.row.AutoApprove, cfg.row.MaxPending = 0, 2
	a := w.open(cfg)
	for n := range 2 {
		if _, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), fmt.Sprint("mallory", n))); err != nil {
			t.Fatal(err)
		}
	}
	cfg.row.AutoApprove = 10
	a = w.open(cfg)
	_, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "mallory"))
	wantError(t, err, ErrTooManyPending)
	pending, err := a.Pending(w.ctx)
	if err != nil || len(pending) != 2 {
		t.Fatalf("%v %v", pending, err)
	}
	if err := a.Reject(w.ctx, alice, pending[0].ID, nil, ""); err != nil {
		t.Fatal(err)
	}
	id, err := wired(a).Submit(w.ctx, anonymous, csrNamed(t, newKey(t), "bob"))
	if err != nil {
		t.Fatal(err)
	}
	w.fetch(a, id)
}
