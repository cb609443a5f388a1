package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// workGrowth is a daemon with so many certificates.
const workGrowth = "certificates: "

// revokedShare is which part of the certificates is revoked as their number grows: one of so many.
const revokedShare = 50

// Quantities that grow, in the order of their charts, beside the rate of renewals.
const (
	startMs = "ready after ms"
	listMs  = "list after a revocation ms"
	sizeMB  = "database MB"
)

// growing is the group of rows about a database that grows.
func (b *bench) growing(ctx context.Context) error {
	if len(b.growth) == 0 {
		b.say("-growth says no numbers")
		return nil
	}
	d, err := b.filled(ctx, sqliteEngine, 1, filling{})
	if err != nil {
		return err
	}
	defer func() { b.stopAll([]contender{d}) }()
	there := 0
	for _, size := range b.growth {
		if err := d.stop(); err != nil {
			return err
		}
		more := size - there
		filling := filling{certificates: more, revoked: more / revokedShare, sample: min(b.requests, more-more/revokedShare)}
		spent, err := took(func() (err error) {
			d.hosts, err = fill(ctx, d.database, filling)
			return err
		})
		if err != nil {
			return err
		}
		b.say("%d certificates added in %v", more, spent.Round(time.Second))
		there = size
		ready, err := took(func() error { return b.restart(ctx, d) })
		if err != nil {
			return err
		}
		b.results.add(workGrowth+fmt.Sprint(size), d.label(), startMs, ms(ready))
		if err := b.grown(ctx, d, size); err != nil {
			return err
		}
	}
	if b.svg == "" {
		return nil
	}
	return os.WriteFile(b.svg, []byte(b.results.curves(b.growth, d.label())), 0o644)
}

// grown measures a daemon with so many certificates.
func (b *bench) grown(ctx context.Context, d *daemon, size int) error {
	work, subject := workGrowth+fmt.Sprint(size), d.label()
	for range b.repeats {
		p, err := d.renewal(false)
		if err != nil {
			return err
		}
		m, err := b.load(d.servers()...).run(ctx, p)
		if err != nil {
			return err
		}
		b.results.measured(work, subject, m)
		b.say("%s%d: %.0f/s", workGrowth, size, m.rate)
	}
	for i := range min(b.repeats, len(d.hosts)) {
		list, err := b.oneMore(ctx, d, d.hosts[i])
		if err != nil {
			return err
		}
		b.results.add(work, subject, listMs, ms(list.there))
	}
	m, err := d.memory()
	if err != nil {
		return err
	}
	b.results.remembers(work, subject, m)
	megabytes, err := d.database.sizeOf()
	b.results.add(work, subject, sizeMB, megabytes)
	return err
}
