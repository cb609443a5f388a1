package main

import (
	"context"
	"fmt"
	"slices"

	"cauase/pkg/pki"
)

// Kinds of work, as rows of the results. With RSA keys they end in rsaSuffix.
const (
	workEnrol     = "submit + sign + fetch"
	workRenewNew  = "renewal, new connection"
	workRenewKept = "renewal, kept connection"
	workAfterLoad = "memory after these loads"
	rsaSuffix     = ", RSA-2048"
)

// A contender is an authority that is compared with others, at the same work.
type contender interface {
	label() string
	servers() []*process
	enrolment(count int) (plan, error)
	renewal(kept bool) (plan, error)
	stop() error
}

// newContenders starts our daemon on both engines, and what else was found, all with P-256 keys.
func (b *bench) newContenders(ctx context.Context) (started []contender, err error) {
	for _, engine := range b.engines {
		d, err := b.startIn(ctx, engine, pki.KeyECDSAP256)
		if err != nil {
			return started, err
		}
		started = append(started, d)
	}
	if b.stepCA == "" {
		return started, nil
	}
	for _, engine := range []string{badgerEngine, postgresEngine} {
		if engine == postgresEngine && !slices.Contains(b.engines, engine) {
			continue
		}
		dir, err := b.folder("step-ca-" + engine)
		if err != nil {
			return started, err
		}
		db, err := b.newDatabase(ctx, engine, dir)
		if err != nil {
			return started, err
		}
		s, err := b.startStepCA(ctx, dir, db)
		if err != nil {
			return started, err
		}
		started = append(started, s)
	}
	return started, nil
}

// startIn starts our daemon on a new database, with a user.
func (b *bench) startIn(ctx context.Context, engine string, keyType pki.KeyType, flags ...string) (*daemon, error) {
	dir, err := b.folder("cauased-" + engine)
	if err != nil {
		return nil, err
	}
	db, err := b.newDatabase(ctx, engine, dir)
	if err != nil {
		return nil, err
	}
	d, err := b.startDaemon(ctx, dir, db, keyType, flags...)
	if err != nil {
		return nil, err
	}
	return d, d.prepare(ctx)
}

// issuing is the group of rows about certificates with P-256 keys.
func (b *bench) issuing(ctx context.Context) error {
	contenders, err := b.newContenders(ctx)
	defer b.stopAll(contenders)
	if err != nil {
		return err
	}
	return b.contest(ctx, contenders, b.requests, "")
}

// issuingRSA is the same with RSA keys, which is the only kind that the reference knows.
func (b *bench) issuingRSA(ctx context.Context) error {
	var contenders []contender
	defer func() { b.stopAll(contenders) }()
	d, err := b.startIn(ctx, sqliteEngine, pki.KeyRSA2048)
	if err != nil {
		return err
	}
	contenders = append(contenders, d)
	if b.caucase != "" {
		dir, err := b.folder("caucased")
		if err != nil {
			return err
		}
		reference, err := startCaucase(ctx, b.caucase, dir)
		if err != nil {
			return err
		}
		contenders = append(contenders, reference)
	}
	return b.contest(ctx, contenders, b.rsaRequests, rsaSuffix)
}

func (b *bench) stopAll(contenders []contender) {
	for _, c := range contenders {
		if err := c.stop(); err != nil {
			b.say("%v", err)
		}
	}
}

// contest has all contenders do all kinds of work by turns, so that whatever else the machine does meets all of them.
func (b *bench) contest(ctx context.Context, contenders []contender, count int, suffix string) error {
	for repeat := range b.repeats {
		if err := b.limits(ctx); err != nil {
			return err
		}
		for _, work := range []string{workEnrol, workRenewNew, workRenewKept} {
			for i := range contenders {
				c := contenders[(i+repeat)%len(contenders)]
				if d, ok := c.(*daemon); ok && d.brief && work == workRenewKept {
					continue // it keeps none
				}
				if err := b.compete(ctx, c, work, count, suffix); err != nil {
					return fmt.Errorf("%s, %s: %w", c.label(), work, err)
				}
			}
		}
	}
	for _, c := range contenders {
		m, err := c.servers()[0].memory()
		if err != nil {
			return err
		}
		b.results.remembers(workAfterLoad+suffix, c.label(), m)
	}
	return nil
}

func (b *bench) compete(ctx context.Context, c contender, work string, count int, suffix string) error {
	var p plan
	var err error
	switch work {
	case workEnrol:
		p, err = c.enrolment(count)
	default:
		p, err = c.renewal(work == workRenewKept)
	}
	if err != nil {
		return err
	}
	m, err := b.load(c.servers()...).run(ctx, p)
	if err != nil {
		return err
	}
	b.results.measured(work+suffix, c.label(), m)
	b.say("%s, %s: %.0f/s, p99 %v, %v of processor each", c.label(), work+suffix, m.rate, m.p99.Round(100*1000), m.cpu)
	return nil
}
