package main

import (
	"strings"
	"testing"
	"time"

	"cauase/pkg/archive"
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
		if b := got.Backups; b.Directory != "/b" || next(b.Schedule) != c.next || b.Keep != c.keep {
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
	if got, err := parse(t, netloc...); err != nil || got.Backups.Directory != "/e" || got.Backups.Keep != 7 || next(got.Backups.Schedule) != "2026-05-01 13:00:00" {
		t.Errorf("environment: %+v %v", got.Backups, err)
	}
}
