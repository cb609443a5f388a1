package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"sync/atomic"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/rollover"
	"cauase/pkg/server"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// A daemon is everything that runs. Start makes one, Run has it answer, Close ends it.
type daemon struct {
	cfg   config
	clock clock.Clock
	log   *slog.Logger

	listeners *server.Listeners
	metrics   *metricsServer // nil when not asked for
	store     store.Store
	users     *ca.Authority
	services  *ca.Authority
	https     *ca.Authority
	archive   *archive.Archive // nil when no backups are taken
	keyPair   *server.KeyPair
	handshake *server.Handshake
	server    *server.Server

	skew atomic.Pointer[error] // what is wrong with our clock, if anything
}

// start opens everything, sockets first: a second daemon in the same place gets no
// further. When it fails it leaves no file behind that was not there before.
func start(ctx context.Context, cfg config, clk clock.Clock, log *slog.Logger) (_ *daemon, err error) {
	d := &daemon{cfg: cfg, clock: clk, log: log, handshake: &server.Handshake{}}
	if d.listeners, err = server.Listen(ctx, log, cfg.bind, cfg.port); err != nil {
		return nil, cli.WithHint(fmt.Errorf("cannot listen: %w", err),
			"--%s and --%s choose where to listen; port 80 needs privileges", flagBind, flagBasePort)
	}
	if d.metrics, err = listenMetrics(ctx, cfg.metrics, log); err != nil {
		d.listeners.Close()
		return nil, err
	}
	created := missing(cfg.serverKey)
	if !sqlstore.IsURL(cfg.db) {
		created = append(created, missing(cfg.db, cfg.db+"-wal", cfg.db+"-shm", cfg.db+"-journal")...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
			for _, path := range created {
				_ = os.Remove(path) // it may not have come into being
			}
		}
	}()
	if err := d.openStore(ctx); err != nil {
		return nil, err
	}
	corsKeys, err := d.openCORSKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagCORSKeys, err)
	}
	if err := d.openAuthorities(ctx); err != nil {
		return nil, err
	}
	if err := d.openArchive(); err != nil {
		return nil, err
	}
	d.keyPair = server.NewKeyPair(server.KeyPairConfig{
		Path:      cfg.serverKey,
		Host:      cfg.netloc.Host,
		Threshold: cfg.threshold,
		Issuer:    d.https,
		Clock:     clk,
		Log:       log,
	})
	if err := d.refreshHandshake(ctx); err != nil {
		return nil, err
	}
	d.server, err = server.New(server.Config{
		Netloc:          cfg.netloc,
		Clock:           clk,
		Log:             log,
		Users:           d.users,
		Services:        d.services,
		UsersVoucher:    d.vouch(d.users),
		ServicesVoucher: d.vouch(d.services),
		Authenticator:   d.users,
		CORSKeys:        corsKeys,
		CORSWhitelist:   cfg.corsWhitelist,
		Ready:           d.checks(),
		Observe:         d.metrics.observeRequest(),
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *daemon) openStore(ctx context.Context) error {
	db, err := sqlstore.Open(ctx, d.cfg.db, sqlstore.Options{Log: d.log})
	if errors.Is(err, store.ErrNewerSchema) {
		return cli.WithHint(fmt.Errorf("--%s: %w", flagDB, err), "use the version of cauased that it was last used with, or a later one")
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", flagDB, err)
	}
	d.store = db.Store()
	return d.checkClock(ctx)
}

func (d *daemon) openAuthorities(ctx context.Context) (err error) {
	open := func(row store.Authority, of authorityConfig, host string) (*ca.Authority, error) {
		row.Span, row.Life, row.KeyType = of.spans.Leaf, of.spans.Life, string(d.cfg.keyType)
		row.MaxPending, row.AutoApprove = of.maxPending, of.autoApprove
		if row, err = d.recordAuthority(ctx, row); err != nil {
			return nil, fmt.Errorf("authority %s: %w", row.Name, err)
		}
		a, err := ca.Open(ctx, d.store, d.clock, row, ca.Config{
			Netloc:          d.cfg.netloc.String(),
			Host:            host,
			Ready:           d.skewed,
			Statements:      envelope.Statements{},
			Backdate:        d.cfg.backdate,
			Retention:       d.cfg.retention,
			ChainRetention:  d.cfg.chainRetention,
			Observe:         d.metrics.observeOperation(),
			LockAutoApprove: d.cfg.lockAutoApprove && host == "",
			Log:             d.log,
		})
		if err != nil {
			return nil, fmt.Errorf("authority %s: %w", row.Name, err)
		}
		return a, nil
	}
	if d.users, err = open(store.Authority{Name: store.Users, Title: "Caucase CAU", Role: store.RoleUsers}, d.cfg.users, ""); err != nil {
		return err
	}
	if d.services, err = open(store.Authority{Name: store.Services, Title: "Caucase CAS", Role: store.RoleServices}, d.cfg.services, ""); err != nil {
		return err
	}
	// Our own certificate is a service's, of a CA that lives longer: nobody distributes it.
	https := authorityConfig{spans: rollover.Spans{Leaf: d.cfg.services.spans.Leaf, Life: httpsCALife}}
	if err := https.spans.Check(); err != nil {
		return fmt.Errorf("--%s: %w", flagServiceValidity, err)
	}
	d.https, err = open(store.Authority{Name: store.HTTPS, Title: "Caucased CA", Role: store.RoleDaemon}, https, d.cfg.netloc.Host)
	return err
}

// recordAuthority stores what the flags say of an authority, and returns the row with what they do not say.
func (d *daemon) recordAuthority(ctx context.Context, flags store.Authority) (row store.Authority, err error) {
	err = d.store.Update(ctx, func(tx store.Tx) error {
		old, err := tx.Authority(ctx, flags.Name)
		switch {
		case errors.Is(err, store.ErrNotFound):
			row = flags
			row.CreatedAt = d.clock.Now().UTC().Truncate(time.Microsecond)
			return tx.PutAuthority(ctx, row)
		case err != nil:
			return err
		}
		row = old
		row.Span, row.Life, row.KeyType = flags.Span, flags.Life, flags.KeyType
		row.MaxPending, row.AutoApprove = flags.MaxPending, flags.AutoApprove
		if reflect.DeepEqual(row, old) {
			return nil
		}
		return tx.PutAuthority(ctx, row)
	})
	return row, err
}

func (d *daemon) vouch(a *ca.Authority) server.Voucher {
	return func(ctx context.Context) ([]byte, error) {
		cas, err := d.https.CACertificates(ctx)
		if err != nil {
			return nil, err
		}
		return a.VouchHTTPS(ctx, cas)
	}
}

// checks are what readiness depends on.
func (d *daemon) checks() []server.Check {
	lists := func(a *ca.Authority) func(context.Context) error {
		return func(ctx context.Context) error {
			// Making a list when none is fresh needs a CA that can sign.
			_, err := a.CRLs(ctx)
			return err
		}
	}
	checks := []server.Check{
		{Name: "database", Run: d.store.Ping},
		{Name: string(store.Users), Run: lists(d.users)},
		{Name: string(store.Services), Run: lists(d.services)},
		{Name: string(store.HTTPS), Run: func(context.Context) error { return d.keyPair.Check() }},
	}
	if _, shared := d.store.(store.Watcher); shared {
		checks = append(checks, server.Check{Name: "clock", Run: func(context.Context) error { return d.skewed() }})
	}
	return append(checks, d.backupChecks()...)
}

// refreshHandshake looks after our own certificate and after what clients are told.
func (d *daemon) refreshHandshake(ctx context.Context) error {
	err := d.keyPair.Refresh(ctx)
	current := d.keyPair.Certificate()
	if current == nil {
		return err
	}
	users, usersErr := d.users.CACertificates(ctx)
	if usersErr == nil {
		d.handshake.Set(current, users)
	}
	return errors.Join(err, usersErr)
}

// maintain does what time makes due.
func (d *daemon) maintain(ctx context.Context) {
	for _, a := range []*ca.Authority{d.users, d.services, d.https} {
		err := a.Maintain(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.ErrorContext(ctx, "maintenance failed", "authority", string(a.Name()), "error", err)
		}
		if errors.Is(err, store.ErrUnavailable) {
			break // waiting for each again would look like hanging
		}
	}
	if err := d.refreshHandshake(ctx); err != nil && ctx.Err() == nil {
		d.log.ErrorContext(ctx, "HTTPS certificate not refreshed", "error", err)
	}
}

// Bounds of how often to look what is due.
const (
	minInterval = 100 * time.Millisecond
	maxInterval = time.Minute
)

// interval is a small part of the shortest time in which anything becomes due, half the
// life of a CRL, which is a sixth of a span.
func (d *daemon) interval() time.Duration {
	shortest := min(d.cfg.users.spans.Leaf, d.cfg.services.spans.Leaf)
	return min(max(shortest/100, minInterval), maxInterval)
}

// Run answers until ctx ends, then lets requests under way finish unless force ends too.
func (d *daemon) Run(ctx, force context.Context) error {
	boss := supervisor{d.log}
	loop, stop := context.WithCancel(force)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The clock is asked anew at each tick: after a suspend, or when it is set,
		// what has become due meanwhile is done at the next.
		tick := time.NewTicker(d.interval())
		defer tick.Stop()
		// In the same loop, so that maintenance which hangs is noticed.
		heartbeat, still := boss.heartbeat()
		defer still()
		for {
			select {
			case <-loop.Done():
				return
			case <-tick.C:
				d.maintain(loop)
			case <-heartbeat:
				boss.alive(loop)
			}
		}
	}()
	followed := d.follow(loop)
	d.metrics.serve(d)
	toBackups, endBackups := context.WithCancel(ctx)
	backups := d.backUp(toBackups)
	boss.ready(ctx)
	told := make(chan struct{})
	notOver := context.AfterFunc(ctx, func() { boss.stopping(force); close(told) })
	err := d.server.Serve(ctx, force, d.listeners, d.handshake)
	if !notOver() {
		<-told
	}
	stop()
	endBackups()
	<-done
	<-followed
	<-backups
	return err
}

// Close releases what start has opened.
func (d *daemon) Close() error {
	d.listeners.Close()
	d.metrics.Close()
	if d.store == nil {
		return nil
	}
	return d.store.Close()
}

// missing returns those paths at which there is nothing.
func missing(paths ...string) []string {
	var none []string
	for _, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			none = append(none, path)
		}
	}
	return none
}
