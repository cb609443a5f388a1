package daemon

import (
	"context"
	"errors"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/metrics"
	"cauase/pkg/server"
)

// openArchive prepares what takes backups, if any are to be taken. It touches nothing yet: a
// directory that cannot be used is no reason not to issue certificates.
func (d *Daemon) openArchive() (err error) {
	if d.cfg.Backups == nil {
		return nil
	}
	d.archive, err = archive.New(archive.Config{
		Directory: d.cfg.Backups.Directory,
		Schedule:  d.cfg.Backups.Schedule,
		Keep:      d.cfg.Backups.Keep,
		Store:     d.store,
		Clock:     d.clock,
		Log:       d.log,
		Software:  d.cfg.Version,
		Keys:      d.vault.Keyring,
		Poll:      d.interval(),
	})
	return err
}

// backUp takes backups when they are due, beside everything else, until ctx ends. The channel it
// returns is closed when nothing is done any more.
func (d *Daemon) backUp(ctx context.Context) <-chan struct{} {
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
func (d *Daemon) backupChecks() []server.Check {
	if d.archive == nil {
		return nil
	}
	return []server.Check{{Name: "backup", Run: d.archive.Check, Warns: true}}
}

// backupMetrics is what Prometheus is told of backups.
func (d *Daemon) backupMetrics(ctx context.Context) (metrics.Backup, error) {
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
