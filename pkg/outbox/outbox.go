// Package outbox sees to it that whoever has to be told of something is told at least once: what is to be told is recorded with what
// it is about, in one transaction, and removed once it was received. Crashes, and recipients that are away, delay it.
package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A Recipient is told of events. Its Key names it in the store.
type Recipient interface {
	Key() string
	// Deliver tells it of an event. It bounds its own time. An error means that it has to be told again.
	Deliver(ctx context.Context, now time.Time, event []byte) error
}

// Bounds. Recipients that are away for longer than MaxAge, or for whom more than MaxPending events wait, lose some; others do not.
const (
	MaxAge     = 7 * 24 * time.Hour
	MaxPending = 100_000
)

const (
	// batch is how many events are read at a time.
	batch = 32
	// pollEvery is how often it is looked for what others have recorded, or what is due again; countEvery for how much there is.
	pollEvery  = 5 * time.Second
	countEvery = time.Minute
	// firstPause is how long a recipient that has failed is left alone at first, and longestPause at last.
	firstPause, longestPause = 5 * time.Second, time.Hour
	// maxError bounds what is kept of an error, in bytes.
	maxError = 500
)

// Config is what an Outbox works with. All but Observe is needed.
type Config struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger
	// Recipients are those that there are now.
	Recipients func() []Recipient
	// Observe, when set, is told how each delivery has ended. It must return at once.
	Observe func(recipient string, err error)
}

// An Outbox is safe for concurrent use.
type Outbox struct {
	cfg   Config
	lease lease
	kick  chan struct{}

	dropped atomic.Int64
	warned  atomic.Int64 // when the last loss was logged, in Unix seconds

	mu      sync.Mutex
	pending map[string]int // at the last count
	workers map[string]*worker
	running sync.WaitGroup
}

// A worker delivers to one recipient.
type worker struct {
	busy     bool
	again    bool      // something has come meanwhile
	failures int       // in a row
	until    time.Time // left alone
}

// New returns an Outbox, which delivers nothing before Run.
func New(cfg Config) *Outbox {
	if cfg.Observe == nil {
		cfg.Observe = func(string, error) {}
	}
	return &Outbox{cfg: cfg, lease: newLease(cfg), kick: make(chan struct{}, 1), workers: map[string]*worker{}}
}

// Add records an event for a recipient, within the transaction that records what it is about. When as many wait as may, it is lost,
// with a word in the log: what is told must not stop what it is told of.
func (o *Outbox) Add(ctx context.Context, tx store.Tx, now time.Time, authority store.AuthorityName, recipient string, event []byte) error {
	if o.full(recipient) {
		o.lose(ctx, recipient, 1, "too many events wait")
		return nil
	}
	return Record(ctx, tx, now, authority, recipient, event)
}

// full reports whether as many events wait for a recipient as may, by the last count.
func (o *Outbox) full(recipient string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pending[recipient] >= MaxPending
}

// Record records an event that some daemon on the database delivers.
func Record(ctx context.Context, tx store.Tx, now time.Time, authority store.AuthorityName, recipient string, event []byte) error {
	return tx.AddDelivery(ctx, store.Delivery{Authority: authority, Hook: recipient, Event: event, CreatedAt: now, DueAt: now})
}

// lose counts events that nobody will be told of, and says so, but not for each.
func (o *Outbox) lose(ctx context.Context, recipient string, n int64, why string) {
	total := o.dropped.Add(n)
	now := o.cfg.Clock.Now().Unix()
	if last := o.warned.Load(); now-last >= 10 && o.warned.CompareAndSwap(last, now) {
		o.cfg.Log.ErrorContext(ctx, "events are lost: a recipient is not told of some certificates", "recipient", pki.EscapeText(recipient), "reason", why, "lost", total)
	}
}

// Kick has it look for what was recorded. It returns at once.
func (o *Outbox) Kick() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// Pending is how many events waited for each recipient when they were last counted, and Dropped how many were lost since the start.
func (o *Outbox) Pending() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	counts := make(map[string]int, len(o.pending))
	for name, n := range o.pending {
		counts[name] = n
	}
	return counts
}

// Dropped is how many events were lost since the start.
func (o *Outbox) Dropped() int64 { return o.dropped.Load() }

// Run delivers until ctx ends, and returns when nothing is under way any more.
func (o *Outbox) Run(ctx context.Context) {
	o.running.Go(func() { o.lease.keep(ctx, o.wanted) })
	defer o.running.Wait()
	poll, count := time.NewTicker(pollEvery), time.NewTicker(countEvery)
	defer poll.Stop()
	defer count.Stop()
	o.count(ctx)
	for {
		o.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-o.kick:
		case <-poll.C:
		case <-count.C:
			o.count(ctx)
		}
	}
}

func (o *Outbox) wanted() bool { return len(o.cfg.Recipients()) > 0 }

// look has each recipient be told that is not being told, nor left alone.
func (o *Outbox) look(ctx context.Context) {
	if !o.wanted() || !o.lease.held() {
		return
	}
	now := o.cfg.Clock.Now()
	for _, r := range o.cfg.Recipients() {
		if o.begin(r.Key(), now) {
			o.running.Go(func() { o.work(ctx, r) })
		}
	}
}

// begin reports whether a recipient's turn begins now.
func (o *Outbox) begin(key string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.workers[key]
	if w == nil {
		w = &worker{}
		o.workers[key] = w
	}
	if w.busy {
		w.again = true
		return false
	}
	if now.Before(w.until) && w.until.Sub(now) <= longestPause*2 { // not for longer, whatever the clock does
		return false
	}
	w.busy, w.again = true, false
	return true
}

// work tells a recipient of all that is due.
func (o *Outbox) work(ctx context.Context, r Recipient) {
	for {
		err := o.drain(o.lease.context(ctx), r)
		if o.end(ctx, r.Key(), err) {
			return
		}
	}
}

// end reports whether a recipient's turn is over: nothing has come meanwhile, or it fails.
func (o *Outbox) end(ctx context.Context, key string, err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.workers[key]
	switch {
	case err != nil:
		w.failures++
		w.until = o.cfg.Clock.Now().Add(pause(w.failures))
	default:
		w.failures, w.until = 0, time.Time{}
		if w.again && ctx.Err() == nil {
			w.again = false
			return false
		}
	}
	w.busy = false
	return true
}

// drain delivers what is due until nothing is, or a delivery fails.
func (o *Outbox) drain(ctx context.Context, r Recipient) error {
	for {
		now := o.cfg.Clock.Now()
		var due []store.Delivery
		err := o.cfg.Store.View(ctx, func(reader store.Reader) (err error) {
			due, err = reader.Deliveries(ctx, r.Key(), now, batch)
			return err
		})
		if err != nil {
			if ctx.Err() == nil {
				o.cfg.Log.ErrorContext(ctx, "events cannot be read", "error", err)
			}
			return err
		}
		if len(due) == 0 {
			return nil
		}
		for _, d := range due {
			if err := o.deliver(ctx, r, d); err != nil {
				return err
			}
		}
	}
}

// deliver tells a recipient of one event, and records how that has ended.
func (o *Outbox) deliver(ctx context.Context, r Recipient, d store.Delivery) error {
	if ctx.Err() != nil || !o.lease.held() {
		return context.Canceled
	}
	failed := r.Deliver(ctx, o.cfg.Clock.Now(), d.Event)
	if ctx.Err() != nil {
		return ctx.Err() // it may have arrived or not: it is told again
	}
	o.cfg.Observe(r.Key(), failed)
	now := o.cfg.Clock.Now()
	tooOld := failed != nil && now.Sub(d.CreatedAt) > MaxAge
	err := o.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if failed == nil || tooOld {
			return tx.DeleteDelivery(ctx, d.ID)
		}
		next := d
		next.Attempts++
		next.DueAt, next.LastError = now.Add(pause(next.Attempts)), shorten(failed.Error())
		return tx.PutDelivery(ctx, next)
	})
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if tooOld {
		o.lose(ctx, r.Key(), 1, "it was not reached for "+pki.FormatDuration(MaxAge))
	}
	return failed
}

func shorten(text string) string {
	text = pki.EscapeText(text)
	if len(text) > maxError {
		text = text[:maxError]
	}
	return pki.EscapeText(text)
}

// count finds out how many events wait, and gives up those of recipients that are gone.
func (o *Outbox) count(ctx context.Context) {
	var counts map[string]int
	err := o.cfg.Store.View(ctx, func(r store.Reader) (err error) {
		counts, err = r.CountDeliveries(ctx)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			o.cfg.Log.ErrorContext(ctx, "events cannot be counted", "error", err)
		}
		return
	}
	known := map[string]bool{}
	for _, r := range o.cfg.Recipients() {
		known[r.Key()] = true
	}
	for key, n := range counts {
		if n >= MaxPending && !o.full(key) {
			o.cfg.Log.ErrorContext(ctx, "as many events wait for a recipient as may: new ones are lost until some were delivered",
				"recipient", pki.EscapeText(key), "waiting", n)
		}
		if !known[key] && o.lease.held() {
			o.expire(ctx, key)
		}
	}
	o.mu.Lock()
	o.pending = counts
	o.mu.Unlock()
}

// expire removes events of a recipient that is configured nowhere any more, once they are old: another daemon may know it.
func (o *Outbox) expire(ctx context.Context, key string) {
	now := o.cfg.Clock.Now()
	lost := int64(0)
	err := o.cfg.Store.Update(ctx, func(tx store.Tx) error {
		lost = 0
		due, err := tx.Deliveries(ctx, key, now, batch)
		if err != nil {
			return err
		}
		for _, d := range due {
			if now.Sub(d.CreatedAt) > MaxAge {
				lost++
				if err := tx.DeleteDelivery(ctx, d.ID); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && lost > 0 {
		o.lose(ctx, key, lost, "there is no such recipient any more")
	}
}
