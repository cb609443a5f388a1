package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/keys"
	"cauase/pkg/logkey"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// Whoever has the export, and a checkpoint, verifies the log without our code and our database; the command finds what was changed.
func TestAuditVerifyAndExport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sqlite")
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	key, err := logkey.Open(t.Context(), db, keys.Row{}, now)
	if err != nil {
		t.Fatal(err)
	}
	db.SignCheckpoints(func(c merkle.Checkpoint) ([]byte, error) { return merkle.SignCheckpoint(c, key) })
	var signed []byte
	err = db.Update(t.Context(), func(tx store.Tx) error {
		for i := range 300 {
			e := audit.NewEntry(now, "cas", audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.1"}, audit.Submit, audit.RequestObject(int64(i)))
			e.Detail = "CN=ä \"\\\u2028\x01]"
			if err := tx.AppendAudit(t.Context(), e); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = db.View(t.Context(), func(r store.Reader) error {
			c, err := r.LatestCheckpoint(t.Context())
			signed = c.Signed
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	checkpoint := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(checkpoint, signed, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := manages(t, "audit", "verify", "--db", path, "--against", checkpoint); !strings.Contains(out, "300 leaves") || !strings.Contains(out, "0 faults") {
		t.Error(out)
	}
	var verified verifyJSON
	if err := json.Unmarshal([]byte(manages(t, "audit", "verify", "--db", path, "--json", "--from", "200")), &verified); err != nil ||
		!verified.Complete || verified.Log.Entries != 100 {
		t.Errorf("%+v, %v", verified, err)
	}
	lines := manages(t, "audit", "export", "--db", path)
	if out := manages(t, "audit", "export", "--db", path, "--format", "syslog", "--after-leaf", "298"); !strings.HasPrefix(out, "<86>1 2026-05-01T10:00:00.000000Z - cauased - csr.submit [cauase@32473 log=\"cauase.log/") ||
		strings.Count(out, "\n") != 1 {
		t.Errorf("%q", out)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	judge := func(lines string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), python, "testdata/verify-audit.py", checkpoint)
		cmd.Stdin = strings.NewReader(lines)
		return cmd.CombinedOutput()
	}
	if out, err := judge(lines); err != nil || !strings.Contains(string(out), "300 entries are those of the checkpoint") {
		t.Errorf("%s %v", out, err)
	}
	for name, changed := range map[string]string{
		"address": strings.Replace(lines, "192.0.2.1", "192.0.2.2", 1),
		"action":  strings.Replace(lines, "csr.submit", "csr.reject", 2),
		"deleted": lines[strings.Index(lines, "\n")+1:],
	} {
		if out, err := judge(changed); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}
