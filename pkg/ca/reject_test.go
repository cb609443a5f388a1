package ca

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cauase/pkg/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A rejection is remembered for a month, the newest ones at most, and no longer than it is true.
func TestRejectionsAreRememberedForAWhile(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	csr := csrNamed(t, newKey(t), "host")
	digest := request(t, csr).Digest
	id := w.submitted(a, csr, "").ID
	if err := a.Reject(w.ctx, alice, id, nil, " not \n now "); err != nil {
		t.Fatal(err)
	}
	got, err := a.Rejection(w.ctx, 0, digest)
	if err != nil || got.Reason != "not now" || !got.At.Equal(w.clock.Now()) || !errors.Is(got, ErrRejected) {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := a.Rejection(w.ctx, id, digest); err != nil {
		t.Error(err)
	}
	for other, d := range map[int64]string{id + 1: string(digest[:]), 0: strings.Repeat("x", 32)} {
		_, err := a.Rejection(w.ctx, other, [32]byte([]byte(d)))
		wantError(t, err, ErrNotFound)
	}
	w.clock.Advance(29 * day)
	must(t, a.Maintain(w.ctx))
	if _, err := a.Rejection(w.ctx, id, digest); err != nil {
		t.Error(err)
	}
	w.clock.Advance(2 * day)
	must(t, a.Maintain(w.ctx))
	// Not at once: the clock may have jumped.
	for range 100 {
		if _, err = a.Rejection(w.ctx, id, digest); err != nil {
			break
		}
		w.clock.Advance(day)
		must(t, a.Maintain(w.ctx))
	}
	wantError(t, err, ErrNotFound)

	long := strings.Repeat("\x01", MaxReason)
	if text, err := cleanReason(long); err != nil || len(text) > MaxReason || !strings.HasSuffix(text, "…") {
		t.Errorf("%q, %v", text, err)
	}
	_, err = cleanReason(long + "x")
	wantError(t, err, ErrInvalid)
}

// However many requests users reject, no more than so many are remembered.
func TestRejectionsAreBounded(t *testing.T) {
	w := newWorld(t)
	a := w.open(config(store.Services))
	csr := csrNamed(t, newKey(t), "newest")
	id := w.submitted(a, csr, "").ID
	must(t, w.store.Update(w.ctx, func(tx store.Tx) error {
		for n := range maxRejections + 5 {
			err := tx.PutRejection(w.ctx, store.Rejection{Authority: store.Services, ID: int64(n + 1), Digest: []byte(fmt.Sprintf("%032d", n)), KeyID: []byte{1},
				RejectedAt: w.clock.Now().Add(-time.Hour + time.Duration(n)*time.Second), RejectedBy: "user"})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, a.Reject(w.ctx, alice, id, nil, ""))
	left := 0
	must(t, w.store.View(w.ctx, func(r store.Reader) error {
		return r.Rows(w.ctx, func(row store.Row) error {
			if _, is := row.(store.Rejection); is {
				left++
			}
			return nil
		})
	}))
	if left != maxRejections {
		t.Errorf("%d are remembered", left)
	}
	if _, err := a.Rejection(w.ctx, id, request(t, csr).Digest); err != nil {
		t.Error("the newest is not among them")
	}
}
