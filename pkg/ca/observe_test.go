package ca

import (
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// TestAnswersThatAreFetchedAgainAreNoOperations: who sends the same once more, because the answer was lost, gets it, and what
// is counted is what was done.
func TestAnswersThatAreFetchedAgainAreNoOperations(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	counted := map[audit.Action]int{}
	cfg.Observe = func(_ store.AuthorityName, action audit.Action, _ error) { counted[action]++ }
	a := w.open(cfg)
	csr := csrNamed(t, newKey(t), "host")
	var id int64
	for range 3 {
		var err error
		if id, err = wired(a).Submit(w.ctx, anonymous, csr); err != nil {
			t.Fatal(err)
		}
	}
	if err := wired(a).Sign(w.ctx, anonymous, id); err != nil {
		t.Fatal(err)
	}
	if again, err := wired(a).Submit(w.ctx, anonymous, csr); err != nil || again != id {
		t.Errorf("%d, %v", again, err)
	}
	crt, key := w.enrol(a, "other")
	renewal := renewalEnvelope(t, crt, key, csrNamed(t, newKey(t), "other"))
	for range 3 {
		if _, err := wired(a).Renew(w.ctx, anonymous, renewal); err != nil {
			t.Fatal(err)
		}
	}
	if counted[audit.Submit] != 2 || counted[audit.Sign] != 2 || counted[audit.Renew] != 1 {
		t.Errorf("counted: %v", counted)
	}
}
