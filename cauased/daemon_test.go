package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to damage a database

	"cauase/pkg/audit"
	"cauase/pkg/ca/catest"
	"cauase/pkg/envelope"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
)

// testTime is when tests begin.
func testTime() time.Time { return time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC) }

// TestWrongStarts: one line says what is wrong, and nothing is left behind.
func TestWrongStarts(t *testing.T) {
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	busyPort := busy.Addr().(*net.TCPAddr).Port

	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	newer := func(t *testing.T, dir string) {
		d := launch(t, testConfig(t, dir), testTime())
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "server.key.pem")); err != nil {
			t.Fatal(err)
		}
		makeNewer(t, filepath.Join(dir, "db.sqlite"))
	}
	link := func(t *testing.T, dir string) {
		write("db.sqlite", "")(t, dir)
		if err := os.Symlink("db.sqlite", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		args    []string
		prepare func(*testing.T, string)
		want    string
	}{
		{name: "no netloc", args: []string{"--netloc="}, want: "--netloc"},
		{name: "bad netloc", args: []string{"--netloc=http://ca.example"}, want: "--netloc"},
		{name: "port in use", args: []string{fmt.Sprintf("--base-port=%d", busyPort)}, want: "address already in use"},
		{name: "HTTPS port in use", args: []string{fmt.Sprintf("--base-port=%d", busyPort-1)}, want: "address already in use"},
		{name: "address of others", args: []string{"--bind=192.0.2.1"}, want: "cannot assign requested address"},
		{name: "no address", args: []string{"--bind=name.invalid"}, want: "name.invalid"},
		{name: "no folder for the database", args: []string{"--db=DIR/missing/db"}, want: "--db"},
		{name: "database is a folder", args: []string{"--db=DIR"}, want: "--db"},
		{name: "database is none", prepare: write("db.sqlite", "not a database, but long enough to be looked at"), want: "not a SQLite database"},
		{name: "database of a newer version", prepare: newer, want: "newer version"},
		{name: "database of another kind", args: []string{"--db=postgres://u:secret@host/db"}, want: "--db"},
		{name: "no folder for the key", args: []string{"--server-key=DIR/missing/key"}, want: "HTTPS key pair"},
		{name: "key is a folder", args: []string{"--server-key=DIR"}, want: "HTTPS key pair"},
		{name: "key at the database's place", args: []string{"--server-key=DIR/./db.sqlite"}, prepare: write("db.sqlite", ""), want: "--server-key"},
		{name: "key at the place of the database's log", args: []string{"--server-key=DIR/db.sqlite-wal"}, want: "--server-key"},
		{name: "key at a link to the database", args: []string{"--server-key=DIR/link"}, prepare: link, want: "--server-key"},
		{name: "CORS keys at the key's place", args: []string{"--cors-key-store=DIR/./server.key.pem"}, want: "--cors-key-store"},
		{name: "damaged CORS keys", prepare: write("cors.key", "junk\n"), want: "--cors-key-store"},
		{name: "unknown flag", args: []string{"--frobnicate"}, want: "frobnicate"},
		{name: "unknown command", args: []string{"frobnicate"}, want: "frobnicate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.prepare != nil {
				tt.prepare(t, dir)
			}
			before := testkit.Files(t, dir)
			args := []string{
				tool, "--netloc=127.0.0.1:8009", fmt.Sprintf("--base-port=%d", testkit.FreePorts(t, 2)), "--log-level=error",
				"--db=DIR/db.sqlite", "--server-key=DIR/server.key.pem", "--cors-key-store=DIR/cors.key",
			}
			args = append(args, tt.args...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "DIR", dir)
			}
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), args, &stdout, &stderr)
			lines := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
			if code != 1 || stdout.Len() > 0 || !strings.HasPrefix(lines[0], "cauased: error: ") || !strings.Contains(lines[0], tt.want) ||
				len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "cauased: hint: ") {
				t.Errorf("exit code %d\nstdout: %s\nstderr: %s", code, &stdout, &stderr)
			}
			if strings.HasSuffix(lines[0], "cannot assign requested address") && !strings.Contains(stderr.String(), "--bind 0.0.0.0 --bind ::") {
				t.Error("no hint: ", stderr.String())
			}
			if strings.Contains(stderr.String(), "secret") {
				t.Error("shows a password")
			}
			if after := testkit.Files(t, dir); !slices.Equal(after, before) {
				t.Errorf("left behind: %v, before: %v", after, before)
			}
		})
	}
}

// makeNewer gives a database a layout that this version does not know.
func makeNewer(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
}

// TestSignals runs the whole program and ends it as an init system does.
func TestSignals(t *testing.T) {
	dir, port := t.TempDir(), testkit.FreePorts(t, 2)
	var stdout, stderr testkit.Buffer
	code := make(chan int)
	go func() {
		code <- run(context.Background(), []string{
			tool, "serve", fmt.Sprintf("--netloc=127.0.0.1:%d", port),
			"--db", filepath.Join(dir, "db"), "--server-key", filepath.Join(dir, "key"), "--cors-key-store", filepath.Join(dir, "cors"),
		}, &stdout, &stderr)
	}()
	select {
	case <-stdout.Contains("--invite"):
	case got := <-code:
		t.Fatalf("exit code %d: %s", got, &stderr)
	}
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	for _, want := range []string{base, fmt.Sprintf("https://127.0.0.1:%d", port+1), "user CA:       sha256:", "service CA:    sha256:", "cauase --ca-url " + base} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q not in %s", want, &stdout)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/cas/crl"} {
		if status, _ := testkit.Get(t, base+path); status != 200 {
			t.Errorf("%s: status %d", path, status)
		}
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 0 {
		t.Errorf("exit code %d: %s", got, &stderr)
	}
	if got := testkit.Files(t, dir); !slices.Equal(got, []string{"db", "first-user.invite", "key", "key-secret"}) {
		t.Errorf("files: %v", got)
	}
	for _, want := range []string{`msg="told to stop: nothing new is accepted, and requests under way are finished" signal=terminated`, "msg=stopped"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%s is not in the log: %s", want, &stderr)
		}
	}
	if log := stderr.String(); !strings.Contains(log, "target=/cas/crl") || strings.Contains(log, "target=/healthz") || strings.Contains(log, "target=/readyz") {
		t.Errorf("the access log has not what it should, or health checks: %s", log)
	}
}

// TestAllIsInALogOfJSON: nothing is printed beside it, and each line of it can be read.
func TestAllIsInALogOfJSON(t *testing.T) {
	dir, port := t.TempDir(), testkit.FreePorts(t, 2)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var stdout, stderr testkit.Buffer
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{
			tool, "serve", fmt.Sprintf("--netloc=127.0.0.1:%d", port), "--log-format", "json",
			"--db", filepath.Join(dir, "db"), "--server-key", filepath.Join(dir, "key"), "--cors-key-store", filepath.Join(dir, "cors"),
		}, &stdout, &stderr)
	}()
	select {
	case <-stderr.Contains("--invite"):
	case got := <-code:
		t.Fatalf("exit code %d: %s", got, &stderr)
	}
	stop()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
	if got := stdout.String(); got != "" {
		t.Errorf("printed: %s", got)
	}
	serving := map[string]any{}
	for line := range strings.Lines(stderr.String()) {
		entry := map[string]any{}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		if entry["msg"] == "serving" {
			serving = entry
		}
	}
	addresses, _ := serving["listening"].([]any)
	userCA, _ := serving["user_ca"].(string)
	if serving["http"] != fmt.Sprintf("http://127.0.0.1:%d", port) || len(addresses) != 2 || !strings.HasPrefix(userCA, "sha256:") {
		t.Errorf("%v", serving)
	}
}

// TestAudit lists the log of a daemon that runs.
func TestAudit(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	d := launch(t, cfg, testTime())
	operator := audit.Actor{Kind: audit.Operator}
	if err := catest.Wired(catest.Named(t, d, store.Services)).RevokeByUser(t.Context(), operator, envelope.Revocation{Serial: big.NewInt(1)}); err != nil {
		t.Fatal(err)
	}
	list := func(args ...string) []string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{tool, "manage", "audit", "--db", cfg.Database}, args...), &stdout, &stderr); code != 0 {
			t.Fatalf("%v: exit code %d: %s", args, code, &stderr)
		}
		return strings.FieldsFunc(stdout.String(), func(r rune) bool { return r == '\n' })
	}
	if got := list("--action", "ca.create"); len(got) != 3 || !strings.HasPrefix(got[0], "2031-05-01T12:00:00Z  cas    ca.create ") || !strings.Contains(got[0], " by daemon") {
		t.Errorf("%v", got)
	}
	newest := list("--json", "--authority", "cas", "--action", "crt.revoke", "--newest", "--limit", "1")
	if len(newest) != 1 {
		t.Fatalf("%v", newest)
	}
	var e entryJSON
	if err := json.Unmarshal([]byte(newest[0]), &e); err != nil || e.Actor != "operator" || e.Result != "ok" || !strings.Contains(e.Object, "serial=0x1") || e.Seq == 0 || !e.Time.Equal(testTime()) {
		t.Errorf("%+v %v", e, err)
	}
	if got := list("--since", "2031-05-02"); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := list("--since", "2031-05-01T12:00:00Z", "--limit", "2"); len(got) != 2 {
		t.Errorf("%v", got)
	}

	for _, args := range [][]string{
		{"--db", filepath.Join(t.TempDir(), "missing")},
		{"--authority", "cax"}, {"--since", "yesterday"}, {"--limit", "-1"}, {"surplus"}, {"--frobnicate"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{tool, "manage", "audit"}, args...), &stdout, &stderr); code != 1 || !strings.HasPrefix(stderr.String(), "cauased: error: ") {
			t.Errorf("%v: %d %s", args, code, &stderr)
		}
	}
}

// TestPrintEntry: what others have put into the log cannot fool a terminal.
func TestPrintEntry(t *testing.T) {
	var out bytes.Buffer
	printEntry(&printer{w: &out}, audit.Entry{Detail: "a\nb\x1b[31m\u202e"}, holder{"by\n\x1b", "CN=by\n\x1b"}, holder{"of\n\x1b", "of\n\x1b"})
	if got := out.String(); strings.ContainsAny(strings.TrimSuffix(got, "\n"), "\n\x1b\u202e") {
		t.Errorf("%q", got)
	}
}
