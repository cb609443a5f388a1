package sqlstore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

func mustOpen(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// revoke stores a revocation and an audit entry, which exist together or not at all.
func revoke(ctx context.Context, db *DB, n int64, detail string) error {
	return db.Update(ctx, func(t store.Tx) error {
		if _, err := t.AddRevocation(ctx, store.Revocation{Authority: store.Services, Serial: big.NewInt(n)}); err != nil {
			return err
		}
		return t.AppendAudit(ctx, audit.Entry{Time: time.Unix(n, 0), Object: audit.CRLObject(n), Detail: detail})
	})
}

// checkPairs returns the serials that are there, and fails the test when one lacks its entry
// or the database its integrity.
func checkPairs(t *testing.T, db *DB) map[int64]bool {
	t.Helper()
	ctx := t.Context()
	there := make(map[int64]bool)
	err := db.View(ctx, func(r store.Reader) error {
		revocations, err := r.Revocations(ctx, store.Services, 0, 0)
		if err != nil {
			return err
		}
		for _, v := range revocations {
			there[v.Serial.Int64()] = true
		}
		entries := 0
		if err := r.Audit(ctx, audit.Filter{}, func(e audit.Entry) error {
			entries++
			if !there[e.Time.Unix()] {
				t.Errorf("an entry without its revocation: %d", e.Time.Unix())
			}
			return nil
		}); err != nil {
			return err
		}
		if entries != len(there) {
			t.Errorf("%d entries, %d revocations", entries, len(there))
		}
		if db.dialect.name != "sqlite" {
			return nil
		}
		verdict, err := one(ctx, r.(reader).handle, scalar[string], "PRAGMA integrity_check")
		if verdict != "ok" {
			t.Errorf("integrity_check: %s", verdict)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return there
}

const crashVariable = "CAUASE_TEST_CRASH_DB"

// TestCrashChild is the process that TestCrash kills. It says which Updates were acknowledged.
func TestCrashChild(t *testing.T) {
	path := os.Getenv(crashVariable)
	if path == "" {
		t.Skip("part of TestCrash")
	}
	db := mustOpen(t, path)
	var mu sync.Mutex
	var group sync.WaitGroup
	base := int64(os.Getpid()) * 1e6 // another one each time
	for worker := range int64(16) {
		group.Go(func() {
			for n := base + worker + 16; ; n += 16 {
				if err := revoke(t.Context(), db, n, ""); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Printf("ack %d\n", n)
				mu.Unlock()
			}
		})
	}
	group.Wait()
}

func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sqlite")
	acknowledged := make(map[int64]bool)
	for round := range 4 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashChild$")
		child.Env = append(os.Environ(), crashVariable+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for seen := 0; lines.Scan(); {
			var n int64
			if _, err := fmt.Sscanf(lines.Text(), "ack %d", &n); err != nil {
				continue // a line that was cut
			}
			acknowledged[n] = true
			if seen++; seen == 100*(round+1) {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the child was not killed")
		}
		db := mustOpen(t, path)
		there := checkPairs(t, db)
		for n := range acknowledged {
			if !there[n] {
				t.Errorf("round %d: %d was acknowledged and is lost", round, n)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acknowledged) < 1000 {
		t.Errorf("only %d were acknowledged", len(acknowledged))
	}
}

// fillUp updates until there is no space left, side by side, and returns who was acknowledged.
func fillUp(t *testing.T, db *DB) map[int64]bool {
	t.Helper()
	acknowledged := make(map[int64]bool)
	var mu sync.Mutex
	var group sync.WaitGroup
	for worker := range int64(8) {
		group.Go(func() {
			for n := worker + 1; ; n += 8 {
				err := revoke(t.Context(), db, n, strings.Repeat("x", 5000))
				if err != nil {
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("error %v", err)
					}
					return
				}
				mu.Lock()
				acknowledged[n] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return acknowledged
}

func checkSurvived(t *testing.T, db *DB, acknowledged map[int64]bool) {
	t.Helper()
	there := checkPairs(t, db)
	if len(acknowledged) == 0 {
		t.Error("none was acknowledged")
	}
	for n := range acknowledged {
		if !there[n] {
			t.Errorf("%d was acknowledged and is lost", n)
		}
	}
	if len(there) != len(acknowledged) {
		t.Errorf("%d are there, %d were acknowledged", len(there), len(acknowledged))
	}
}

func TestDatabaseFull(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "db.sqlite"))
	limit := func(pages int) {
		t.Helper()
		if err := db.Update(t.Context(), func(s store.Tx) error {
			_, err := s.(tx).exec(t.Context(), fmt.Sprint("PRAGMA max_page_count = ", pages))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	limit(200)
	acknowledged := fillUp(t, db)
	checkSurvived(t, db, acknowledged)

	// One that takes the error for its own business must not be committed in part.
	err := db.Update(t.Context(), func(s store.Tx) error {
		if _, err := s.AddCounter(t.Context(), "", "kept", 1); err != nil {
			return err
		}
		for range 200 {
			_ = s.AppendAudit(t.Context(), audit.Entry{Detail: strings.Repeat("x", 5000)})
		}
		_, _ = s.AddCounter(t.Context(), "", "kept", 1)
		return nil
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	limit(100_000)
	checkSurvived(t, db, acknowledged)
	if err := revoke(t.Context(), db, 1<<40, ""); err != nil {
		t.Errorf("with space again: %v", err)
	}
	if err := db.View(t.Context(), func(r store.Reader) error {
		n, err := r.Counter(t.Context(), "", "kept")
		if n != 0 {
			t.Error("a failed transaction was kept in part")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// notTested skips a test for want of a right that the machine does not give, or fails it where nothing may go
// untested.
func notTested(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CAUASE_REQUIRE_ALL") == "1" {
		t.Fatalf("CAUASE_REQUIRE_ALL is set, and "+format, args...)
	}
	t.Skipf("NOT TESTED: "+format, args...)
}

// smallDisk mounts a file system of so many KiB.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", size)); err != nil {
		notTested(t, "cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, 2048)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, filepath.Join(dir, "db.sqlite"))
	acknowledged := fillUp(t, db)
	checkSurvived(t, db, acknowledged)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := revoke(t.Context(), db, 1<<40, ""); err != nil {
		t.Errorf("with space again: %v", err)
	}
	acknowledged[1<<40] = true
	checkSurvived(t, db, acknowledged)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	checkSurvived(t, mustOpen(t, filepath.Join(dir, "db.sqlite")), acknowledged)
}

func TestOpenOnFullDisk(t *testing.T) {
	for _, size := range []int{4, 32, 64, 96, 128, 132, 136, 140, 144, 148, 152, 156, 160, 164, 168, 192, 224} {
		t.Run(fmt.Sprintf("%d KiB", size), func(t *testing.T) {
			dir := smallDisk(t, size)
			db, err := Open(t.Context(), filepath.Join(dir, "db.sqlite"), Options{})
			if err == nil {
				_ = db.Close()
				return
			}
			if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("error %v", err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v (%v)", entries, err)
			}
		})
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t, 2048)
	path := filepath.Join(dir, "db.sqlite")
	if err := mustOpen(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		notTested(t, "cannot make a disk read-only: %v", err)
	}
	for _, name := range []string{path, path + ".new"} {
		db, err := Open(t.Context(), name, Options{})
		if err == nil {
			_ = db.Close()
			t.Fatal("opened")
		}
		if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, syscall.EROFS) {
			t.Errorf("error %v", err)
		}
	}
}

// An erased key is nowhere in the file any more, not even in space that is free.
func TestErasedKeyIsGone(t *testing.T) {
	for _, size := range []int{100, 2000, 20_000} { // within a page, large, in pages of its own
		path := filepath.Join(t.TempDir(), "db.sqlite")
		db := mustOpen(t, path)
		key := bytes.Repeat([]byte("SECRETKEY"), size/9)
		var id int64
		steps := []func(tx store.Tx) error{
			func(tx store.Tx) (err error) {
				id, err = tx.AddCA(t.Context(), store.CA{Authority: store.Users, State: store.CAUsable, Key: store.KeyInRow(key)})
				return err
			},
			func(tx store.Tx) error { return tx.EraseCAKey(t.Context(), store.Users, id, store.CAErased) },
		}
		for _, step := range steps {
			if err := db.Update(t.Context(), step); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(content, []byte("SECRETKEY")); n > 0 {
			t.Errorf("%d bytes of a key of %d are left", 9*n, size)
		}
	}
}

// A panic is logged with the place it came from, which its error does not tell.
func TestPanicIsLogged(t *testing.T) {
	var log bytes.Buffer
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "db.sqlite"),
		Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(t.Context(), func(store.Tx) error { panic("oops") })
	if err == nil || !strings.Contains(err.Error(), "oops") || !strings.Contains(log.String(), "fault_test.go") {
		t.Errorf("error %v, log %s", err, log.String())
	}
}

// Errors that are not the database's stay what they are.
func TestWrapForeignError(t *testing.T) {
	d := sqliteDialect()
	if err := d.wrap(io.EOF); !errors.Is(err, io.EOF) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if err := d.wrap(nil); err != nil {
		t.Errorf("%v", err)
	}
}
