package endtoend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/caucase/caucasetest"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// TestImportKilled kills imports at each step that they make on disk. There is no database then, or
// an empty one, which the next import fills, or all of it is there.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	caucasetest.Unpack(t, "0.9.17", home)
	caFrom(t, filepath.Join(home, "ca.pem"))
	for _, args := range [][]string{{"import-caucase", "caucase.sqlite"}, {"import-ca", "ca.pem"}} {
		t.Run(args[0], func(t *testing.T) {
			command := func(dir string) *exec.Cmd {
				cmd := exec.Command(filepath.Join(releasedDir, "cauased"), append([]string{"manage", args[0], "--db", filepath.Join(dir, "db")}, args[1:]...)...)
				cmd.Dir = home
				return cmd
			}
			dir := t.TempDir()
			moments := momentsOf(t, command(dir), dir)
			want := rowsOf(t, filepath.Join(dir, "db"))
			outcomes := map[string]int{}
			for _, moment := range moments {
				dir := t.TempDir()
				db := filepath.Join(dir, "db")
				if !killAt(t, command(dir), dir, moment) {
					outcomes["not killed"]++
				}
				outcome := "nothing"
				if _, err := os.Stat(db); err == nil {
					switch got := rowsOf(t, db); got {
					case 0:
						outcome = "empty"
					case want:
						outcome = "complete"
					default:
						t.Errorf("killed when it %s: %d rows of %d", moment, got, want)
					}
				} else if !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				outcomes[outcome]++
				out, err := command(dir).CombinedOutput()
				if outcome == "complete" && err == nil || outcome != "complete" && err != nil {
					t.Errorf("killed when it %s, %s, and again: %v\n%s", moment, outcome, err, out)
				}
				if got := rowsOf(t, db); got != want {
					t.Errorf("killed when it %s, %s, and again: %d rows of %d", moment, outcome, got, want)
				}
			}
			t.Logf("killed at %v; left behind: %v", moments, outcomes)
			if outcomes["nothing"] == 0 {
				t.Error("none was interrupted")
			}
		})
	}
}

// Of several at once one makes the database, and none of the others removes it.
func TestImportsAtOnce(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	caucasetest.Unpack(t, "0.9.17", home)
	for round := range 5 {
		db := fmt.Sprintf("db%d", round)
		ended := make(chan error)
		const imports = 4
		for range imports {
			cmd := exec.Command(filepath.Join(releasedDir, "cauased"), "manage", "import-caucase", "--db", db, "caucase.sqlite")
			cmd.Dir = home
			go func() { ended <- cmd.Run() }()
		}
		succeeded := 0
		for range imports {
			if err := <-ended; err == nil {
				succeeded++
			}
		}
		if rows := rowsOf(t, filepath.Join(home, db)); succeeded != 1 || rows == 0 {
			t.Errorf("%d imports have succeeded, and there are %d rows", succeeded, rows)
		}
	}
	if left, err := filepath.Glob(filepath.Join(home, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
}

func rowsOf(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(t.Context(), func(r store.Reader) error {
		return r.Rows(t.Context(), func(row store.Row) error {
			if c, ok := row.(store.Counter); !ok || c.Name != "ping" {
				n++
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// caFrom takes a CA with its key from a database of caucase, by an export.
func caFrom(t *testing.T, path string) {
	t.Helper()
	dir := filepath.Dir(path)
	if err := os.WriteFile(filepath.Join(dir, "passphrase"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"cauased manage import-caucase --db other.sqlite caucase.sqlite",
		"cauased manage export-ca --db other.sqlite --passphrase-file passphrase exported.pem",
		"openssl pkey -in exported.pem -passin file:passphrase -out ca.pem",
		"sh -c 'openssl x509 -in exported.pem >>ca.pem'",
	} {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Fields(line)[0], err, out)
		}
	}
}
