package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/archive"
	"cauase/pkg/cli"
	"cauase/pkg/metrics"
	"cauase/pkg/server"
)

const (
	flagBackupDirectory = "backup-directory"
	flagBackupPeriod    = "backup-period"
	flagBackupSchedule  = "backup-schedule"
	flagBackupKeep      = "backup-keep"
)

func backupFlags() []urfave.Flag {
	return []urfave.Flag{
		text(groupBackups, flagBackupDirectory, "", "`DIRECTORY` in which to keep backups, encrypted to all users (default: none are taken)"),
		float(groupBackups, flagBackupPeriod, 1, "`DAYS` after which the newest backup there is followed by another"),
		text(groupBackups, flagBackupSchedule, "", "`SPEC` as of cron, in UTC, such as \"30 3 * * *\", in place of a period"),
		number(groupBackups, flagBackupKeep, 0, "`COUNT` of backups to leave there, once there is a newer one; 0 means all"),
	}
}

// backupConfig says what to do about backups. Without a directory there are none.
type backupConfig struct {
	directory string
	schedule  archive.Schedule
	keep      int
}

func (r *reader) backup() (b backupConfig) {
	b.directory = r.c.String(flagBackupDirectory)
	b.keep = r.count(flagBackupKeep)
	spec := r.c.String(flagBackupSchedule)
	if b.directory == "" {
		for _, flag := range []string{flagBackupPeriod, flagBackupSchedule, flagBackupKeep} {
			if r.c.IsSet(flag) && !(flag == flagBackupSchedule && spec == "") {
				r.fail(flag, fmt.Errorf("needs --%s: without it no backups are taken", flagBackupDirectory))
			}
		}
		return b
	}
	var err error
	switch {
	case spec == "":
		period := r.days(flagBackupPeriod)
		if b.schedule, err = archive.Every(period); err != nil {
			r.fail(flagBackupPeriod, err)
		}
	case r.c.IsSet(flagBackupPeriod):
		r.fail(flagBackupSchedule, fmt.Errorf("contradicts --%s: give one of them", flagBackupPeriod))
	default:
		if b.schedule, err = archive.ParseSchedule(spec); err != nil {
			r.fail(flagBackupSchedule, err)
		}
	}
	return b
}

// openArchive prepares what takes backups, if any are to be taken. It touches nothing yet: a
// directory that cannot be used is no reason not to issue certificates.
func (d *daemon) openArchive() (err error) {
	if d.cfg.backup.directory == "" {
		return nil
	}
	d.archive, err = archive.New(archive.Config{
		Directory: d.cfg.backup.directory,
		Schedule:  d.cfg.backup.schedule,
		Keep:      d.cfg.backup.keep,
		Store:     d.store,
		Clock:     d.clock,
		Log:       d.log,
		Software:  cli.Version(),
		Poll:      d.interval(),
	})
	if err != nil {
		return fmt.Errorf("--%s: %w", flagBackupDirectory, err)
	}
	return nil
}

// backUp takes backups when they are due, beside everything else, until ctx ends. The channel it
// returns is closed when nothing is done any more.
func (d *daemon) backUp(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	if d.archive == nil {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		d.archive.Run(ctx)
	}()
	return done
}

// backupChecks are what readiness says of backups.
func (d *daemon) backupChecks() []server.Check {
	if d.archive == nil {
		return nil
	}
	return []server.Check{{Name: "backup", Run: d.archive.Check, Warns: true}}
}

// backupMetrics is what Prometheus is told of backups.
func (d *daemon) backupMetrics(ctx context.Context) (metrics.Backup, error) {
	if d.archive == nil {
		return metrics.Backup{}, errors.New("no backups are taken")
	}
	s, err := d.archive.Status(ctx)
	if err != nil {
		return metrics.Backup{}, err
	}
	b := metrics.Backup{Failures: s.Failures, Due: s.Due}
	if s.Last != nil {
		b.Last, b.Size, b.Recipients, b.Excluded = s.Last.Time, s.Last.Size, s.Last.Recipients, s.Last.Excluded
		b.Took = time.Duration(s.Last.TookMillis) * time.Millisecond
	}
	return b, nil
}
