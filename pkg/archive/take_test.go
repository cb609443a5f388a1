package archive

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/backup"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/dump"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// Every kind of user key can decrypt a backup, and finds in it what the database holds.
func TestTake(t *testing.T) {
	w := newWorld(t)
	rsa, _ := w.user("rsa", pki.KeyRSA2048)
	p256, _ := w.user("p256", pki.KeyECDSAP256)
	ed, _ := w.user("ed", pki.KeyEd25519)
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := Take(t.Context(), w.store, w.clock, "test", w.dir)
	if err != nil {
		t.Fatal(err)
	}
	if b.Path != filepath.Join(w.dir, "20260501100000.rows.caucased") || b.Recipients != 3 || len(b.Excluded) != 0 || !b.At.Equal(epoch) {
		t.Errorf("%+v", b)
	}
	info, err := os.Lstat(b.Path)
	if err != nil || info.Mode() != 0o600 || info.Size() != b.Size {
		t.Errorf("%v %v", info, err)
	}
	for name, key := range map[string]any{"rsa": rsa, "p256": p256, "ed25519": ed} {
		// The keys are sealed in it, as they are not in this database.
		if got := open(t, b.Path, key); !unsealed(got).Equal(unsealed(w.summary())) || !got.Equal(b.Rows) {
			t.Errorf("%s: %s", name, got.Diff(w.summary()))
		}
	}
	// Another one within the same second gets another name.
	second, err := Take(t.Context(), w.store, w.clock, "test", w.dir)
	if err != nil {
		t.Fatal(err)
	}
	w.wantNames("20260501100000.rows.caucased", filepath.Base(second.Path))
}

// unsealed leaves out the kinds that have private keys.
func unsealed(s dump.Summary) dump.Summary {
	return slices.DeleteFunc(slices.Clone(s), func(k dump.Sum) bool { return k.Kind == "ca" || k.Kind == "kek" })
}

func TestTakeFile(t *testing.T) {
	w := newWorld(t)
	key, _ := w.user("alice", pki.KeyECDSAP256)
	dir := t.TempDir()
	target := filepath.Join(dir, "mine")
	if _, err := Take(t.Context(), w.store, w.clock, "test", target); err != nil {
		t.Fatal(err)
	}
	open(t, target, key)
	before, _ := os.ReadFile(target)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"a file that is there": target, "a symbolic link": link, "a directory that is not there": filepath.Join(dir, "no", "file"),
		"a directory by its slash": filepath.Join(dir, "no") + "/", "nothing": "",
	} {
		if _, err := Take(t.Context(), w.store, w.clock, "test", path); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if after, _ := os.ReadFile(target); string(after) != string(before) {
		t.Error("a file was overwritten")
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("left behind: %q", got)
	}
}

func TestRecipients(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	list := func() (int, []Excluded, error) {
		var n int
		var excluded []Excluded
		err := w.store.View(ctx, func(r store.Reader) error {
			keys, x, err := users(ctx, r, w.clock.Now())
			n, excluded = len(keys), x
			return err
		})
		return n, excluded, err
	}
	if _, _, err := list(); !errors.Is(err, ErrNoUser) {
		t.Errorf("no user: %v", err)
	}
	_, revoked := w.user("revoked", pki.KeyECDSAP256)
	w.user("expires", pki.KeyECDSAP256)
	w.clock.Advance(60 * day)
	key, first := w.user("alice", pki.KeyECDSAP256)
	if err := catest.Wired(w.users).RevokeByUser(ctx, audit.Actor{Kind: audit.Operator}, envelope.Revocation{Serial: revoked.SerialNumber}); err != nil {
		t.Fatal(err)
	}
	if n, _, err := list(); n != 2 || err != nil {
		t.Errorf("%d users, %v; the revoked one does not count", n, err)
	}
	w.clock.Advance(60 * day)
	if n, _, err := list(); n != 1 || err != nil {
		t.Errorf("%d users, %v; the expired one does not count", n, err)
	}
	// The same key in two certificates is one recipient; one that cannot be read is left out, and said so.
	keyID, _ := pki.KeyID(key.Public())
	err := w.store.Update(ctx, func(tx store.Tx) error {
		for i, der := range [][]byte{first.Raw, []byte("junk")} {
			serial, _ := pki.NewSerial()
			row := store.Certificate{
				Authority: store.Users, ID: int64(i + 1), Lineage: int64(i + 1), Serial: serial, CAID: 1, Subject: "CN=x", NotBefore: first.NotBefore,
				NotAfter: first.NotAfter, KeyID: keyID, IssuedAt: epoch, Method: store.Renewed, CSR: []byte("x"), CSRDigest: make([]byte, 32), DER: der,
			}
			if err := errors.Join(tx.AddCertificate(ctx, row), tx.AddLineage(ctx, store.FirstOf(row, store.RoleUsers), nil)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, x, err := list(); n != 1 || err != nil || len(x) != 1 || x[0].Subject != "CN=x" || x[0].Why == "" {
		t.Errorf("%d users, %v, %v", n, x, err)
	}
	w.archive("@daily", nil).poll(ctx)
	if !w.said("a user cannot decrypt the backup") || !w.said("CN=x") {
		t.Errorf("who is left out is not said: %s", w.log)
	}
	w.clock.Set(first.NotBefore.Add(-1))
	if n, _, err := list(); n != 1 || err != nil { // the one that had expired
		t.Errorf("%d users, %v; one from the future does not count", n, err)
	}
}

// A disk is a file whose disk fails.
type disk struct {
	file
	fails string // the operation
	after int    // how many of them succeed
	err   error
}

func (d *disk) fail(operation string) error {
	if d.fails != operation {
		return nil
	}
	if d.after--; d.after < 0 {
		return d.err
	}
	return nil
}

func (d *disk) Write(p []byte) (int, error) {
	if err := d.fail("write"); err != nil {
		n, _ := d.file.Write(p[:len(p)/2])
		return n, err
	}
	return d.file.Write(p)
}

func (d *disk) Read(p []byte) (int, error) {
	if err := d.fail("read"); err != nil {
		return 0, err
	}
	n, err := d.file.Read(p)
	if d.fails == "flip" && n > 0 {
		p[n-1] ^= 1
	}
	return n, err
}

func (d *disk) Seek(offset int64, whence int) (int64, error) {
	if err := d.fail("seek"); err != nil {
		return 0, err
	}
	return d.file.Seek(offset, whence)
}

func (d *disk) Truncate(size int64) error {
	if err := d.fail("truncate"); err != nil {
		return err
	}
	return d.file.Truncate(size)
}

func (d *disk) Sync() error { return errors.Join(d.fail("sync"), d.file.Sync()) }

func (d *disk) Close() error { return errors.Join(d.file.Close(), d.fail("close")) }

// Whatever fails on the disk, at whichever write: a clear error, old backups untouched, and
// nothing left behind.
func TestFailingDisk(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	// More than the buffer, so that there are several writes.
	err := w.store.Update(t.Context(), func(tx store.Tx) error {
		for i := range 3000 {
			e := audit.NewEntry(epoch, "cau", audit.Actor{Kind: audit.Operator}, audit.Sign, audit.RequestObject(int64(i)))
			e.Detail = strings.Repeat("x", 1000)
			if err := tx.AppendAudit(t.Context(), e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.put("20260101000000.rows.caucased", "old")
	before := w.summary()
	for _, c := range []struct {
		fails string
		most  int // this many succeed at most
		err   error
	}{
		{"write", 2, syscall.ENOSPC},
		{"write", 0, syscall.EIO},
		{"write", 0, syscall.EROFS},
		{"seek", 1, syscall.EIO},
		{"truncate", 0, syscall.EIO},
		{"sync", 0, syscall.ENOSPC},
		{"read", 1, syscall.EIO},
		{"flip", 0, nil},
		{"close", 0, syscall.ENOSPC},
	} {
		for after := range c.most + 1 {
			d, err := openDirectory(w.dir)
			if err != nil {
				t.Fatal(err)
			}
			tk := w.taker()
			tk.wrap = func(f file) file { return &disk{file: f, fails: c.fails, after: after, err: c.err} }
			_, err = tk.take(t.Context(), d, "")
			d.close()
			if err == nil || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("%s %d: error %v, want %v", c.fails, after, err, c.err)
			}
			w.wantNames("20260101000000.rows.caucased")
		}
	}
	if !before.Equal(w.summary()) {
		t.Error("the database has changed")
	}
}

// What is at the final name, or in the place of the directory, is never overwritten or followed.
func TestHostileDirectory(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	ctx := t.Context()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(w.dir, FileName(epoch))); err != nil {
		t.Fatal(err)
	}
	b, err := Take(ctx, w.store, w.clock, "test", w.dir)
	if err != nil || filepath.Base(b.Path) != "20260501100001.rows.caucased" {
		t.Errorf("%s, %v", b.Path, err)
	}
	if data, _ := os.ReadFile(victim); string(data) != "precious" {
		t.Error("a link was followed")
	}
	for name, path := range map[string]string{"a file": victim, "below a file": victim + "/x", "no parent": filepath.Join(w.dir, "x", "y")} {
		if _, err := openDirectory(path); err == nil {
			t.Errorf("%s: taken for a directory", name)
		}
	}
	d, err := openDirectory(filepath.Join(w.dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(d.path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if _, err := openDirectory(d.path); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one at once: %v", err)
	}
	d.close()
}

// Told to end, it leaves nothing behind.
func TestTakeCancelled(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	for _, step := range []string{"create", "write", "flush", "verify"} {
		d, err := openDirectory(w.dir)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		tk := w.taker()
		tk.step = func(name string) {
			if name == step {
				cancel()
			}
		}
		if _, err := tk.take(ctx, d, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", step, err)
		}
		d.close()
		cancel()
		w.wantNames()
	}
}

func TestPruneAndSweep(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{
		"20260101000000.rows.caucased", "20260102000000.rows.caucased", "20260103000000.rows.caucased",
		"20250101000000.sql.caucased", "20990101000000.rows.caucased", "notes.txt", tempName(),
	} {
		w.put(name, "x")
	}
	if err := os.Symlink("notes.txt", filepath.Join(w.dir, "20250102000000.rows.caucased")); err != nil {
		t.Fatal(err)
	}
	d, err := openDirectory(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if n, err := d.sweep(epoch); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	taken := epoch.AddDate(0, 0, 0)
	if removed, err := d.prune(0, taken); removed != nil || err != nil {
		t.Errorf("keep all: %v %v", removed, err)
	}
	if removed, err := d.prune(2, taken); len(removed) != 1 || removed[0] != "20260101000000.rows.caucased" || err != nil {
		t.Errorf("keep 2: %v %v", removed, err)
	}
	if removed, err := d.prune(5, taken); removed != nil || err != nil {
		t.Errorf("keep 5: %v %v", removed, err)
	}
	w.wantNames("20250101000000.sql.caucased", "20250102000000.rows.caucased", "20260102000000.rows.caucased",
		"20260103000000.rows.caucased", "20990101000000.rows.caucased", "notes.txt")
	// Where there is no lock, only what is old was left behind by the dead.
	d.locked = false
	w.put(tempName(), "x")
	info, err := os.Stat(filepath.Join(w.dir, names(t, w.dir)[0]))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.sweep(info.ModTime()); n != 0 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if n, err := d.sweep(info.ModTime().Add(2 * orphanAge)); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
}

// A name that may not survive a loss of power is no backup's.
func TestUnsyncedName(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	d, err := openDirectory(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	tk := taker{store: w.store, clock: w.clock, step: func(name string) {
		if name == "sync" {
			_ = d.self.Close() // so that it cannot be synced
		}
	}}
	if b, err := tk.take(t.Context(), d, ""); err == nil || b.Path != "" {
		t.Errorf("%+v %v", b, err)
	}
	w.wantNames()
}

// One user who renews without end takes one place among the recipients, and those who came first keep theirs.
func TestAUserWhoRenewsWithoutEndKeepsNobodyOut(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	_, alice := w.user("alice", pki.KeyECDSAP256)
	w.clock.Advance(time.Hour)
	_, mallory := w.user("mallory", pki.KeyECDSAP256)
	var newest store.Certificate
	err := w.store.Update(ctx, func(tx store.Tx) error {
		first, err := tx.CertificateBySerial(ctx, store.Users, mallory.SerialNumber)
		if err != nil {
			return err
		}
		l, err := tx.LineageOf(ctx, store.Users, mallory.SerialNumber)
		if err != nil {
			return err
		}
		for n := range backup.MaxRecipients + 100 {
			next := first
			next.ID, next.Serial, next.Renews, next.KeyID = int64(n+1), big.NewInt(int64(n+1)), first.Serial, []byte(fmt.Sprint(n))
			if err := tx.AddCertificate(ctx, next); err != nil {
				return err
			}
			newest = next
		}
		l.Newest = newest.Serial
		return tx.PutLineage(ctx, l)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	w.user("bob", pki.KeyECDSAP256)
	found := func() (serials []string) {
		err := w.store.View(ctx, func(r store.Reader) error {
			serials = nil
			return eachUser(ctx, r, w.clock.Now(), func(c store.Certificate) error {
				serials = append(serials, c.Subject+" "+c.Serial.String())
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return serials
	}
	if got := found(); len(got) != 3 || got[0] != "CN=alice "+alice.SerialNumber.String() || got[1] != "CN=mallory "+newest.Serial.String() || !strings.HasPrefix(got[2], "CN=bob ") {
		t.Errorf("%q", got)
	}
	// With the newest one withdrawn it is the one before.
	if err := w.users.RevokeSerial(ctx, audit.Actor{Kind: audit.Operator}, newest.Serial, ca.Revoking{OnlyThis: true}); err != nil {
		t.Fatal(err)
	}
	before := new(big.Int).Sub(newest.Serial, big.NewInt(1))
	if got := found(); len(got) != 3 || got[1] != "CN=mallory "+before.String() {
		t.Errorf("%q", got)
	}
	// And so on, however many are: whoever can log in can restore.
	err = w.store.Update(ctx, func(tx store.Tx) error {
		for range 2 * newestPage {
			rev := store.Revocation{Authority: store.Users, Serial: before, RevokedAt: w.clock.Now(), KeepUntil: newest.NotAfter}
			if _, err := tx.AddRevocation(ctx, rev); err != nil {
				return err
			}
			before = new(big.Int).Sub(before, big.NewInt(1))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := found(); len(got) != 3 || got[1] != "CN=mallory "+before.String() {
		t.Errorf("%q", got)
	}
}

// Whoever is left out makes readiness warn.
func TestWhoIsLeftOutIsNoticed(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	row := store.Certificate{Authority: store.Users, ID: 1, Lineage: 1, Serial: big.NewInt(1), CAID: 1, Subject: "CN=x", NotBefore: epoch, NotAfter: epoch.Add(day),
		KeyID: []byte{1}, IssuedAt: epoch, Method: store.Renewed, DER: []byte("junk")}
	err := w.store.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.AddCertificate(t.Context(), row), tx.AddLineage(t.Context(), store.FirstOf(row, store.RoleUsers), nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	a := w.archive("@daily", nil)
	a.poll(t.Context())
	if err := a.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot decrypt it: 1") {
		t.Errorf("readiness says %v", err)
	}
}
