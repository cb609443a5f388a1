package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cauase/pkg/store"
)

const (
	// maxTries is how often a group is run before it fails.
	maxTries = 5
	// settleTime is how long to try to find out what became of a commit.
	settleTime = 10 * time.Second
	// keptMarks is how many commits can still be looked up. One would do.
	keptMarks = 1000
)

const insertMark = `INSERT INTO commit_mark (instance, number) VALUES (?, ?)`

// A pgWriter is the session that writes. Its transactions begin with the lock that keeps other
// daemons' out, and end with a mark, which tells those who lose the connection at the commit
// whether it has happened.
type pgWriter struct {
	pgSession
	refused func() error // why there can be no connection now, if so
	drain   func(error)  // fails who waits in line, while a commit is looked up
	channel string       // of notifications

	instance []byte // of this process, random
	number   int64  // of the last commit tried
	deleted  int64  // marks up to this are gone

	at     *head // of the tree, when the transaction began; nil: not known yet
	told   bool  // the transaction has changed something worth a notification
	warned atomic.Bool

	careful bool // every job gets a savepoint
	saved   bool // this one has one
	once    bool // one of the jobs cannot be run again
	mark    int  // how much of what waits is older than the job
	dirty   bool // the server may have to take something back if the job fails
	delays  backoff.BackOff
}

var _ writeSession = (*pgWriter)(nil)

func (w *pgWriter) begin(ctx context.Context) error {
	w.told, w.once, w.at = false, false, nil
	if err := w.pgSession.begin(ctx); err != nil {
		return err
	}
	w.push(statement{query: selectHead, into: func(row scanner) error {
		at, err := scanHead(row)
		w.at = &at
		return err
	}})
	return nil
}

func (w *pgWriter) began() *head { return w.at }

// save makes a savepoint only in a group of which a job has failed before: they are expensive, and
// a job that fails has usually looked before it wrote, so that there is nothing to take back.
func (w *pgWriter) save(context.Context) error {
	w.mark, w.dirty, w.saved = len(w.waiting), false, w.careful
	if w.saved {
		w.push(statement{query: "SAVEPOINT job"})
	}
	return nil
}

// keep sends what still waits: should it fail, that has to be now, as long as the savepoint is this job's.
func (w *pgWriter) keep(ctx context.Context) error {
	if !w.saved {
		return nil
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	w.push(statement{query: "RELEASE SAVEPOINT job"})
	return nil
}

// undo drops what the server has not heard of. What it has heard of goes with the savepoint, or with
// the whole transaction, which is then run again with savepoints.
func (w *pgWriter) undo(ctx context.Context, cause error) error {
	switch {
	case !w.dirty:
		w.waiting = w.waiting[:w.mark]
	case w.saved:
		w.forget()
		// Not as prepared statements: after an error the server prepares nothing.
		return w.simple(ctx, "ROLLBACK TO SAVEPOINT job; RELEASE SAVEPOINT job")
	case w.once:
		return cause
	default:
		return errRedo
	}
	return nil
}

// errRedo ends a group that cannot be committed because of one job.
var errRedo = fmt.Errorf("%w: another operation had to be undone", store.ErrUnavailable)

// sending notes what goes to the server besides a statement that only reads, and for whom.
func (w *pgWriter) sending(reads bool) {
	w.dirty = w.dirty || !reads || len(w.waiting) > w.mark
	w.mark = 0
}

func (w *pgWriter) exec(ctx context.Context, query string, args ...any) (int64, error) {
	w.sending(true)
	n, err := w.pgSession.exec(ctx, query, args...)
	w.dirty = w.dirty || n > 0 || err != nil
	return n, err
}

func (w *pgWriter) query(ctx context.Context, query string, args ...any) (rows, error) {
	w.sending(strings.HasPrefix(strings.TrimSpace(query), "SELECT"))
	found, err := w.pgSession.query(ctx, query, args...)
	w.dirty = w.dirty || err != nil
	return found, err
}

func (w *pgWriter) flush(ctx context.Context) error {
	w.sending(len(w.waiting) == 0)
	return w.pgSession.flush(ctx)
}

func (w *pgWriter) later(ctx context.Context, none error, query string, args ...any) error {
	err := w.pgSession.later(ctx, none, query, args...)
	if len(w.waiting) == 0 { // it was too much to wait
		w.sending(false)
	}
	return err
}

// unhurried is for Load. The rows it is given may be there only once, so that it is not run again.
func (w *pgWriter) unhurried() {
	if !w.saved && !w.dirty {
		w.saved = true
		w.waiting = slices.Insert(w.waiting, w.mark, statement{query: "SAVEPOINT job"})
	}
	w.once = true
	w.pgSession.unhurried()
}

func (w *pgWriter) announce()     { w.told = true }
func (w *pgWriter) entered() bool { return w.answered >= len(w.start) }
func (w *pgWriter) down() error   { return w.refused() }

// commit sends what has waited, the mark and COMMIT. Only three answers say for sure what has
// happened: the one to COMMIT itself, an error that left the connection alive, and the mark.
func (w *pgWriter) commit(ctx context.Context) error {
	if !w.entered() || w.expects() {
		// All of it would travel at once, and might arrive when a lookup has found nothing; or one might have changed nothing.
		if err := w.flush(ctx); err != nil {
			if isExpected(err) && !w.once {
				return errRedo // so that only the one fails that it is about
			}
			return err
		}
	}
	w.number++
	number := w.number
	w.push(statement{query: insertMark, args: []any{w.instance, number}})
	if number >= w.deleted+2*keptMarks {
		w.push(statement{
			query: `DELETE FROM commit_mark WHERE instance = ? AND number > ? AND number <= ?`,
			args:  []any{w.instance, w.deleted, number - keptMarks},
		})
		w.deleted = number - keptMarks
	}
	if w.told {
		w.push(statement{query: `SELECT pg_notify(?, '')`, args: []any{w.channel}})
	}
	done, err := w.finish(ctx)
	if done {
		w.careful, w.delays = false, nil
		return nil
	}
	if certain(err) {
		return w.fail(ctx, err)
	}
	return w.settle(ctx, number)
}

// expects reports whether one of the statements that wait is to fail if it changes nothing.
func (w *pgWriter) expects() bool {
	return slices.ContainsFunc(w.waiting, func(st statement) bool { return st.none != nil })
}

// finish sends COMMIT with what has waited. It reports whether the commit has been confirmed.
func (w *pgWriter) finish(ctx context.Context) (bool, error) {
	w.push(statement{query: "COMMIT"})
	w.warned.Store(false)
	r := w.send(ctx)
	tag, err := r.skip(len(w.waiting))
	w.forget()
	if e := r.close(); err == nil && e != nil {
		w.broken = true // what comes after the answer makes no difference to it
	}
	switch {
	case tag.String() != "COMMIT" && err == nil:
		return false, fmt.Errorf("%w: the transaction was rolled back", store.ErrUnavailable)
	case tag.String() != "COMMIT":
		return false, err
	case w.warned.Load():
		// As when somebody ends the wait for a standby: the commit counts here, but not there.
		return false, errors.New("the server has committed with a warning")
	}
	return true, nil
}

// certain reports whether err says that nothing was committed.
func certain(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.SeverityUnlocalized == "ERROR"
	}
	return errors.Is(err, store.ErrUnavailable)
}

// errNotCommitted is the answer of a lookup: the transaction was lost with its connection.
var errNotCommitted = fmt.Errorf("%w: %w before the commit", store.ErrUnavailable, errLost)

// settle finds out whether a commit has happened whose answer was lost: nil, or errNotCommitted.
// The lock is what makes sure of it. As long as a server process still works on the commit, it
// holds the lock.
func (w *pgWriter) settle(ctx context.Context, number int64) error {
	committed, err := backoff.Retry(ctx, func() (bool, error) {
		w.broken = true
		committed, err := w.lookUp(ctx, number)
		if err != nil {
			if down := w.refused(); down != nil {
				w.drain(down)
			}
		}
		return committed, err
	}, backoff.WithBackOff(newDelays()), backoff.WithMaxElapsedTime(settleTime))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %v", store.ErrUncertain, err) // whose ErrUnavailable says something else
	case !committed:
		return errNotCommitted
	}
	return nil
}

// lookUp asks once. It commits something of its own before it says yes: where a standby has to
// confirm commits, it has then confirmed the earlier one, too.
func (w *pgWriter) lookUp(ctx context.Context, number int64) (bool, error) {
	if err := w.pgSession.begin(ctx); err != nil {
		return false, err
	}
	h := &handle{s: &w.pgSession, dialect: w.dialect, write: true}
	there, err := one(ctx, h, scalar[bool], `
		SELECT EXISTS (SELECT 1 FROM commit_mark WHERE instance = ? AND number = ?)`, w.instance, number)
	if err != nil || !there {
		return false, errors.Join(err, w.pgSession.rollback(ctx))
	}
	w.number++
	w.push(statement{query: insertMark, args: []any{w.instance, w.number}})
	return w.finish(ctx)
}

// rollback is for a transaction that failed. If it cannot be ended its connection is.
func (w *pgWriter) rollback(ctx context.Context) { _ = w.pgSession.rollback(ctx) }

// again runs a group once more that has lost a race or its connection, without its own doing.
func (w *pgWriter) again(ctx context.Context, err error, n int) bool {
	if err == errRedo && !w.careful && !w.once {
		w.careful = true
		return true
	}
	if n >= maxTries || w.once || !passing(err) {
		w.careful = false
		return false
	}
	if w.delays == nil {
		w.delays = newDelays()
		if errors.Is(err, errLost) {
			return true // others may still have their connection, and so may we
		}
	}
	timer := time.NewTimer(w.delays.NextBackOff())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// newDelays are the waits between attempts: short, as somebody waits.
func newDelays() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 20*time.Millisecond, 500*time.Millisecond
	return b
}

// close removes the marks: nobody will ask for them.
func (w *pgWriter) close() error {
	if w.sound() {
		ctx, cancel := context.WithTimeout(context.Background(), rollbackBound)
		defer cancel()
		_, _ = w.conn.Exec(ctx, `DELETE FROM commit_mark WHERE instance = $1`, w.instance) // or they go when they are old
	}
	return w.pgSession.close()
}
