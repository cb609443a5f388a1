package manage

import (
	"context"
	"errors"
	"fmt"

	"cauase/pkg/archive"
	"cauase/pkg/clock"
	"cauase/pkg/dump"
	"cauase/pkg/store"
	"cauase/pkg/vault"
)

// A Proof is one property of a backup that a drill has proved.
type Proof struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

// A DrillResult says what a drill has proved, up to the point where it failed.
type DrillResult struct {
	Contents
	Proofs   []Proof   `json:"proofs"`
	Findings []Finding `json:"findings,omitempty"` // of the check
	Errors   int64     `json:"errors"`
	Warnings int64     `json:"warnings"`
}

// ErrDrillFindings means that a backup could be restored, but what it holds is not all right.
var ErrDrillFindings = errors.New("the restored database has errors")

// maxFindings is how many findings are kept.
const maxFindings = 100

// A drill is one Drill in progress, in a store that is thrown away.
type drill struct {
	raw   store.Store
	store store.Store // with its keys
	clock clock.Clock
	done  *DrillResult
	bench *workbench
}

// Drill restores a backup into st, which holds nothing and is thrown away afterwards, and has its
// authorities do there what they do every day. It calls proved with each thing that is shown to work.
func Drill(ctx context.Context, st store.Store, clk clock.Clock, backup Sealed, progress Progress, proved func(Proof)) (DrillResult, error) {
	done := DrillResult{Proofs: []Proof{}}
	// What is restored is what the backup holds, byte for byte, and its keys are opened as it has them.
	v := vault.New(st, clk)
	v.Use(&vault.Transport{Opener: backup.Key})
	d := &drill{raw: st, store: v, clock: clk, done: &done}
	prove := func(name string, run func() (string, error)) error {
		detail, err := run()
		if err != nil {
			return fmt.Errorf("not proved: %s: %w", name, err)
		}
		p := Proof{name, detail}
		done.Proofs = append(done.Proofs, p)
		proved(p)
		return nil
	}
	if err := prove("decrypted and restored", func() (string, error) { return d.restore(ctx, backup, progress) }); err != nil {
		return done, err
	}
	if err := prove("database checked", func() (string, error) { return d.check(ctx, progress) }); err != nil {
		return done, err
	}
	var err error
	if d.bench, err = newWorkbench(ctx, d.store, clk); err != nil {
		return done, err
	}
	store.SortForDisplay(d.bench.rows)
	for _, row := range d.bench.rows {
		if err := prove(exerciseName(row), func() (string, error) { return d.exercise(ctx, row) }); err != nil {
			return done, err
		}
	}
	return done, nil
}

// restore fills the store, and compares its rows with those of the backup.
func (d *drill) restore(ctx context.Context, backup Sealed, progress Progress) (string, error) {
	o, err := backup.open()
	if err != nil {
		return "", err
	}
	defer o.close()
	now := d.clock.Now()
	seen, err := newSurvey(now, backup)
	if err != nil {
		return "", err
	}
	err = d.raw.Update(ctx, func(tx store.Tx) error {
		return tx.Load(ctx, seen.watch(o.rows(ctx, now), progress.follow("restoring")))
	})
	if err != nil {
		return "", err
	}
	d.done.Contents, err = seen.contents(ctx, o)
	if err != nil {
		return "", err
	}
	var held dump.Summary
	err = d.store.View(ctx, func(r store.Reader) (err error) {
		held, err = dump.SummarizeAs(ctx, r, o.version())
		return err
	})
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%d rows", held.Rows())
	if o.dump != nil {
		if diff := o.dump.Summary().Diff(held); diff != "" {
			return "", fmt.Errorf("the database holds something else than the backup: %s", diff)
		}
		detail += ", each the same as in the backup"
	}
	// A restore would do so, too.
	return detail, d.store.Update(ctx, func(tx store.Tx) error { return archive.Forget(ctx, tx) })
}

// check looks at every row.
func (d *drill) check(ctx context.Context, progress Progress) (string, error) {
	found := func(f Finding) {
		if len(d.done.Findings) < maxFindings {
			d.done.Findings = append(d.done.Findings, f)
		}
	}
	checked, err := Check(ctx, d.store, d.clock.Now(), found, progress)
	if err != nil {
		return "", err
	}
	d.done.Errors, d.done.Warnings = checked.Errors, checked.Warnings
	if checked.Errors > 0 {
		return "", fmt.Errorf("%w: %d", ErrDrillFindings, checked.Errors)
	}
	return fmt.Sprintf("%d rows, %d warnings", checked.Rows.Rows(), checked.Warnings), nil
}
