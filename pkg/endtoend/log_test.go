package endtoend

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/logkey"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/vault"
)

// rewrite is the attacker: who has the database and the daemon's own keys edits one old row, and computes all anew that follows from it,
// so that the log is without a fault in itself.
func rewrite(t *testing.T, path string, seq int64) {
	t.Helper()
	ctx := context.Background()
	db, err := sqlstore.Open(ctx, path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ring := vault.New(db.Store(), clock.System(), vault.SecretFile(filepath.Join(filepath.Dir(path), "key-secret"), func() ([]byte, error) { return nil, nil }))
	if err := ring.Unlock(ctx); err != nil {
		t.Fatal(err)
	}
	key, err := logkey.Open(ctx, db.Store(), ring.Custody(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var head store.Log
	var tree merkle.Frontier
	var forged merkle.Hash
	err = db.Store().View(ctx, func(r store.Reader) error {
		if head, err = r.Log(ctx); err != nil {
			return err
		}
		return r.Audit(ctx, audit.Filter{}, func(e audit.Entry) error {
			if e.Seq == seq {
				e.Detail = "nothing has happened here"
				forged = e.LeafHash(head.Secret)
			}
			tree.Append(e.LeafHash(head.Secret), nil)
			return nil
		})
	})
	if err != nil || forged == (merkle.Hash{}) || tree.Size() != head.Size || tree.Size() >= merkle.TileWidth {
		t.Fatal(err, tree.Size(), head.Size)
	}
	if err := db.Store().Close(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signed, err := merkle.SignCheckpoint(merkle.Checkpoint{Origin: head.Origin, Size: tree.Size(), Root: tree.Root(), Time: now, Epoch: head.Epoch}, key)
	if err != nil {
		t.Fatal(err)
	}
	root := tree.Root()
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for _, statement := range []struct {
		text string
		args []any
	}{
		{"UPDATE audit_log SET detail = ?, hash = ? WHERE seq = ?", []any{"nothing has happened here", forged[:], seq}},
		{"UPDATE log SET edge = ?", []any{tree.Edge()}},
		{"DELETE FROM log_checkpoint", nil},
		{"INSERT INTO log_checkpoint (size, time, root, epoch, signed) VALUES (?, ?, ?, ?, ?)", []any{tree.Size(), now.UnixMicro(), root[:], head.Epoch, signed}},
	} {
		if _, err := raw.Exec(statement.text, statement.args...); err != nil {
			t.Fatal(statement.text, err)
		}
	}
}

// TestRewrittenLog: somebody edits one old row of the audit log, and re-hashes everything. The next renewal of any host fails, and names
// both sizes; nothing on the host has changed.
func TestRewrittenLog(t *testing.T) {
	dir := t.TempDir()
	netloc, err := freeNetloc()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--service-auto-approve-count", "3"}
	d, err := startDaemon(dir, netloc, os.Environ(), args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.cmd.Process.Kill() }()
	host := t.TempDir()
	cauase := func(code int, line string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(binDir, "cauase"), strings.Fields(line)...)
		cmd.Dir = host
		cmd.Env = append(os.Environ(), "CAUASE_CA_URL=http://"+netloc, "CAUASE_STORE=.", "XDG_CONFIG_HOME="+host)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("cauase %s: exit %d, not %d\n%s\n%s", line, got, code, out, d.stderr.String())
		}
		return string(out)
	}
	cauase(0, "request --cn web --crt web.pem")
	cauase(0, "crl update")
	cauase(0, "log check")
	cauase(0, "crt renew --force web.pem")
	cauase(0, "crt proof web.pem --out web.proof")
	cauase(0, "crt proof --verify web.proof web.pem")
	cauase(0, "log check")
	_ = d.cmd.Process.Signal(os.Interrupt)
	<-d.exited
	rewrite(t, filepath.Join(dir, "cauase.sqlite"), 3)
	if d, err = startDaemon(dir, netloc, os.Environ(), args...); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for _, name := range []string{"web.pem", "cas.crt.pem", "cas.crl.pem"} {
		content, err := os.ReadFile(filepath.Join(host, name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = string(content)
	}
	out := cauase(5, "crt renew --force web.pem")
	if !strings.Contains(out, "the CA's log is not what it was: this host has seen it with") || strings.Count(out, " entries and the root ") != 2 {
		t.Error(out)
	}
	cauase(5, "crl update")
	for name, content := range before {
		if now, err := os.ReadFile(filepath.Join(host, name)); err != nil || string(now) != content {
			t.Errorf("%s was changed, %v", name, err)
		}
	}
	if !strings.Contains(d.stderr.String(), "another log under our signature") {
		t.Errorf("the daemon does not notice:\n%s", d.stderr.String())
	}
}
