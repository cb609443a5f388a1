package main

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/archive"
	"cauase/pkg/daemon"
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

// backup returns what to do about backups, nil for nothing.
func (r *reader) backup() *daemon.Backups {
	b := daemon.Backups{Directory: r.c.String(flagBackupDirectory), Keep: r.count(flagBackupKeep)}
	spec := r.c.String(flagBackupSchedule)
	if b.Directory == "" {
		for _, flag := range []string{flagBackupPeriod, flagBackupSchedule, flagBackupKeep} {
			if r.c.IsSet(flag) && !(flag == flagBackupSchedule && spec == "") {
				r.fail(flag, fmt.Errorf("needs --%s: without it no backups are taken", flagBackupDirectory))
			}
		}
		return nil
	}
	var err error
	switch {
	case spec == "":
		period := r.days(flagBackupPeriod)
		if b.Schedule, err = archive.Every(period); err != nil {
			r.fail(flagBackupPeriod, err)
		}
	case r.c.IsSet(flagBackupPeriod):
		r.fail(flagBackupSchedule, fmt.Errorf("contradicts --%s: give one of them", flagBackupPeriod))
	default:
		if b.Schedule, err = archive.ParseSchedule(spec); err != nil {
			r.fail(flagBackupSchedule, err)
		}
	}
	return &b
}
