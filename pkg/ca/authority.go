// Package ca is the certificate authority: it takes requests, signs, renews and revokes
// certificates, keeps its own CA certificates and revocation lists, and remembers all of it in a
// store. It knows neither HTTP nor SQL.
//
// Every operation reads the clock once, checks everything that can be checked without the
// store, signs, and then lets one store transaction look again at whatever may have changed in the
// meantime, record the result and its audit entry. Only what that transaction has made
// durable leaves the package; what it refuses was never issued.
package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// Config is what a daemon decides for its authorities, beside what their rows say.
type Config struct {
	Netloc string // host[:port] under which verifiers reach the daemon; part of what is issued

	// Host, for the role daemon only, is the one host that authority may name: a DNS name or an IP
	// address without brackets.
	Host string

	Backdate  time.Duration // how far before the time of issuance NotBefore lies, for verifiers whose clock is slow
	Retention time.Duration // how long an expired certificate stays on record

	// ChainRetention is how long after a CA's expiry its statement about its successor is still
	// served, to hosts that were away. Zero means always.
	ChainRetention time.Duration

	PendingTTL   time.Duration // how long a request waits for a user before it is removed; 0: forever
	PendingShare int           // how many pending requests may be of one address; 0: a part of all

	LockAutoApprove bool // keep the row's number of automatic approvals permanently, whatever the row says later

	Fork ForkPolicy // how to treat renewals of certificates that were renewed before; ForkFlag if empty

	// RevokeOne has every revocation withdraw one certificate only, as caucase does, and not end its lineage.
	RevokeOne bool

	// Renewals is how often a lineage may be renewed in a day. Zero: as the validity of certificates suggests.
	Renewals int64

	MaxUsers int // lineages of users that there may be at once; DefaultMaxUsers if zero

	// Profiles are what certificates may be like; the built-in ones if nil.
	Profiles *profile.Set

	// Rules are what operators have decided about requests; nil: all wait for a user.
	Rules *policy.Engine

	// Presign may change certificates before they are signed, and Announce records what is to be told of them; nil: nobody does.
	Presign  Presigner
	Announce Announcer

	// Policy decides about requests; Rules do if nil. It can only be stricter than those.
	Policy Policy

	// AddressNames returns what an address is called, and who has that name confirms, where rules for an authority want to know; nil: they
	// never do. It may take its time.
	AddressNames func(ctx context.Context, authority store.AuthorityName, address string) ([]string, error)

	// Linter looks at what is to be approved; a lint.Linter of its own, made when first needed, if nil.
	Linter Linter

	// Custody keeps the keys of CAs. If nil, the context says who does, see keys.From, or else the store; or it is keys.Row.
	Custody keys.Custody

	// KeyPlace is where keys are made as long as the store does not say: see keys.Purpose.
	KeyPlace string

	// Parents finds the parents of authorities; nil where none has one.
	Parents Parents

	// Statements makes what an authority signs beside certificates and lists.
	Statements Statements

	Log *slog.Logger

	// Observe, when set, is told how each operation that changes something has ended. It must
	// return at once.
	Observe func(name store.AuthorityName, action audit.Action, err error)

	// Outdated, when set, is told that revocation lists are out of date: after a revocation, and when somebody asks for a long list and is given
	// the previous one meanwhile. It must return at once, and have Refresh called soon.
	Outdated func()

	// Ready, when set, says why nothing may be made now: a daemon whose clock differs too much from those of
	// others on the same store would damage what they share. It must return at once.
	Ready func() error

	// Decide is rollover.Decide if nil. Tests that must detect a wrong rule supply one.
	Decide func(now time.Time, spans rollover.Spans, generations []rollover.Generation) rollover.Plan
}

// crlLife is how long a revocation list lives, in certificate spans; a new one is made when
// half of it has passed.
const crlLife = 0.33

// maxBackdate is the largest backdating, as a part of a span.
const maxBackdate = 100

// Statements makes the statements by which an authority vouches for certificates of CAs. Their form
// is a protocol's; to this package they are bytes.
type Statements interface {
	// Succession says that next succeeds old, whose key is given.
	Succession(key crypto.Signer, old, next *x509.Certificate) ([]byte, error)
	// Predecessor returns the old one of such a statement, which this authority has made.
	Predecessor(statement []byte) (*x509.Certificate, error)
	// Withdrawal says that withdrawn is to be trusted no longer; the key is that of by, a later one.
	Withdrawal(key crypto.Signer, by, withdrawn *x509.Certificate) ([]byte, error)
	// ServerCA says that cas sign the certificates of the daemon's own listeners.
	ServerCA(key crypto.Signer, cas []*x509.Certificate) ([]byte, error)
	// LogKey says what payload does, about the key and the epochs of the daemon's log.
	LogKey(key crypto.Signer, payload []byte) ([]byte, error)
	// VouchesLog reports whether a statement is what LogKey returns for a payload, by the key with this public one.
	VouchesLog(statement, payload []byte, by crypto.PublicKey) bool
}

func (c Config) check(row store.Authority) error {
	if err := row.Check(); err != nil {
		return err // somebody has changed it by hand
	}
	if err := spansOf(row).Check(); err != nil {
		return err
	}
	if _, err := pki.ParseKeyType(row.KeyType); err != nil {
		return err
	}
	switch {
	case c.Netloc == "":
		return errors.New("ca: no netloc")
	case c.Statements == nil:
		return errors.New("ca: nobody to make statements")
	case (row.Role == store.RoleDaemon) != (c.Host != ""):
		return errors.New("ca: a host constraint is for the authority of the daemon's own certificates")
	case c.Backdate < 0 || c.Retention < 0 || c.ChainRetention < 0 || c.Renewals < 0 || row.MaxPending < 0 || row.AutoApprove < 0:
		return errors.New("ca: negative limit")
	case c.MaxUsers < 0 || c.MaxUsers > MaxUsers:
		return fmt.Errorf("ca: no backup has room for %d users, at most %d are possible", c.MaxUsers, MaxUsers)
	}
	_, err := ParseForkPolicy(string(c.Fork))
	return err
}

func spansOf(row store.Authority) rollover.Spans {
	return rollover.Spans{Leaf: row.Span, Life: row.Life}
}

// An Authority is one certificate authority. It is safe for concurrent use.
type Authority struct {
	store   store.Store
	clock   clock.Clock
	row     store.Authority
	name    store.AuthorityName
	spans   rollover.Spans
	cfg     Config
	log     *slog.Logger
	cas     atomic.Pointer[generations]
	rolling lock // held while a CA certificate is made

	rolloverFailed atomic.Pointer[time.Time] // when the last attempt failed, nil when it did not

	crls     crlCache
	supplied atomic.Pointer[suppliedCache] // lists of CAs that are kept elsewhere

	voucher    voucherCache
	logVoucher logVoucher
	gone       withdrawalCache
	adopted    census
	sought     atomic.Pointer[sought] // how far it was looked who has a generation that waits
	refusals   refusals
	attended   atomic.Bool // the last request was not approved automatically, though its profile allows that
	room       room

	followers followers // who follow only to CA certificates of the same subject
}

// Open loads the authority that row describes from st, making its first CA certificate when there is none.
func Open(ctx context.Context, st store.Store, clk clock.Clock, row store.Authority, cfg Config) (*Authority, error) {
	if err := cfg.check(row); err != nil {
		return nil, err
	}
	cfg.Backdate = min(cfg.Backdate, row.Span/maxBackdate)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxUsers == 0 {
		cfg.MaxUsers = DefaultMaxUsers
	}
	if cfg.Fork == "" {
		cfg.Fork = ForkFlag
	}
	if cfg.Profiles == nil {
		builtIn, err := profile.NewSet(nil)
		if err != nil {
			return nil, err
		}
		cfg.Profiles = builtIn
	}
	if cfg.Linter == nil {
		cfg.Linter = new(lazyLinter)
	}
	if cfg.Custody == nil {
		cfg.Custody = CustodyOf(ctx, st)
	}
	if cfg.Decide == nil {
		cfg.Decide = rollover.Decide
	}
	if cfg.Ready == nil {
		cfg.Ready = func() error { return nil }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(store.AuthorityName, audit.Action, error) {}
	}
	a := &Authority{
		store: st, clock: clk, row: row, name: row.Name, spans: spansOf(row), cfg: cfg,
		log:     cfg.Log.With("authority", string(row.Name)),
		rolling: newLock(), crls: crlCache{long: longList, making: newLock(), asked: inquiry{turn: newLock()}}, voucher: voucherCache{making: newLock()}, logVoucher: logVoucher{making: newLock()}, gone: withdrawalCache{making: newLock()}, adopted: census{making: newLock()},
	}
	a.warnOfProfiles(ctx)
	if err := a.lockAutoApprove(ctx); err != nil {
		return nil, err
	}
	if err := a.reload(ctx); err != nil {
		return nil, err
	}
	if err := a.expectFollowers(ctx, clk.Now()); err != nil {
		return nil, err
	}
	// One whose keys, or whose parent's, are elsewhere or locked serves what there is, and waits.
	if _, err := a.current(ctx, clk.Now()); err != nil && !errors.Is(err, ErrSignoff) && !errors.Is(err, ErrLocked) && !a.external() {
		return nil, err
	}
	return a, nil
}

// Name returns which authority this is.
func (a *Authority) Name() store.AuthorityName { return a.name }

// Row returns what is decided about the authority.
func (a *Authority) Row() store.Authority { return a.row }

// retired reports whether the authority signs revocation lists only.
func (a *Authority) retired(now time.Time) bool {
	at := a.row.RetiredAt
	if g := a.cas.Load(); at.IsZero() && g != nil {
		at = g.retiredAt // by an operator's command, of which the row in memory knows nothing yet
	}
	return !at.IsZero() && !now.Before(at)
}

// CRLLife is how long a revocation list is valid.
func (a *Authority) CRLLife() time.Duration {
	return time.Duration(crlLife * float64(a.spans.Leaf))
}

// lockAutoApprove keeps the configured number of requests that are approved without a user in
// the store for good, if that was asked for and none is kept yet. A kept one that makes no sense is an error.
func (a *Authority) lockAutoApprove(ctx context.Context) error {
	locked := false
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		_, locked, err = a.autoApprovals(ctx, r)
		return err
	})
	if err != nil || locked || !a.cfg.LockAutoApprove {
		return err
	}
	now := a.clock.Now()
	return a.store.Update(ctx, func(tx store.Tx) error {
		// Of several daemons that start at once, the first locks.
		if _, locked, err := a.autoApprovals(ctx, tx); err != nil || locked {
			return err
		}
		return LockAutoApproval(ctx, tx, now, a.row)
	})
}

// LockAutoApproval keeps the number of automatic approvals in an authority's row for good, whatever the row says later.
func LockAutoApproval(ctx context.Context, tx store.Tx, now time.Time, row store.Authority) error {
	value := fmt.Sprint(row.AutoApprove)
	if err := tx.PutSetting(ctx, row.Name, store.SettingAutoApprove, value); err != nil {
		return err
	}
	e := audit.NewEntry(now, string(row.Name), audit.Actor{Kind: audit.Daemon}, audit.LockAuto, audit.Object{Kind: audit.KindSetting, ID: store.SettingAutoApprove})
	e.Detail = "count " + value
	return tx.AppendAudit(ctx, e)
}

// autoApprovals is how many requests are approved without a user: the number locked in the store
// if there is one, which another daemon may have done a moment ago, else the configured one.
func (a *Authority) autoApprovals(ctx context.Context, r store.Reader) (count int64, locked bool, err error) {
	value, err := r.Setting(ctx, a.name, store.SettingAutoApprove)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, false, err
	}
	return a.parseAutoApprovals(value)
}

// parseAutoApprovals is autoApprovals for the value of the setting; empty: there is none.
func (a *Authority) parseAutoApprovals(value string) (count int64, locked bool, err error) {
	if value == "" {
		return int64(a.row.AutoApprove), false, nil
	}
	if count, err = strconv.ParseInt(value, 10, 64); err != nil || count < 0 {
		return 0, false, fmt.Errorf("%w: setting %s of %s is %q, not a count", ErrDamaged, store.SettingAutoApprove, a.name, value)
	}
	return count, true, nil
}

// observe reports the end of an operation, from a deferred call: err points to its result.
func (a *Authority) observe(action audit.Action, err *error) { a.cfg.Observe(a.name, action, *err) }

// observeOnce does so unless nothing was done, as the answer is that of an earlier operation.
func (a *Authority) observeOnce(action audit.Action, err *error, again *bool) {
	if *err != nil || !*again {
		a.observe(action, err)
	}
}

// entry starts an audit entry about this authority.
func (a *Authority) entry(now time.Time, actor audit.Actor, action audit.Action, object audit.Object) audit.Entry {
	return audit.NewEntry(now, string(a.name), actor, action, object)
}

// crlURL is where verifiers find the revocation list of the CA with this key identifier: one list, in DER, as RFC 5280
// 4.2.1.13 has it. Only services have one: users are verified by the daemon itself.
func (a *Authority) crlURL(keyID []byte) (crl string) {
	if a.row.Role != store.RoleServices {
		return ""
	}
	crl, _ = pointers(a.base(), a.name, keyID)
	return crl
}

// constraint is what the authority of the daemon's own certificates may name.
func (a *Authority) constraint() profile.Constraint { return profile.Constraint{Host: a.cfg.Host} }
