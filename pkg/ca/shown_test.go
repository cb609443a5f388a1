package ca

import (
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// What is decided on is what was shown, whatever stands under the id: to whoever shows one request
// under the id of another this gives nothing.
func TestDecisionsAreAboutWhatWasShown(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	theirs, honest := csrNamed(t, newKey(t), "attacker"), request(t, csrNamed(t, newKey(t), "honest"))
	id := w.submitted(a, theirs, "").ID

	for how, shown := range map[string]Shown{"another": {honest.Digest}, "none": {}, "several others": {honest.Digest, {}}} {
		_, err := a.Approve(w.ctx, alice, id, Approval{Shown: shown})
		wantError(t, err, ErrOther)
		_, err = a.Approve(w.ctx, alice, id, Approval{Shown: shown, Template: honest, Profile: "server", Validity: day})
		wantError(t, err, ErrOther)
		wantError(t, a.Reject(w.ctx, alice, id, shown, ""), ErrOther)
		if pending, err := a.Pending(w.ctx); err != nil || len(pending) != 1 {
			t.Fatalf("%s: %d requests are pending, error %v", how, len(pending), err)
		}
	}
	refused := w.audit(audit.Filter{})
	if n := len(refused); n < 4 || refused[n-1].Result != audit.Refused || refused[n-1].Object != audit.RequestObject(id) {
		t.Errorf("the last of %d entries is %+v", n, refused[n-1])
	}
	wantError(t, a.Reject(w.ctx, alice, id+1, Shown{honest.Digest}, ""), ErrNotFound)

	if got, err := a.Request(w.ctx, id); err != nil || got.Digest != request(t, theirs).Digest {
		t.Errorf("the request has the digest %s, error %v", got.Digest, err)
	}
	if _, err := a.Approve(w.ctx, alice, id, Approval{Shown: Shown{honest.Digest, request(t, theirs).Digest}}); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Request(w.ctx, id); err != nil || got.Digest != request(t, theirs).Digest {
		t.Errorf("when it is signed it has the digest %s, error %v", got.Digest, err)
	}
	other := w.submitted(a, pki.EncodeCSRPEM(honest.CSR.Raw), "").ID
	if err := a.Reject(w.ctx, alice, other, Shown{honest.Digest}, ""); err != nil {
		t.Error(err)
	}
}

// A request that was put in the place of another while that was being signed is not signed for.
func TestRequestReplacedWhileItIsSigned(t *testing.T) {
	w := newWorld(t)
	meanwhile := func() error { return nil }
	cfg := config(store.Services)
	cfg.Linter = linterFunc(func() error { return meanwhile() })
	a := w.open(cfg)
	mine, theirs := request(t, csrNamed(t, newKey(t), "mine")), request(t, csrNamed(t, newKey(t), "theirs"))
	id := w.submitted(a, mine.PEM, "").ID
	meanwhile = func() error {
		return w.store.Update(w.ctx, func(tx store.Tx) error {
			row, err := tx.Request(w.ctx, a.name, id)
			if err != nil {
				return err
			}
			if err := tx.DeleteRequest(w.ctx, a.name, id); err != nil {
				return err
			}
			row.PEM, row.Digest, row.KeyID, row.Subject = theirs.PEM, theirs.Digest[:], theirs.KeyID, theirs.Subject
			return tx.AddRequest(w.ctx, row)
		})
	}
	_, err := a.Approve(w.ctx, alice, id, Approval{})
	wantError(t, err, ErrOther)
	if pending, err := a.Pending(w.ctx); err != nil || len(pending) != 1 {
		t.Errorf("%d requests are pending, error %v", len(pending), err)
	}
}
