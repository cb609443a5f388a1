package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// claimLife is how long a daemon that takes a backup may be silent before another one takes over.
// It is renewed several times in that. The clocks of daemons may differ by the rest.
const (
	claimLife  = 5 * time.Minute
	claimRenew = time.Minute
)

// maxSkew is how far the clock of whoever took a backup may have been ahead. What is dated later is
// from a time when the clock was wrong, and not looked at.
const maxSkew = 5 * time.Minute

var (
	errClaimed = errors.New("another daemon is taking a backup")
	errNotDue  = errors.New("another daemon has just taken a backup")
	errLost    = errors.New("another daemon has taken over")
)

// A claim is the right to take a backup, of which a database has one.
type claim struct {
	Holder string    `json:"holder"` // a process
	Place  string    `json:"place"`  // where it puts the backup
	Until  time.Time `json:"until"`
}

// A Record is what is known of the last backup, in the database that it is of.
type Record struct {
	Time       time.Time `json:"time"`
	Name       string    `json:"name"`
	Place      string    `json:"place"` // machine and directory
	Size       int64     `json:"size"`  // in bytes
	Recipients int       `json:"recipients"`
	Excluded   int       `json:"excluded"` // users who cannot decrypt it
	TookMillis int64     `json:"took_ms"`
}

// setting reads a setting that holds JSON; v stays as it is when there is none, or one that this version
// does not understand: no backup is due to it then, and it will be written anew.
func setting(ctx context.Context, r store.Reader, name string, v any) error {
	text, err := r.Setting(ctx, "", name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		_ = json.Unmarshal([]byte(text), v)
	}
	return err
}

func putSetting(ctx context.Context, tx store.Tx, name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.PutSetting(ctx, "", name, string(text))
}

// Last returns what is recorded of the last backup, and whether there is one.
func Last(ctx context.Context, r store.Reader) (rec Record, ok bool, err error) {
	err = setting(ctx, r, store.SettingBackupLast, &rec)
	return rec, !rec.Time.IsZero(), err
}

// Forget removes the record of backups. It is for a store that has just been restored, of which none was taken yet.
func Forget(ctx context.Context, tx store.Tx) error {
	if err := tx.DeleteSetting(ctx, "", store.SettingBackupClaim); err != nil {
		return err
	}
	return tx.DeleteSetting(ctx, "", store.SettingBackupLast)
}

// claim gets the right to take a backup, unless another daemon has it, or none is due any more. That
// no other process writes into our directory, alone says that whoever claims this place is dead.
func (a *Archive) claim(ctx context.Context, alone bool, now time.Time, files []backupFile) error {
	return a.cfg.Store.Update(ctx, func(tx store.Tx) error {
		var held claim
		if err := setting(ctx, tx, store.SettingBackupClaim, &held); err != nil {
			return err
		}
		dead := held.Place == a.place && alone
		// One that lasts longer than any was made by a clock that is wrong.
		if now.Before(held.Until) && held.Until.Sub(now) <= claimLife+maxSkew && !dead {
			return errClaimed
		}
		base, err := a.base(ctx, tx, now, files)
		if err != nil {
			return err
		}
		if now.Before(a.dueAfter(base)) {
			return errNotDue
		}
		return putSetting(ctx, tx, store.SettingBackupClaim, claim{a.holder, a.place, now.Add(claimLife)})
	})
}

// keepClaim renews the claim until ctx ends. It calls lost once the claim is another's, or may be.
func (a *Archive) keepClaim(ctx context.Context, lost func(error)) {
	tick := time.NewTicker(claimRenew)
	defer tick.Stop()
	until := a.cfg.Clock.Now().Add(claimLife)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := a.cfg.Clock.Now()
		err := a.cfg.Store.Update(ctx, func(tx store.Tx) error {
			var held claim
			if err := setting(ctx, tx, store.SettingBackupClaim, &held); err != nil {
				return err
			}
			if held.Holder != a.holder {
				return errLost
			}
			return putSetting(ctx, tx, store.SettingBackupClaim, claim{a.holder, a.place, now.Add(claimLife)})
		})
		switch {
		case err == nil:
			until = now.Add(claimLife)
		case errors.Is(err, errLost) || now.After(until):
			lost(errLost)
			return
		}
	}
}

// settle releases the claim, and records the backup if one was taken, also while the daemon shuts down.
func (a *Archive) settle(ctx context.Context, b *Backup) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	now := a.cfg.Clock.Now()
	return a.cfg.Store.Update(ctx, func(tx store.Tx) error {
		var held claim
		if err := setting(ctx, tx, store.SettingBackupClaim, &held); err != nil {
			return err
		}
		if held.Holder == a.holder {
			if err := tx.DeleteSetting(ctx, "", store.SettingBackupClaim); err != nil {
				return err
			}
		}
		if b == nil {
			return nil
		}
		return a.record(ctx, tx, now, *b)
	})
}

// settleTimeout bounds how long an ending daemon waits for a database.
const settleTimeout = 5 * time.Second

func (a *Archive) record(ctx context.Context, tx store.Tx, now time.Time, b Backup) error {
	last, _, err := Last(ctx, tx)
	if err != nil {
		return err
	}
	rec := b.record(a.place)
	if !last.Time.After(rec.Time) || last.Time.After(now.Add(maxSkew)) {
		if err := putSetting(ctx, tx, store.SettingBackupLast, rec); err != nil {
			return err
		}
	}
	return tx.AppendAudit(ctx, b.entry(now, audit.Actor{Kind: audit.Daemon}))
}

// Audit records, on behalf of actor, that b was taken.
func (b Backup) Audit(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor) error {
	return tx.AppendAudit(ctx, b.entry(now, actor))
}

func (b Backup) entry(now time.Time, actor audit.Actor) audit.Entry {
	e := audit.NewEntry(now, "", actor, audit.TakeBackup, audit.Object{Kind: audit.KindBackup, ID: b.name()})
	e.Detail = fmt.Sprintf("%d bytes for %d users", b.Size, b.Recipients)
	if n := len(b.Excluded); n > 0 {
		e.Detail += fmt.Sprintf(", without %d others", n)
	}
	return e
}
