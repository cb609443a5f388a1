package main

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/audit"
	"cauase/pkg/ca/catest"
	"cauase/pkg/pki"
)

func TestBackupConfig(t *testing.T) {
	netloc := []string{"--netloc", "ca.example"}
	next := func(s archive.Schedule) string {
		return s.Next(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)).Format(time.DateTime)
	}
	for name, c := range map[string]struct {
		args []string
		next string
		keep int
	}{
		"default":  {[]string{"--backup-directory", "/b"}, "2026-05-02 12:00:00", 0},
		"period":   {[]string{"--backup-directory", "/b", "--backup-period", "0.5", "--backup-keep", "3"}, "2026-05-02 00:00:00", 3},
		"schedule": {[]string{"--backup-directory", "/b", "--backup-schedule", "30 3 * * *"}, "2026-05-02 03:30:00", 0},
	} {
		got, err := parse(t, append(netloc, c.args...)...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b := got.backup; b.directory != "/b" || next(b.schedule) != c.next || b.keep != c.keep {
			t.Errorf("%s: %+v", name, b)
		}
	}
	for want, args := range map[string][]string{
		"--backup-period: 0s":         {"--backup-directory", "/b", "--backup-period", "0"},
		"--backup-period: -1":         {"--backup-directory", "/b", "--backup-period", "-1"},
		"--backup-schedule: contr":    {"--backup-directory", "/b", "--backup-period", "1", "--backup-schedule", "@daily"},
		"--backup-schedule: ":         {"--backup-directory", "/b", "--backup-schedule", "sometimes"},
		"--backup-keep: -1":           {"--backup-directory", "/b", "--backup-keep", "-1"},
		"--backup-keep: needs":        {"--backup-keep", "3"},
		"--backup-period: needs":      {"--backup-period", "1"},
		"--backup-schedule: needs":    {"--backup-schedule", "@daily"},
		"--backup-directory: \"/db\"": {"--backup-directory", "/db", "--db", "/db"},
	} {
		if _, err := parse(t, append(netloc, args...)...); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
	t.Setenv("CAUASED_BACKUP_DIRECTORY", "/e")
	t.Setenv("CAUASED_BACKUP_SCHEDULE", "@hourly")
	t.Setenv("CAUASED_BACKUP_KEEP", "7")
	t.Setenv("CAUASED_BACKUP_PERIOD", "")
	if got, err := parse(t, netloc...); err != nil || got.backup.directory != "/e" || got.backup.keep != 7 || next(got.backup.schedule) != "2026-05-01 13:00:00" {
		t.Errorf("environment: %+v %v", got.backup, err)
	}
}

// waitFor looks again and again until what it waits for is there.
func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	expired := time.After(time.Minute)
	for !there() {
		select {
		case <-expired:
			t.Fatalf("waited in vain: %s", what)
		default:
		}
	}
}

// firstUser becomes a user of the daemon, and returns the key.
func (r running) firstUser(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "alice"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := catest.Wired(r.users).Submit(t.Context(), audit.Actor{Kind: audit.Anonymous}, pki.EncodeCSRPEM(der)); err != nil {
		t.Fatal(err)
	}
	return key
}

// A daemon takes backups while it runs; how they stand is seen from outside.
func TestBackups(t *testing.T) {
	dir := t.TempDir()
	place := filepath.Join(dir, "backups")
	// Short spans make the daemon look often.
	d := launch(t, testConfig(t, dir, "--backup-directory", place, "--backup-period", "0.5", "--backup-keep", "2",
		"--metrics-bind", "127.0.0.1:0", "--user-crt-validity", "0.0001", "--service-crt-validity", "1"), testTime())
	d.firstUser(t)
	waitFor(t, "the first backup", func() bool {
		found, _ := filepath.Glob(filepath.Join(place, "*.rows.caucased"))
		return len(found) == 1
	})
	waitFor(t, "the metrics", func() bool {
		_, page := get(t, "http://"+d.metrics.listener.Addr().String()+"/metrics")
		return strings.Contains(page, fmt.Sprintf("cauase_backup_last_success_timestamp_seconds %v", float64(testTime().Unix()))) &&
			strings.Contains(page, "cauase_backup_recipients 1") && strings.Contains(page, "cauase_backup_failures_total 0")
	})
	if status, page := get(t, d.httpURL("/readyz")); status != 200 || !strings.HasSuffix(page, "https ok\nbackup ok\n") {
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
	d := launch(t, testConfig(t, dir, "--backup-directory", place, "--user-crt-validity", "0.0001"), testTime())
	d.firstUser(t)
	waitFor(t, "the failure", func() bool {
		s, err := d.archive.Status(t.Context())
		return err == nil && s.Failures == 1
	})
	if status, page := get(t, d.httpURL("/readyz")); status != 200 || !strings.Contains(page, "\nbackup warning: failed at 2031-05-01T12:00:00Z, there is none yet\n") {
		t.Errorf("%d %s", status, page)
	}
}
