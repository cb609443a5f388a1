package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/ca/catest"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
)

// shortSpan makes daemons look often.
const shortSpan = 8640 * time.Millisecond

// backups has backups taken in a directory, twice a day.
func backups(t *testing.T, directory string) func(*Config) {
	t.Helper()
	schedule, err := archive.Every(day / 2)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Backups = &Backups{Directory: directory, Schedule: schedule} }
}

// A daemon takes backups while it runs; how they stand is seen from outside.
func TestBackups(t *testing.T) {
	dir := t.TempDir()
	place := filepath.Join(dir, "backups")
	// Short spans make the daemon look often.
	d := launch(t, testConfig(t, dir, backups(t, place), func(c *Config) {
		c.Metrics, c.Backups.Keep, c.Users.Validity, c.Services.Validity = "127.0.0.1:0", 2, shortSpan, day
	}), testTime())
	catest.FirstUser(t, catest.Named(t, d, store.Users))
	waitFor(t, "the first backup", func() bool {
		found, _ := filepath.Glob(filepath.Join(place, "*.rows.caucased"))
		return len(found) == 1
	})
	waitFor(t, "the metrics", func() bool {
		_, page := testkit.Get(t, "http://"+d.metrics.listener.Addr().String()+"/metrics")
		return strings.Contains(page, fmt.Sprintf("cauase_backup_last_success_timestamp_seconds %v", float64(testTime().Unix()))) &&
			strings.Contains(page, "cauase_backup_recipients 1") && strings.Contains(page, "cauase_backup_failures_total 0")
	})
	if status, page := testkit.Get(t, d.httpURL("/readyz")); status != 200 || !strings.HasSuffix(page, "https ok\nbackup ok\n") {
		t.Errorf("%d %s", status, page)
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
}

// A directory that cannot be used does not keep a daemon from its work, and shows.
func TestBackupFails(t *testing.T) {
	dir := t.TempDir()
	place := filepath.Join(dir, "file")
	if err := os.WriteFile(place, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := launch(t, testConfig(t, dir, backups(t, place), func(c *Config) { c.Users.Validity = shortSpan }), testTime())
	catest.FirstUser(t, catest.Named(t, d, store.Users))
	waitFor(t, "the failure", func() bool {
		s, err := d.archive.Status(t.Context())
		return err == nil && s.Failures == 1
	})
	if status, page := testkit.Get(t, d.httpURL("/readyz")); status != 200 || !strings.Contains(page, "\nbackup warning: failed at 2031-05-01T12:00:00Z, there is none yet\n") {
		t.Errorf("%d %s", status, page)
	}
}
