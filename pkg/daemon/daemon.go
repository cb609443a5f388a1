// Package daemon puts a certificate authority's daemon together: the store, the authorities in it, the
// front-ends before them, and what keeps all of it going.
package daemon

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/control"
	"cauase/pkg/hook"
	"cauase/pkg/keys"
	"cauase/pkg/ledger"
	"cauase/pkg/lint"
	"cauase/pkg/outbox"
	"cauase/pkg/policy"
	"cauase/pkg/server"
	"cauase/pkg/server/caucase"
	"cauase/pkg/server/signing"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/token"
	"cauase/pkg/vault"
)

// A Daemon is everything that runs. Start makes one, Run has it answer, Close ends it.
type Daemon struct {
	cfg   Config
	clock clock.Clock
	log   *slog.Logger

	listeners   *server.Listeners
	metrics     *metricsServer // nil when not asked for
	store       store.Store
	vault       *vault.Vault // the private keys in it
	operators   *control.Listener
	unlocked    chan struct{}
	authorities *ca.Directory
	linter      *lint.Linter // of all of them
	tokens      *token.Tokens
	custody     keys.Custody
	policy      *policy.Engine
	hooks       *hook.Holder
	outbox      *outbox.Outbox
	audit       auditLog
	signing     atomic.Pointer[signing.Target] // nil: PUT /api/csr/{id} is not answered
	known       atomic.Pointer[known]
	noticed     noticed
	first       firstUser
	archive     *archive.Archive // nil when no backups are taken
	keyPair     *server.KeyPair
	handshake   *server.Handshake
	server      *server.Server

	skew atomic.Pointer[error] // what is wrong with our clock, if anything
	news chan struct{}         // holds something if there is reason to catch up
}

// Start opens everything, sockets first: a second daemon in the same place gets no
// further. When it fails it leaves no file behind that was not there before.
func Start(ctx context.Context, cfg Config, clk clock.Clock, log *slog.Logger) (_ *Daemon, err error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	d := &Daemon{cfg: cfg, clock: clk, log: log, handshake: &server.Handshake{}, policy: policy.NewEngine(cfg.Tables.Policy)}
	d.hooks = hook.NewHolder(d.policy)
	d.learn(cfg.Tables)
	d.first.signed, d.news, d.unlocked = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	if d.listeners, err = listen(ctx, log, cfg); err != nil {
		return nil, &SettingError{Bind, err}
	}
	if d.metrics, err = listenMetrics(ctx, cfg, log); err != nil {
		d.listeners.Close()
		return nil, &SettingError{MetricsBind, err}
	}
	created := missing(cfg.ServerKey, cfg.FirstUser)
	if !sqlstore.IsURL(cfg.Database) {
		files := missing(cfg.Database, cfg.Database+"-wal", cfg.Database+"-shm", cfg.Database+"-journal")
		created = append(created, files...)
		if slices.Contains(files, cfg.Database) {
			created = append(created, missing(cfg.Sealing.Secret)...) // nothing else can have been sealed with it
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
			for _, path := range created {
				_ = os.Remove(path) // it may not have come into being
			}
		}
	}()
	d.decideBy(cfg.Tables.Policy, cfg.Tables.Hooks)
	if err := d.askToStart(ctx); err != nil {
		return nil, err
	}
	if err := d.openStore(ctx); err != nil {
		return nil, &SettingError{Database, err}
	}
	if err := d.openKeys(ctx); err != nil {
		return nil, err
	}
	d.openOutbox()
	corsKeys, err := d.openCORSKeys(ctx)
	if err != nil {
		return nil, &SettingError{CORSKeyStore, err}
	}
	if err := d.openAuthorities(ctx); err != nil {
		return nil, err
	}
	d.signLog(ctx)
	d.warnOfRules(ctx, cfg.Tables)
	d.useSigning(ctx, cfg.Tables.Signing)
	if err := d.openArchive(); err != nil {
		return nil, &SettingError{BackupDirectory, err}
	}
	if err := d.openKeyPair(ctx); err != nil && !errors.Is(err, ca.ErrLocked) {
		return nil, err
	}
	if err := d.openServer(corsKeys); err != nil {
		return nil, err
	}
	// Last, as it would be lost with a start that fails.
	if err := d.inviteFirstUser(ctx); err != nil && !waitsForCA(err) {
		return nil, &SettingError{FirstUser, err}
	}
	d.listenToOperators(ctx)
	return d, nil
}

// listen opens the sockets of the configuration.
func listen(ctx context.Context, log *slog.Logger, cfg Config) (*server.Listeners, error) {
	hosts, sockets := server.SplitBind(cfg.Bind)
	l, err := server.Listen(ctx, log, hosts, cfg.Port)
	if err != nil {
		return nil, err
	}
	for _, path := range sockets {
		if err := l.ListenUnix(ctx, path, cmp.Or(cfg.SocketMode, server.DefaultSocketMode)); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

func (d *Daemon) openStore(ctx context.Context) error {
	db, err := sqlstore.Open(ctx, d.cfg.Database, sqlstore.Options{Log: d.log})
	if err != nil {
		return err
	}
	d.store = db.Store()
	return d.checkClock(ctx)
}

func (d *Daemon) openKeyPair(ctx context.Context) error {
	d.keyPair = server.NewKeyPair(server.KeyPairConfig{
		Path:      d.cfg.ServerKey,
		Host:      d.cfg.Netloc.Host,
		Threshold: d.cfg.Threshold,
		Issuer:    serverIssuer{d},
		Clock:     d.clock,
		Log:       d.log,
	})
	return d.refreshHandshake(ctx)
}

func (d *Daemon) openServer(corsKeys *caucase.CORSKeys) error {
	front, err := caucase.New(caucase.Config{
		Netloc:        d.cfg.Netloc,
		Clock:         d.clock,
		Log:           d.log,
		Authorities:   directory{d.authorities},
		ServerCAs:     serverIssuer{d}.CACertificates,
		CORSKeys:      corsKeys,
		CORSWhitelist: d.cfg.CORSWhitelist,
		NoPush:        d.cfg.NoPush,
		Hosts:         d.hosts,
		Ledger: ledger.New(ledger.Config{
			Source: ledger.Stored{Store: d.store}, Clock: d.clock, Log: d.log, Record: ledger.RecordIn(d.store), Disputed: d.metrics.observeDisputes(),
		}),
	})
	if err != nil {
		return err
	}
	d.server, err = server.New(server.Config{
		Clock:     d.clock,
		Log:       d.log,
		FrontEnds: d.frontEnds(front),
		Ready:     d.checks,
		Limits:    d.cfg.Limits,
		Limited:   d.metrics.observeLimits(),
		Observe:   d.metrics.observeRequest(),
		Awaited:   d.metrics.observeWaits(),
	})
	return err
}

func (d *Daemon) measureLists() {
	if d.cfg.Lists == nil {
		return
	}
	size := int64(0)
	for _, a := range d.authorities.All() {
		size += a.ListSize()
	}
	d.cfg.Lists(size)
}

// refreshHandshake looks after our own certificate and after what clients are told.
func (d *Daemon) refreshHandshake(ctx context.Context) error {
	err := d.keyPair.Refresh(ctx)
	current := d.keyPair.Certificate()
	if current == nil {
		return err
	}
	d.vouch(ctx)
	var crts []*x509.Certificate
	for _, users := range d.withRole(store.RoleUsers) {
		of, usersErr := users.CACertificates(ctx)
		if usersErr != nil && !errors.Is(usersErr, ca.ErrSignoff) && !d.retired(users) {
			return errors.Join(err, fmt.Errorf("authority %s: %w", users.Name(), usersErr))
		}
		crts = append(crts, of...)
	}
	d.handshake.Set(current, crts)
	return err
}

// vouch has authorities vouch for our own certificate ahead of those who ask, who otherwise could not be told while keys are locked.
func (d *Daemon) vouch(ctx context.Context) {
	cas, err := serverIssuer{d}.CACertificates(ctx)
	if err != nil {
		return // which is said elsewhere
	}
	for _, a := range d.authorities.All() {
		if row := a.Row(); row.Role == store.RoleUsers || row.Role == store.RoleServices {
			_, _ = a.VouchHTTPS(ctx, cas) // whoever needs it is told what is wrong
		}
	}
}

// maintain does what time makes due.
func (d *Daemon) maintain(ctx context.Context) {
	if err := d.authorities.Maintain(ctx); err != nil && ctx.Err() == nil {
		d.log.ErrorContext(ctx, "maintenance failed", "error", err)
	}
	d.signLog(ctx)
	d.tendLog(ctx)
	d.welcome(ctx)
	d.measureLists()
	d.noticeRows(ctx)
	d.noticeSignoffs(ctx)
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
func (d *Daemon) interval() time.Duration {
	shortest := 100 * maxInterval
	for _, a := range d.authorities.All() {
		shortest = min(shortest, a.Row().Span)
	}
	return min(max(shortest/100, minInterval), maxInterval)
}

// Run answers until ctx ends, then lets requests under way finish unless force ends too.
func (d *Daemon) Run(ctx, force context.Context) error {
	toldOf := supervisor{d.log}
	loop, stop := context.WithCancel(force)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.loop(loop, toldOf)
	}()
	followed := d.follow(loop)
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		d.outbox.Run(loop)
	}()
	d.metrics.serve(d)
	toBackups, endBackups := context.WithCancel(ctx)
	backups := d.backUp(toBackups)
	toldOf.ready(ctx)
	told := make(chan struct{})
	notOver := context.AfterFunc(ctx, func() { toldOf.stopping(force); close(told) })
	err := d.server.Serve(ctx, force, d.listeners, d.handshake)
	if !notOver() {
		<-told
	}
	stop()
	endBackups()
	<-done
	<-followed
	<-delivered
	<-backups
	for _, a := range d.authorities.All() {
		a.Finish(force)
	}
	return err
}

// loop does what time makes due, until ctx ends. The clock is asked anew each time: after a suspend,
// or when it is set, what has become due meanwhile is done at the next look.
func (d *Daemon) loop(ctx context.Context, toldOf supervisor) {
	look := time.NewTimer(d.interval())
	defer look.Stop()
	// In the same loop, so that maintenance which hangs is noticed.
	heartbeat, endHeartbeat := toldOf.heartbeat()
	defer endHeartbeat()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			d.maintain(ctx)
			look.Reset(d.interval())
		case <-d.unlocked:
			d.maintain(ctx)
		case <-d.first.signed:
			d.welcome(ctx)
		case <-heartbeat:
			toldOf.alive(ctx)
		}
	}
}

// Close releases what Start has opened.
func (d *Daemon) Close() error {
	d.listeners.Close()
	d.metrics.Close()
	if d.tokens != nil {
		d.tokens.Close()
	}
	_ = d.operators.Close()
	if d.store == nil {
		return nil
	}
	return d.store.Close()
}

// Listening returns the addresses at which the daemon listens, those for HTTP first.
func (d *Daemon) Listening() []net.Addr {
	var list []net.Addr
	for _, l := range slices.Concat(d.listeners.HTTP, d.listeners.HTTPS, d.listeners.Unix) {
		list = append(list, l.Addr())
	}
	return list
}

// missing returns those paths at which there is nothing.
func missing(paths ...string) []string {
	var none []string
	for _, path := range paths {
		if path == "" {
			continue
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			none = append(none, path)
		}
	}
	return none
}

// NoUserYet reports whether nobody has become a user yet.
func (d *Daemon) NoUserYet(ctx context.Context) (none bool, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		none = true
		for _, users := range d.withRole(store.RoleUsers) {
			issued, err := r.Certificates(ctx, users.Name(), 0, 1)
			if err != nil {
				return err
			}
			none = none && len(issued) == 0
		}
		return nil
	})
	return none, err
}
