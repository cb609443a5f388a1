package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Backup is what is known of backups at a scrape. Times that are zero are not known.
type Backup struct {
	Last       time.Time // of the last one on record, by whichever daemon; zero: none
	Took       time.Duration
	Size       int64 // bytes
	Recipients int
	Excluded   int       // users who cannot decrypt it
	Due        time.Time // when the next one is
	Failures   int       // of this daemon
}

// Backups adds the state of backups, which source returns, to the metrics.
func (m *Metrics) Backups(source func(context.Context) (Backup, error)) {
	m.registry.MustRegister(&backupCollector{m, source})
}

type backupCollector struct {
	m      *Metrics
	source func(context.Context) (Backup, error)
}

var (
	backupLast       = desc("cauase_backup_last_success_timestamp_seconds", "When the last backup was taken, by whichever daemon of the database.")
	backupTook       = desc("cauase_backup_duration_seconds", "How long the last backup took, its verification included.")
	backupSize       = desc("cauase_backup_size_bytes", "Size of the last backup.")
	backupRecipients = desc("cauase_backup_recipients", "Users who can decrypt the last backup.")
	backupExcluded   = desc("cauase_backup_excluded_users", "Users who cannot decrypt the last backup because of their key.")
	backupDue        = desc("cauase_backup_due_timestamp_seconds", "When the next backup is due; not there before there is a first user to encrypt it to.")
	backupFailures   = desc("cauase_backup_failures_total", "Backups that this daemon has failed to take since its start.")
)

// Describe sends what Collect may send.
func (c *backupCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{backupLast, backupTook, backupSize, backupRecipients, backupExcluded, backupDue, backupFailures} {
		ch <- d
	}
}

// Collect asks the source.
func (c *backupCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	b, err := c.source(ctx)
	if err != nil {
		c.m.log.Error("the state of backups could not be read for metrics", "error", err)
		return
	}
	ch <- prometheus.MustNewConstMetric(backupFailures, prometheus.CounterValue, float64(b.Failures))
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	if !b.Due.IsZero() {
		gauge(backupDue, float64(b.Due.Unix()))
	}
	if b.Last.IsZero() {
		return
	}
	gauge(backupLast, float64(b.Last.Unix()))
	gauge(backupTook, b.Took.Seconds())
	gauge(backupSize, float64(b.Size))
	gauge(backupRecipients, float64(b.Recipients))
	gauge(backupExcluded, float64(b.Excluded))
}
