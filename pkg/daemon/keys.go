package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/audit"
	"cauase/pkg/control"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/vault"
)

// Sealing says what opens the private keys of CAs.
type Sealing struct {
	// Secret is the path of the secret file. Empty: keys that are in the clear stay so, and new ones are.
	Secret string
	// Passphrase returns the passphrase that belongs to it; nil: there is none.
	Passphrase func() ([]byte, error)
	// Seal has keys sealed that are in the clear, as an earlier version left them.
	Seal bool
	// Socket is where operators unlock them; empty: nowhere.
	Socket string
}

// openKeys opens the private keys. When what it takes is not there, the daemon begins without them.
func (d *Daemon) openKeys(ctx context.Context) error {
	if d.cfg.Sealing.Secret == "" {
		d.vault = vault.New(d.store, d.clock)
	} else {
		d.vault = vault.New(d.store, d.clock, vault.SecretFile(d.cfg.Sealing.Secret, d.passphrase))
	}
	err := d.vault.Prepare(ctx)
	switch {
	case errors.Is(err, keys.ErrLocked), errors.Is(err, keys.ErrUnwrap):
		d.log.ErrorContext(ctx, "the private keys of the CAs are locked: what was signed before is served, and nothing else can be done until they are unlocked", "error", err)
	case err != nil:
		return &SettingError{KeySecret, err}
	default:
		if err := d.sealKeys(ctx); err != nil {
			return &SettingError{KeySecret, err}
		}
	}
	return nil
}

// passphrase asks for the one that was configured.
func (d *Daemon) passphrase() ([]byte, error) {
	if d.cfg.Sealing.Passphrase == nil {
		return nil, nil
	}
	passphrase, err := d.cfg.Sealing.Passphrase()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keys.ErrLocked, err)
	}
	return passphrase, nil
}

// sealKeys seals what is in the clear, if that is wanted, and says so if it is not.
func (d *Daemon) sealKeys(ctx context.Context) error {
	exposed, err := d.vault.HasClear(ctx)
	if err != nil || !exposed || d.cfg.Sealing.Secret == "" {
		return err
	}
	if !d.cfg.Sealing.Seal && !d.vault.Sealed() {
		d.log.WarnContext(ctx, "the private keys of the CAs are in the database in the clear: whoever can read it, or a copy of its files, can sign. "+
			"Seal them with cauased manage seal, or by giving --key-secret FILE")
		return nil
	}
	n, err := d.vault.SealAll(ctx, audit.Actor{Kind: audit.Daemon})
	if n > 0 {
		d.log.InfoContext(ctx, "the private keys of the CAs were sealed", "keys", n, "key_secret", d.cfg.Sealing.Secret)
	}
	if errors.Is(err, vault.ErrTraces) {
		d.log.ErrorContext(ctx, "seal", "error", err)
		return nil
	}
	return err
}

// listenToOperators has operators unlock the keys.
func (d *Daemon) listenToOperators(ctx context.Context) {
	if d.cfg.Sealing.Socket == "" || !d.vault.Sealed() {
		return
	}
	var err error
	if d.operators, err = control.Listen(d.cfg.Sealing.Socket); err != nil {
		d.log.WarnContext(ctx, "operators cannot unlock the private keys while the daemon runs: the socket for that cannot be opened", "error", err)
		return
	}
	u := &unlocking{daemon: d}
	go d.operators.Serve(u.answer)
}

// An UnlockRequest is what an operator asks for.
type UnlockRequest struct {
	Passphrase []byte `json:"passphrase,omitzero"`
	Authority  string `json:"authority,omitzero"` // with a passphrase of its own; empty: all others
	Seconds    int64  `json:"seconds,omitzero"`   // for how long that one is to be unlocked
}

// An UnlockAnswer is what comes of it.
type UnlockAnswer struct {
	Error string `json:"error,omitzero"`
	Wait  int64  `json:"wait_seconds,omitzero"` // before the next attempt
	// Needed says that a passphrase is, which was not given.
	Needed bool   `json:"passphrase_needed,omitzero"`
	Until  string `json:"until,omitzero"`
}

// MaxUnlocked is how long an authority with a passphrase of its own can be unlocked at once.
const MaxUnlocked = 5 * time.Minute

// An unlocking takes attempts, one at a time. Each costs what its passphrase was made to cost, and those that fail more and more time.
type unlocking struct {
	daemon *Daemon

	mu     sync.Mutex
	failed int
	next   time.Time
}

// Bounds of the time between attempts.
const (
	unlockPause    = time.Second
	maxUnlockPause = time.Minute
	freeAttempts   = 3
)

func (u *unlocking) answer(ctx context.Context, line []byte) any {
	var req UnlockRequest
	if err := json.Unmarshal(line, &req); err != nil {
		return UnlockAnswer{Error: "the request cannot be read"}
	}
	defer clear(req.Passphrase)
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.daemon
	now := d.clock.Now()
	if wait := u.next.Sub(now); wait > 0 && wait <= maxUnlockPause {
		return UnlockAnswer{Error: "there were too many attempts", Wait: int64((wait + time.Second - 1) / time.Second)}
	}
	err := d.unlock(ctx, req)
	if err == nil {
		u.failed = 0
		d.log.InfoContext(ctx, "private keys were unlocked", "authority", pki.EscapeText(req.Authority))
		d.recordUnlock(ctx, req, audit.OK)
		answer := UnlockAnswer{}
		if req.Authority != "" {
			answer.Until = stamp(now.Add(time.Duration(req.Seconds) * time.Second))
		}
		select {
		case d.unlocked <- struct{}{}:
		default: // it is about to look anyway
		}
		return answer
	}
	if errors.Is(err, keys.ErrUnwrap) {
		u.failed++
		if u.failed >= freeAttempts {
			u.next = now.Add(min(unlockPause<<min(u.failed-freeAttempts, 10), maxUnlockPause))
		}
		d.recordUnlock(ctx, req, audit.Refused)
	}
	d.log.WarnContext(ctx, "private keys were not unlocked", "authority", pki.EscapeText(req.Authority), "error", err)
	return UnlockAnswer{Error: err.Error(), Needed: errors.Is(err, keys.ErrPassphrase)}
}

func (d *Daemon) unlock(ctx context.Context, req UnlockRequest) error {
	if req.Authority != "" {
		long := time.Duration(req.Seconds) * time.Second
		if long <= 0 || long > MaxUnlocked {
			return fmt.Errorf("it can be unlocked for at most %v at once", MaxUnlocked)
		}
		return d.vault.UnlockOwn(ctx, req.Authority, req.Passphrase, long)
	}
	given := func() ([]byte, error) {
		if len(req.Passphrase) == 0 {
			return d.passphrase()
		}
		return req.Passphrase, nil
	}
	with := vault.SecretFile(d.cfg.Sealing.Secret, given)
	d.vault.Use(with)
	defer d.vault.Use(vault.SecretFile(d.cfg.Sealing.Secret, d.passphrase))
	return d.vault.Unlock(ctx)
}

func (d *Daemon) recordUnlock(ctx context.Context, req UnlockRequest, result audit.Result) {
	name := req.Authority
	if !store.AuthorityName(name).Valid() {
		name = ""
	}
	e := audit.NewEntry(d.clock.Now(), name, audit.Actor{Kind: audit.Operator}, audit.UnlockKeys, audit.Object{Kind: audit.KindDatabase, ID: "keys"})
	e.Result = result
	if err := d.store.Update(ctx, func(tx store.Tx) error { return tx.AppendAudit(ctx, e) }); err != nil {
		d.log.ErrorContext(ctx, "that somebody wanted to unlock the private keys could not be recorded", "error", err)
	}
}
