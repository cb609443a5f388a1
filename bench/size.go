package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"cauase/pkg/pki"
)

// Kinds of work with many certificates.
const (
	workReady       = "ready after a restart"
	workMemoryRest  = "memory at rest"
	workMemoryAfter = "memory after issuances: " // and their number
	workStored      = "renewal, new connection, with stored certificates"
)

// starting is the group of rows about the start of a daemon with many certificates.
func (b *bench) starting(ctx context.Context) error {
	d, err := b.filled(ctx, sqliteEngine, 1, filling{certificates: b.startStored, revoked: b.startRevoked})
	if err != nil {
		return err
	}
	defer func() { b.stopAll([]contender{d}) }()
	subject := fmt.Sprintf("%s, %d certificates, %d revoked", d.label(), b.startStored, b.startRevoked)
	for range b.repeats {
		if err := d.stop(); err != nil {
			return err
		}
		ready, err := took(func() error { return b.restart(ctx, d) })
		if err != nil {
			return err
		}
		m, err := d.memory()
		if err != nil {
			return err
		}
		b.results.add(workReady, subject, milliseconds, ms(ready))
		b.results.remembers(workReady, subject, m)
		b.say("%s: %v", subject, ready)
	}
	return nil
}

// remembering is the group of rows about the memory of a daemon.
func (b *bench) remembering(ctx context.Context) error {
	d, err := b.startIn(ctx, sqliteEngine, pki.KeyECDSAP256)
	if err != nil {
		return err
	}
	defer b.stopAll([]contender{d})
	if err := b.rest(ctx); err != nil {
		return err
	}
	look := func(work string) error {
		m, err := d.memory()
		b.results.remembers(work, d.label(), m)
		b.say("%s: %.1f MiB", work, m.resident)
		return err
	}
	if err := look(workMemoryRest); err != nil {
		return err
	}
	p, err := d.enrolment(min(b.requests, b.issuances))
	for done, half := 0, false; ; {
		if err != nil {
			return err
		}
		if _, err := b.load(d.servers()...).run(ctx, p); err != nil {
			return err
		}
		done += p.count
		if done >= b.issuances/2 && !half {
			half = true
			if err := look(workMemoryAfter + fmt.Sprint(b.issuances/2)); err != nil {
				return err
			}
		}
		if done >= b.issuances {
			return look(workMemoryAfter + fmt.Sprint(b.issuances))
		}
		p, err = d.renewal(true)
	}
}

// rest lets a program come to rest.
func (b *bench) rest(ctx context.Context) error {
	return pause(ctx, min(b.idle, 5*time.Second))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// storing is the group of rows about renewals beside many stored certificates.
func (b *bench) storing(ctx context.Context) error {
	for _, engine := range b.engines {
		full, err := b.filled(ctx, engine, 1, filling{certificates: b.stored, sample: min(b.requests, b.stored)})
		if err != nil {
			return err
		}
		both := []contender{full}
		empty, err := b.startIn(ctx, engine, pki.KeyECDSAP256)
		if err == nil {
			both = append(both, empty)
			err = b.compareStored(ctx, full, empty)
		}
		b.stopAll(both)
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) compareStored(ctx context.Context, full, empty *daemon) error {
	p, err := empty.enrolment(len(full.hosts))
	if err != nil {
		return err
	}
	if _, err := b.load(empty.servers()...).run(ctx, p); err != nil {
		return err
	}
	subjects := map[*daemon]string{full: full.label() + ", full", empty: empty.label() + ", empty"}
	for repeat := range b.repeats {
		for i := range 2 {
			d := []*daemon{full, empty}[(i+repeat)%2]
			p, err := d.renewal(false)
			if err != nil {
				return err
			}
			m, err := b.load(d.servers()...).run(ctx, p)
			if err != nil {
				return err
			}
			b.results.measured(workStored, subjects[d], m)
			b.say("%s, %s: %.0f/s", workStored, subjects[d], m.rate)
		}
	}
	return nil
}

// sizeOf is how much the files of a SQLite database take, in MB.
func (d database) sizeOf() (megabytes float64, err error) {
	for _, ending := range []string{"", "-wal"} {
		info, err := os.Stat(d.dsn + ending)
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return 0, err
		}
		megabytes += float64(info.Size()) / 1e6
	}
	return megabytes, nil
}
