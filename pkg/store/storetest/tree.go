package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

func id32(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

// many are entries, n of them.
func many(n int) (entries []audit.Entry) {
	for i := range n {
		entries = append(entries, newEntry(i%20+1))
	}
	return entries
}

// tree makes sure that all entries are leaves of the tree, with the right hashes, and that all of it can be proved. It returns head and root.
func (d *db) tree(entries int64) (store.Log, merkle.Hash) {
	d.t.Helper()
	var at store.Log
	var f merkle.Frontier
	d.view(func(ctx context.Context, r store.Reader) (err error) {
		if at, err = r.Log(ctx); err != nil {
			return err
		}
		f = merkle.Frontier{}
		roots := []merkle.Hash{merkle.EmptyRoot()}
		var leaves []merkle.Hash
		last := int64(0)
		err = r.Audit(ctx, audit.Filter{}, func(e audit.Entry) error {
			if hash := e.LeafHash(at.Secret); e.Leaf != f.Size() || !bytes.Equal(hash[:], e.Hash) {
				d.t.Errorf("entry %d is leaf %d of hash %x, not %d of %x", e.Seq, e.Leaf, e.Hash, f.Size(), hash)
			}
			f.Append(merkle.Hash(e.Hash), nil)
			leaves, roots, last = append(leaves, merkle.Hash(e.Hash)), append(roots, f.Root()), e.Seq
			return nil
		})
		if err != nil {
			return err
		}
		if at.Size != entries || f.Size() != entries || at.Seq != last || !bytes.Equal(at.Edge, f.Edge()) {
			d.t.Errorf("the head is at %d (entry %d), and there are %d leaves of %d entries, the last one %d", at.Size, at.Seq, f.Size(), entries, last)
			return nil
		}
		hashes := hashReader(func(indexes []int64) ([]merkle.Hash, error) { return r.LogHashes(ctx, indexes) })
		for _, size := range []int64{1, 2, entries / 2, entries - 1, entries} {
			if size < 1 || size > entries {
				continue
			}
			p, err := merkle.ProveConsistency(size, entries, hashes)
			if err != nil {
				return err
			}
			if err := merkle.CheckConsistency(size, roots[size], entries, f.Root(), p); err != nil {
				d.t.Errorf("consistency of %d with %d: %v", size, entries, err)
			}
			p, err = merkle.ProveInclusion(size-1, entries, hashes)
			if err != nil {
				return err
			}
			if err := merkle.CheckInclusion(size-1, leaves[size-1], entries, f.Root(), p); err != nil {
				d.t.Errorf("inclusion of %d in %d: %v", size-1, entries, err)
			}
		}
		return nil
	})
	return at, f.Root()
}

type hashReader func([]int64) ([]merkle.Hash, error)

func (f hashReader) ReadHashes(indexes []int64) ([]merkle.Hash, error) { return f(indexes) }

// Entries are leaves from the first one on, however many are written at once.
func testTree(t *testing.T, d *db) {
	at, _ := d.tree(0)
	if at.Epoch != 1 || len(at.Secret) != 32 || len(at.Origin) != len(merkle.OriginPrefix)+16 {
		t.Errorf("the head of a new tree is %+v", at)
	}
	total := int64(0)
	for _, n := range []int{1, 2, 252, 1, 1, 600, 255, 1} {
		d.append(many(n)...)
		total += int64(n)
		d.tree(total)
	}
	issued := newEntry(1)
	issued.Digest = id32(9)
	d.append(issued, newEntry(2))
	d.view(func(ctx context.Context, r store.Reader) error {
		e, err := r.LogEntryByDigest(ctx, id32(9))
		if err != nil || e.Leaf != total || !bytes.Equal(e.Digest, id32(9)) {
			t.Errorf("entry by digest: %+v, %v", e, err)
		}
		_, err = r.LogEntryByDigest(ctx, id32(8))
		is(t, "a digest that is not there", err, store.ErrNotFound)
		tile, err := r.LogTile(ctx, merkle.Tile{Level: 0, Number: 1})
		if err != nil || len(tile) != merkle.TileWidth {
			t.Errorf("tile of %d hashes, %v", len(tile), err)
		}
		_, err = r.LogTile(ctx, merkle.Tile{Level: 0, Number: 99})
		is(t, "a tile that is not there", err, store.ErrNotFound)
		_, err = r.LogHashes(ctx, []int64{1 << 30})
		if err == nil {
			t.Error("a hash that is not there")
		}
		return nil
	})
	d.tree(total + 2)
}

// A restore is declared: the tree is in its next epoch, of which it is known where it began.
func testEpochs(t *testing.T, d *db) {
	d.append(many(3)...)
	_, root := d.tree(3)
	begin := func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.BeginEpoch(ctx, day(5)), tx.AppendAudit(ctx, newEntry(1)))
	}
	d.update(begin)
	failed := errors.New("failed")
	is(t, "one that fails", d.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(begin(t.Context(), tx), failed)
	}), failed)
	at, second := d.tree(4)
	want := []store.Epoch{{Epoch: 2, Size: 3, Root: root, Time: day(5).Unix()}}
	check := func() {
		t.Helper()
		var got []store.Epoch
		if err := json.Unmarshal([]byte(at.Epochs), &got); err != nil {
			t.Error(err)
		}
		same(t, "epochs", got, want)
		same(t, "epoch", at.Epoch, want[len(want)-1].Epoch)
	}
	check()
	d.update(begin)
	at, _ = d.tree(5)
	want = append(want, store.Epoch{Epoch: 3, Size: 4, Root: second, Time: day(5).Unix()})
	check()
}

// What fails leaves no leaf behind, in whatever company it was; what succeeds is a leaf, even if it ran again.
func testTreeUndo(t *testing.T, d *db) {
	d.append(many(250)...)
	stop := errors.New("stop")
	ctx, kept := t.Context(), int64(250)
	done := make(chan error)
	const jobs = 40
	for i := range jobs {
		go func() {
			done <- d.Update(ctx, func(tx store.Tx) error {
				for range i%7 + 1 {
					if err := tx.AppendAudit(ctx, newEntry(i%20+1)); err != nil {
						return err
					}
				}
				if i%3 == 0 {
					return stop
				}
				bad := newEntry(1)
				bad.Detail = "no\x00text"
				if err := tx.AppendAudit(ctx, bad); err == nil {
					return errors.New("a NUL was taken")
				}
				return nil
			})
		}()
		if i%3 != 0 {
			kept += int64(i%7 + 1)
		}
	}
	for range jobs {
		if err := <-done; err != nil && !errors.Is(err, stop) {
			t.Error(err)
		}
	}
	d.tree(kept)
}

// signer is a store whose checkpoints can be signed.
type signer interface {
	SignCheckpoints(func(merkle.Checkpoint) ([]byte, error))
}

func testCheckpoints(t *testing.T, d *db) {
	s, ok := d.Store.(signer)
	if !ok {
		t.Skip("it signs nothing")
	}
	latest := func() (c store.Checkpoint, err error) {
		err = d.View(t.Context(), func(r store.Reader) (err error) { c, err = r.LatestCheckpoint(t.Context()); return err })
		return c, err
	}
	d.append(newEntry(1))
	_, err := latest()
	is(t, "without a key", err, store.ErrNotFound)
	s.SignCheckpoints(func(c merkle.Checkpoint) ([]byte, error) { return c.Marshal(), nil })
	d.update(func(ctx context.Context, tx store.Tx) error { return tx.Checkpoint(ctx, day(1).Add(time.Hour)) })
	check := func(what string, size int64) {
		t.Helper()
		at, root := d.tree(size)
		c, err := latest()
		if err != nil {
			t.Fatal(err)
		}
		want := merkle.Checkpoint{Origin: at.Origin, Size: size, Root: root, Time: c.Time, Epoch: 1}
		if c.Size != size || !bytes.Equal(c.Root, root[:]) || c.Epoch != 1 || string(c.Signed) != string(want.Marshal()) {
			t.Errorf("%s: %+v", what, c)
		}
	}
	check("on demand", 1)
	d.append(newEntry(2))
	check("with entries", 2)
	d.append(newEntry(2), newEntry(2)) // in the same second
	check("in the same second", 4)
	s.SignCheckpoints(func(merkle.Checkpoint) ([]byte, error) { return nil, errors.New("locked") })
	d.append(newEntry(3))
	if c, err := latest(); err != nil || c.Size != 4 {
		t.Errorf("while the key is locked: %+v, %v", c, err)
	}
	s.SignCheckpoints(func(c merkle.Checkpoint) ([]byte, error) { return c.Marshal(), nil })
	d.append(newEntry(4))
	check("after that", 6)
	var all []store.Checkpoint
	d.view(func(ctx context.Context, r store.Reader) error {
		all = nil
		for after := (store.Checkpoint{}); ; after = all[len(all)-1] {
			page, err := r.Checkpoints(ctx, after, 1)
			if all = append(all, page...); err != nil || len(page) == 0 {
				return err
			}
		}
	})
	if len(all) != 3 {
		t.Fatalf("%d checkpoints: %+v", len(all), all)
	}
	var looked int
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		looked, _, err = tx.ThinCheckpoints(ctx, time.Unix(0, 0), day(3), 1000*24*time.Hour, 10)
		return err
	})
	d.view(func(ctx context.Context, r store.Reader) (err error) {
		all, err = r.Checkpoints(ctx, store.Checkpoint{}, 0)
		return err
	})
	if looked != 2 || len(all) != 2 || all[1].Size != 6 {
		t.Errorf("of %d looked at there are left %+v", looked, all)
	}
}

// Entries without a tree enter one when they are loaded, in their order, with the certificates they are about.
func testTreeEntered(t *testing.T, d *db) {
	d.fill()
	d.append(many(600)...)
	var crt store.Certificate
	var rows []store.Row
	for _, row := range d.rows() {
		switch v := row.(type) {
		case store.Log, store.LogTile, store.Checkpoint:
			continue
		case store.Certificate:
			crt = v
		case store.AuditEntry:
			v.Seq, v.Leaf, v.Hash, v.Action = 3*v.Seq, 0, nil, audit.Submit
			if v.Seq == 30 {
				v.Authority, v.Action, v.Object = string(crt.Authority), audit.Renew, audit.CertificateObject(crt.ID, crt.Serial)
			}
			row = v
		}
		rows = append(rows, row)
	}
	other := d.another()
	if err := other.load(all(rows, nil)); err != nil {
		t.Fatal(err)
	}
	other.tree(603)
	for _, e := range other.audit(audit.Filter{}, false) {
		if (e.Seq == 30) != (len(e.Digest) > 0) {
			t.Errorf("entry %d has the digest %x", e.Seq, e.Digest)
		}
	}
	other.append(many(200)...)
	other.tree(803)
	// With its tree, it is the same tree.
	third := d.another()
	if err := third.load(all(other.rows(), nil)); err != nil {
		t.Fatal(err)
	}
	a, rootA := other.tree(803)
	b, rootB := third.tree(803)
	if a.Origin != b.Origin || rootA != rootB {
		t.Error("the tree is another one after it was loaded")
	}
	third.append(many(300)...)
	third.tree(1103)
}

// Entries go by age, and the rest can still be proved.
func testPruneAudit(t *testing.T, d *db) {
	old, young := newEntry(1), newEntry(9)
	entries := make([]audit.Entry, 0, 1000)
	for range 700 {
		entries = append(entries, old)
	}
	for range 300 {
		entries = append(entries, young)
	}
	d.append(entries...)
	before, _ := d.tree(1000)
	prune := func(limit, want int, first int64) {
		t.Helper()
		d.update(func(ctx context.Context, tx store.Tx) error {
			n, at, err := tx.PruneAudit(ctx, day(5), limit)
			if n != want || at != first {
				t.Errorf("%d entries were pruned, and the first left is leaf %d: want %d and %d", n, at, want, first)
			}
			return err
		})
	}
	prune(1, 256, 256)
	prune(1000, 256, 512)
	prune(1000, 0, 512)
	d.append(young)
	d.view(func(ctx context.Context, r store.Reader) error {
		at, err := r.Log(ctx)
		if err != nil || at.Size != 1001 {
			t.Errorf("head at %d, %v", at.Size, err)
		}
		f, err := merkle.ReadFrontier(before.Size, before.Edge)
		if err != nil {
			return err
		}
		g, err := merkle.ReadFrontier(at.Size, at.Edge)
		if err != nil {
			return err
		}
		p, err := merkle.ProveConsistency(1000, 1001, hashReader(func(i []int64) ([]merkle.Hash, error) { return r.LogHashes(ctx, i) }))
		if err != nil {
			return err
		}
		if err := merkle.CheckConsistency(1000, f.Root(), 1001, g.Root(), p); err != nil {
			t.Errorf("after pruning: %v", err)
		}
		return nil
	})
}
