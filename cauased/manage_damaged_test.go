package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/daemon"
	"cauase/pkg/manage"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
)

// written is a database with the authorities home-root, lab below it and plain, into which somebody has written.
func written(t *testing.T, statement string) (path string) {
	t.Helper()
	path = lived(t)
	manages(t, "authority", "add", "--db", path, "home-root", "--role", "root")
	manages(t, "authority", "add", "--db", path, "lab", "--parent", "home-root")
	manages(t, "authority", "add", "--db", path, "plain")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	result, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%d rows, %v", n, err)
	}
	return path
}

// served starts a daemon on a database, and returns what it says of its readiness and logs.
func served(t *testing.T, path string) (d *daemon.Daemon, readiness, log string) {
	t.Helper()
	cfg := testConfig(t, filepath.Dir(path))
	var logged testkit.Buffer
	d, err := daemon.Start(t.Context(), cfg.Config, clock.NewFake(time.Now()), slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Background(t, func(ctx context.Context) error {
		err := d.Run(ctx, context.Background())
		if closed := d.Close(); err == nil {
			err = closed
		}
		return err
	})
	_, readiness = testkit.Get(t, "http://"+d.Listening()[0].String()+"/readyz?verbose")
	return d, readiness, logged.String()
}

func wantAll(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, text)
		}
	}
}

// One authority of which the row cannot be read is shown as damaged, and does not hide the others.
func TestDamagedAuthority(t *testing.T) {
	path := written(t, `UPDATE authority SET permitted = 'dns:lab' WHERE name = 'lab'`)
	var views []manage.AuthorityView
	if err := json.Unmarshal([]byte(manages(t, "authority", "list", "--db", path, "--json")), &views); err != nil || len(views) != 6 {
		t.Fatalf("%d authorities, %v", len(views), err)
	}
	for _, v := range views {
		if damaged := v.Name == "lab"; damaged != (v.Problem != "") || damaged != (len(v.Generations) == 0) {
			t.Errorf("%+v", v)
		}
	}
	const why = "its row cannot be read: store: authority, column permitted"
	wantAll(t, "list", manages(t, "authority", "list", "--db", path), why, "home-root", "plain")
	wantAll(t, "show", manages(t, "authority", "show", "--db", path, "lab"), why)
	wantAll(t, "status", manages(t, "status", "--db", path), "lab: problem: "+why, "plain: ")
	if _, stderr, code := manageCommand(t.Context(), "check", "--db", path); code != exitUnchecked || !strings.Contains(stderr, "column permitted") {
		t.Errorf("check: %d %s", code, stderr)
	}
	if _, stderr, code := manageCommand(t.Context(), "authority", "retire", "--yes", "--db", path, "lab"); code == 0 || !strings.Contains(stderr, "column permitted") {
		t.Errorf("retire: %d %s", code, stderr)
	}
	d, readiness, log := served(t, path)
	if _, ok := d.Authority("lab"); ok {
		t.Error("it is open")
	}
	if _, ok := d.Authority("plain"); !ok {
		t.Error("another is not open")
	}
	wantAll(t, "readiness", readiness, "lab")
	wantAll(t, "log", log, "an authority cannot be opened", "column permitted")
}

// A second authority of users would be one more way to become an administrator: it is never opened.
func TestSecondAuthorityOfUsers(t *testing.T) {
	for _, role := range []string{"users", "daemon"} {
		t.Run(role, func(t *testing.T) {
			path := written(t, `UPDATE authority SET role = '`+role+`' WHERE name = 'plain'`)
			why := "plain: it has the role " + role + ", and can only be one of services or a root"
			stdout, _, code := manageCommand(t.Context(), "check", "--db", path)
			if code != 1 {
				t.Errorf("check: exit code %d", code)
			}
			wantAll(t, "check", stdout, "error: authority plain: ", why)
			wantAll(t, "show", manages(t, "authority", "show", "--db", path, "plain"), "problem: ", why)
			d, readiness, log := served(t, path)
			if _, ok := d.Authority("plain"); ok {
				t.Error("it is open")
			}
			if _, ok := d.Authority(store.Users); !ok {
				t.Error("that of users is not open")
			}
			wantAll(t, "readiness", readiness, "plain")
			wantAll(t, "log", log, "an authority cannot be opened", why)
			// And nobody whom it has certified gets into a backup.
			_, stderr, _ := manageCommand(t.Context(), "backup", "--db", path, filepath.Join(t.TempDir(), "b"))
			if strings.Contains(stderr, "2 users") {
				t.Error(stderr)
			}
		})
	}
	// Nor is one of those that every daemon has taken for another.
	path := written(t, `UPDATE authority SET role = 'users' WHERE name = 'cas'`)
	var out, errs bytes.Buffer
	if _, err := daemon.Start(t.Context(), testConfig(t, filepath.Dir(path)).Config, clock.NewFake(time.Now()), slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "the authority cas has the role users") {
		t.Errorf("%v %s %s", err, out.String(), errs.String())
	}
}

// A parent that is not there is named at once, not when a CA certificate is due.
func TestParentThatIsNotThere(t *testing.T) {
	path := written(t, `UPDATE authority SET parent = 'nobody' WHERE name = 'plain'`)
	const why = `there is no authority "nobody", its parent`
	stdout, _, _ := manageCommand(t.Context(), "check", "--db", path)
	wantAll(t, "check", stdout, "error: authority plain: "+why)
	wantAll(t, "show", manages(t, "authority", "show", "--db", path, "plain"), "problem: "+why)
	wantAll(t, "list", manages(t, "authority", "list", "--db", path), why)
	d, readiness, log := served(t, path)
	if _, ok := d.Authority("plain"); !ok {
		t.Error("it does not go on with the CA certificates it has")
	}
	wantAll(t, "readiness", readiness, "plain", "nobody")
	wantAll(t, "log", log, "the parent of an authority cannot certify it", "nobody")
}

// Clients that trust only the root learn of another one by hand.
func TestSetParentWarns(t *testing.T) {
	path := written(t, `UPDATE authority SET title = 'Laboratory' WHERE name = 'lab'`)
	manages(t, "authority", "add", "--db", path, "new-root", "--role", "root")
	_, stderr, code := manageCommand(t.Context(), "authority", "set-parent", "--db", path, "plain", "home-root")
	if code != 0 || strings.Contains(stderr, "warning") {
		t.Errorf("put below its first root: %d %s", code, stderr)
	}
	_, stderr, code = manageCommand(t.Context(), "authority", "set-parent", "--db", path, "lab", "new-root")
	if code != 0 {
		t.Error(stderr)
	}
	wantAll(t, "another root", stderr, "warning: lab/crt/root.pem now holds the CA certificates of new-root, and no longer those of home-root")
	_, stderr, _ = manageCommand(t.Context(), "authority", "set-parent", "--db", path, "lab", "--none")
	wantAll(t, "no root", stderr, "warning: lab/crt/root.pem no longer holds the CA certificates of new-root")
}
