package storetest

import (
	"context"
	"errors"
	"math/big"
	"reflect"
	"testing"
	"time"

	"cauase/pkg/store"
)

func testAuthorities(t *testing.T, d *db) {
	first, second := newAuthority(1), newAuthority(2)
	bare := store.Authority{Name: "b", Role: store.RoleRoot, CreatedAt: day(1)}
	version := func() (n int64) {
		d.view(func(ctx context.Context, r store.Reader) (err error) {
			n, err = r.Counter(ctx, "", store.CounterAuthorities)
			return err
		})
		return n
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		_, err := r.Authority(ctx, first.Name)
		is(t, "one that is not there", err, store.ErrNotFound)
		return nil
	})
	d.update(func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.PutAuthority(ctx, second), tx.PutAuthority(ctx, bare), tx.PutAuthority(ctx, first))
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		all, err := r.Authorities(ctx)
		same(t, "all", all, []store.Authority{first, second, bare})
		return err
	})
	before := version()
	first.Title, first.RetiredAt, first.Profiles, first.Subject = "another", time.Time{}, nil, nil
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.PutAuthority(ctx, first) })
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.Authority(ctx, first.Name)
		same(t, "replaced", got, first)
		return err
	})
	if after := version(); after <= before {
		t.Errorf("version %d after %d", after, before)
	}
	d.update(func(ctx context.Context, tx store.Tx) error {
		is(t, "an invalid one", tx.PutAuthority(ctx, store.Authority{Name: "No", Role: store.RoleUsers}), store.ErrInvalidAuthority)
		return nil
	})
}

func testSignoffs(t *testing.T, d *db) {
	a, other := newAuthority(1), newAuthority(2)
	first, second, foreign := newSignoff(a.Name, 1), newSignoff(a.Name, 2), newSignoff(other.Name, 3)
	first.InstalledAt = time.Time{}
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		if err := errors.Join(tx.PutAuthority(ctx, a), tx.PutAuthority(ctx, other)); err != nil {
			return err
		}
		for _, s := range []*store.Signoff{&first, &second, &foreign} {
			if s.ID, err = tx.AddSignoff(ctx, *s); err != nil {
				return err
			}
		}
		return nil
	})
	if second.ID <= first.ID {
		t.Errorf("IDs %d, %d do not grow", first.ID, second.ID)
	}
	want := func(all ...store.Signoff) {
		t.Helper()
		d.view(func(ctx context.Context, r store.Reader) error {
			got, err := r.Signoffs(ctx, a.Name)
			same(t, "sign-offs", got, all)
			return err
		})
	}
	want(first, second)
	first.Key, first.InstalledAt = store.KeyRef{}, day(9)
	d.update(func(ctx context.Context, tx store.Tx) error {
		gone := first
		gone.ID += 100
		is(t, "putting one that is not there", tx.PutSignoff(ctx, gone), store.ErrNotFound)
		return tx.PutSignoff(ctx, first)
	})
	want(first, second)
	d.update(func(ctx context.Context, tx store.Tx) error {
		is(t, "deleting one of another authority", tx.DeleteSignoff(ctx, other.Name, first.ID), store.ErrNotFound)
		return tx.DeleteSignoff(ctx, a.Name, first.ID)
	})
	want(second)
}

// Every kind of row is read as it was written, with a value in each column and with none where that may
// be. That the samples have a value in each field is tested, too.
func testKinds(t *testing.T, d *db) {
	full := []store.Row{newAuthority(1), newCA("a-01", 1), newSignoff("a-01", 1), newKEK("a-01", 1),
		store.CRL{Authority: "a-01", CAID: 1, Number: 5, ThisUpdate: day(1), NextUpdate: day(2), Pruned: 1, Signature: []byte{1}},
		newRequest("a-01", 1), newApproval("a-01", 1, 1), newRejection("a-01", 1), newLineage("a-01", 1), newAdoption("a-01", 1), newCertificate("a-01", 1, 1), newRevocation("a-01", 1), newInvitation("a-01", 1),
		newDelivery(1),
		store.Counter{Authority: "a-01", Name: "n", Value: 1}, store.Setting{Authority: "a-01", Name: "n", Value: "v"},
		store.Log{ID: 1, Origin: "o", Secret: []byte{1}, Size: 1, Seq: 99, Edge: id32(2), Epoch: 3, Epochs: "[]"},
		store.LogTile{Level: 1, Number: 2, Hashes: []byte{3}}, store.Checkpoint{Size: 1, Time: day(1), Root: []byte{1}, Epoch: 1, Signed: []byte{2}},
		store.AuditEntry{Entry: entered(newEntry(1))}}
	var rows []store.Row
	for i, kind := range store.Kinds() {
		if store.KindOf(full[i]) != kind {
			t.Fatalf("no sample of kind %s", kind.Name)
		}
		values := kind.Values(full[i])
		bare := append([]any(nil), values...)
		for j, c := range kind.Columns {
			if c.Type == store.Ordinal && (c.Name == "id" || c.Name == "seq") {
				values[j], bare[j] = int64(1), int64(2)
				continue
			}
			if value := reflect.ValueOf(values[j]); !value.IsValid() || value.IsZero() {
				t.Errorf("the sample of kind %s has no %s", kind.Name, c.Name)
			}
			if c.Optional {
				bare[j] = nil
			}
			switch c.Type {
			case store.Texts:
				bare[j] = []string(nil)
			case store.Serial:
				if !c.Optional {
					bare[j] = new(big.Int)
				}
			case store.Random:
				switch {
				case kind.Name == "certificate" && c.Name == "lineage": // it would get one
				case kind.Name == "approval" && c.Name == "request":
				case kind.Name == "rejection", kind.Name == "lineage", kind.Name == "approval", kind.Name == "adoption": // which come in the order of ids
					bare[j] = values[j].(int64) + 1
				default:
					bare[j] = int64(0)
				}
			case store.Text:
				if c.Name == "name" {
					bare[j] = "z"
				}
			}
			switch kind.Name + "." + c.Name {
			case "kek.authority":
				bare[j] = "b"
			case "log_tile.number", "checkpoint.time":
				bare[j] = values[j].(int64) + 1
			}
			if kind.Name == "invitation" && c.Name == "id" {
				bare[j] = "z"
			}
			if (kind.Name == "request" || kind.Name == "rejection") && c.Name == "csr_digest" {
				bare[j] = []byte{}
			}
			if kind.Name == "request" && c.Name == "received_at" {
				bare[j] = values[j].(int64) + 1
			}
		}
		rows = append(rows, kind.Row(values))
		if kind.Name == "crl" || kind.Name == "log" {
			continue // nothing of it is optional, and there is one log
		}
		rows = append(rows, kind.Row(bare))
	}
	err := d.load(func(yield func(store.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "rows", d.rows(), rows)
}
