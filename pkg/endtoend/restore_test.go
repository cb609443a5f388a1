package endtoend

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/pkitest"
)

// keyPair writes a key and a request for it.
func keyPair(t *testing.T, dir, name string) []byte {
	t.Helper()
	key := pkitest.Key(t)
	csr := pkitest.NamedRequest(t, key, name)
	for path, content := range map[string][]byte{name + ".key": pkitest.KeyPEM(t, key), name + ".csr": csr} {
		if err := os.WriteFile(filepath.Join(dir, path), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return csr
}

// backedUp makes a database with a user, alice, and some thousand entries in its audit log, and
// takes a backup of it.
func backedUp(t *testing.T, dir string) {
	t.Helper()
	ctx := t.Context()
	db, err := sqlstore.Open(ctx, filepath.Join(dir, "old.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var users *ca.Authority
	for _, name := range []store.AuthorityName{store.Services, store.Users} {
		users, err = catest.Open(ctx, db, clock.System(), catest.Config{
			Name: name, Netloc: "ca.example", Spans: rollover.Spans{Leaf: 93 * 24 * time.Hour, Life: 4}, KeyType: pki.KeyECDSAP256, AutoApprove: 1, MaxPending: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := catest.Wired(users).Submit(ctx, audit.Actor{Kind: audit.Anonymous}, keyPair(t, dir, "alice")); err != nil {
		t.Fatal(err)
	}
	err = db.Update(ctx, func(tx store.Tx) error {
		for i := range 5_000 {
			e := audit.NewEntry(clock.System().Now(), "cau", audit.Actor{Kind: audit.Operator}, audit.MakeCRL, audit.CRLObject(int64(i)))
			if err := tx.AppendAudit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, out := runToolOf(t, releasedDir, dir, "cauased", "manage", "backup", "--db", "old.sqlite", "backup"); code != 0 {
		t.Fatal(out)
	}
}

// TestRestoreKilled kills cauased at each step of a restore on disk. What it leaves behind can be restored
// into, or is complete; never anything between.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	backedUp(t, dir)
	keyPair(t, dir, "next")
	// A folder of its own for each, in which nothing else happens.
	restore := func(to string) []string {
		return []string{"manage", "restore", "--db", filepath.Join(to, "new.sqlite"), "backup", "alice.key", "next.csr", filepath.Join(to, "next.crt")}
	}
	command := func(to string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(releasedDir, "cauased"), restore(to)...)
		cmd.Dir = dir
		return cmd
	}
	to := t.TempDir()
	moments := momentsOf(t, command(to), to)
	outcomes := map[string]int{}
	for _, moment := range moments {
		to := t.TempDir()
		db := filepath.Join(to, "new.sqlite")
		if !killAt(t, command(to), to, moment) {
			outcomes["not killed"]++
			continue
		}
		if code, out := runToolOf(t, releasedDir, dir, "cauased", restore(to)...); code == 0 {
			outcomes["restored into"]++
		} else {
			// Then it was complete, but perhaps for the certificate.
			outcomes["complete"]++
			if !strings.Contains(out, "is in "+db+" already") && !strings.Contains(out, "next.crt: file already exists") {
				t.Fatalf("killed when it %s: %s", moment, out)
			}
			if code, out := runToolOf(t, releasedDir, dir, "cauased", "manage", "audit", "--db", db, "--action", "backup.restore"); code != 0 || strings.Count(out, "\n") != 1 {
				t.Errorf("killed when it %s: neither empty nor complete: %s", moment, out)
			}
		}
		if code, out := runToolOf(t, releasedDir, dir, "cauased", "manage", "check", "--db", db); code != 0 {
			t.Errorf("killed when it %s: %s", moment, out)
		}
	}
	t.Logf("killed at %v; they were %v", moments, outcomes)
	if outcomes["restored into"] == 0 {
		t.Error("none was interrupted")
	}
}

// TestDrillKilled makes sure that the keys which a drill that was killed has left behind do not stay
// for longer than to the next.
func TestDrillKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	backedUp(t, dir)
	scratch := filepath.Join(dir, "scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	drill := []string{"manage", "drill", "--directory", scratch, "backup", "alice.key"}
	orphan := ""
	for _, signal := range []os.Signal{os.Kill, os.Interrupt} {
		// Under the race detector it lasts long enough to be interrupted.
		cmd := exec.Command(filepath.Join(binDir, "cauased"), drill...)
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for expired := time.Now().Add(deadline); !other(left(t, scratch), orphan); {
			if time.Now().After(expired) {
				t.Fatal("it does not begin")
			}
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("%v: it succeeds", signal)
		}
		if there := len(left(t, scratch)) > 0; there != (signal == os.Kill) {
			t.Errorf("%v: left behind: %v", signal, left(t, scratch))
		} else if there {
			orphan = left(t, scratch)[0].Name()
		}
	}
	if code, out := runToolOf(t, releasedDir, dir, "cauased", drill...); code != 0 || len(left(t, scratch)) != 0 {
		t.Errorf("%s, left behind: %v", out, left(t, scratch))
	}
}

// other reports whether there is an entry of another name.
func other(entries []os.DirEntry, than string) bool {
	for _, e := range entries {
		if e.Name() != than {
			return true
		}
	}
	return false
}

func left(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}
