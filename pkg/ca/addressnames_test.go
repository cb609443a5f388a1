package ca

import (
	"context"
	"errors"
	"slices"
	"testing"

	"cauase/pkg/policy"
	"cauase/pkg/store"
)

// Where a rule goes by what the asker's address is called, that is found out for every request and kept with it. While it cannot be, nothing is decided: another rule
// would.
func TestNamesOfTheAskersAddress(t *testing.T) {
	w := newWorld(t)
	cfg := config(store.Services)
	cfg.Rules = engine(t, policy.Config{Name: "own", Names: "{request.address.ptr}", Decision: "approve"}, policy.Config{Name: "rest", Decision: "approve", Names: "*.web.example"})
	away := errors.New("servers are silent")
	var silent error
	cfg.AddressNames = func(_ context.Context, authority store.AuthorityName, address string) ([]string, error) {
		if authority != store.Services || address != anonymous.Address {
			t.Errorf("asked for %s, %s", authority, address)
		}
		return []string{"host.example"}, silent
	}
	a := w.open(cfg)
	done := w.submitted(a, csrOf(t, "", "host.example"), "")
	if done.Issued == nil {
		t.Fatal("not approved")
	}
	row := w.recorded(a, done.Issued.Certificate)
	asked, err := policy.ParseAsker(row.Asked)
	if err != nil || row.Rule != "own" || !slices.Equal(asked.Reverse, []string{"host.example"}) {
		t.Errorf("on record: %q %q %v", row.Rule, row.Asked, err)
	}
	if done := w.submitted(a, csrOf(t, "", "other.example"), ""); done.Issued != nil {
		t.Error("another name was approved")
	}
	silent = away
	_, err = w.submit(a, csrOf(t, "", "a.web.example"), "")
	wantError(t, err, ErrAddressNames)
	if pending, err := a.Pending(w.ctx); err != nil || len(pending) != 1 {
		t.Errorf("%d wait, %v", len(pending), err)
	}
}
