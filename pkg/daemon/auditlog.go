package daemon

import (
	"context"
	"errors"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/keys"
	"cauase/pkg/logkey"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

// auditLog is what the daemon does about its audit log.
type auditLog struct {
	signs  bool // checkpoints are signed
	locked bool // and that they are not was said
	tended time.Time
}

// A checkpointer is a store that has checkpoints of the audit log signed.
type checkpointer interface {
	SignCheckpoints(func(merkle.Checkpoint) ([]byte, error))
}

// signLog has checkpoints signed from now on, unless they are or the key cannot be opened yet. What was recorded meanwhile is
// covered by the first one.
func (d *Daemon) signLog(ctx context.Context) {
	db, ok := d.store.(checkpointer)
	if d.audit.signs || !ok {
		return
	}
	key, err := logkey.Open(ctx, d.store, d.custody, d.clock.Now())
	if err != nil {
		if !d.audit.locked && ctx.Err() == nil {
			d.audit.locked = errors.Is(err, keys.ErrLocked)
			d.log.WarnContext(ctx, "checkpoints of the audit log are not signed for now", "error", err)
		}
		return
	}
	db.SignCheckpoints(func(c merkle.Checkpoint) ([]byte, error) { return merkle.SignCheckpoint(c, key) })
	d.audit.signs, d.audit.locked = true, false
	err = d.store.Update(ctx, func(tx store.Tx) error {
		log, err := tx.Log(ctx)
		if err != nil {
			return err
		}
		last, err := tx.LatestCheckpoint(ctx)
		if err == nil && last.Size == log.Size && last.Epoch == log.Epoch {
			return nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.Checkpoint(ctx, d.clock.Now())
	})
	if err != nil && ctx.Err() == nil {
		d.log.WarnContext(ctx, "the audit log has no checkpoint of now", "error", err)
	}
}

// How checkpoints get fewer: all of the last hour are kept, then one of an hour, then one of a day.
const (
	tendEvery  = time.Hour
	keepHourly = 30 * 24 * time.Hour
	tendBatch  = 500
)

// tendLog deletes what has become old: checkpoints of which a few are enough, and entries, if they are not kept for ever.
func (d *Daemon) tendLog(ctx context.Context) {
	now := d.clock.Now()
	if since := now.Sub(d.audit.tended); !d.audit.tended.IsZero() && since >= 0 && since < tendEvery {
		return
	}
	d.audit.tended = now
	err := errors.Join(d.thinCheckpoints(ctx, now.Add(-keepHourly), 24*time.Hour), d.thinCheckpoints(ctx, now.Add(-time.Hour), time.Hour))
	if d.cfg.AuditKeep > 0 {
		err = errors.Join(err, d.pruneLog(ctx, now, now.Add(-d.cfg.AuditKeep)))
	}
	if err != nil && ctx.Err() == nil {
		d.log.WarnContext(ctx, "old parts of the audit log were not deleted", "error", err)
	}
}

func (d *Daemon) thinCheckpoints(ctx context.Context, until time.Time, span time.Duration) error {
	for after := time.Unix(0, 0); ; {
		n := 0
		err := d.store.Update(ctx, func(tx store.Tx) (err error) {
			n, after, err = tx.ThinCheckpoints(ctx, after, until, span, tendBatch)
			return err
		})
		if err != nil || n < tendBatch {
			return err
		}
	}
}

// pruneLog deletes entries of before a time, and records up to where.
func (d *Daemon) pruneLog(ctx context.Context, now, before time.Time) error {
	for {
		n := 0
		err := d.store.Update(ctx, func(tx store.Tx) error {
			pruned, first, err := tx.PruneAudit(ctx, before, tendBatch)
			if n = pruned; err != nil || n == 0 {
				return err
			}
			e := audit.NewEntry(now, "", audit.Actor{Kind: audit.Daemon}, audit.PruneLog, audit.LogObject(first))
			e.Detail = "entries of before " + before.UTC().Format(time.RFC3339)
			return tx.AppendAudit(ctx, e)
		})
		if err != nil || n == 0 {
			return err
		}
	}
}
