package outbox

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"cauase/pkg/store"
)

// leaseLife is how long a daemon that delivers may be silent before another one takes over; it says that it is there several times
// in that.
const (
	leaseLife  = time.Minute
	leaseRenew = 15 * time.Second
)

// A lease is the right to deliver, which one of the daemons on a database has. On a database that no others can be on, it is always held.
type lease struct {
	store  store.Store
	shared store.Watcher // nil: there are no others
	log    *slog.Logger
	holder string

	state *leaseState
}

type leaseState struct {
	mu     sync.Mutex
	ctx    context.Context // ends with the lease; nil: there is none
	cancel context.CancelFunc
	end    *time.Timer // which no change of a clock delays
}

// A claim is a lease as it is recorded, by the clock of the database.
type claim struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

func newLease(cfg Config) lease {
	shared, _ := cfg.Store.(store.Watcher)
	return lease{store: cfg.Store, shared: shared, log: cfg.Log, holder: rand.Text(), state: &leaseState{}}
}

// held reports whether this daemon is the one that delivers.
func (l lease) held() bool {
	if l.shared == nil {
		return true
	}
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	return l.state.ctx != nil
}

// context returns one that ends with the lease.
func (l lease) context(ctx context.Context) context.Context {
	if l.shared == nil {
		return ctx
	}
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	if l.state.ctx == nil {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return ended
	}
	return l.state.ctx
}

// keep gets the lease, or keeps it, until ctx ends, as long as it is wanted.
func (l lease) keep(ctx context.Context, wanted func() bool) {
	if l.shared == nil {
		return
	}
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	for {
		if wanted() {
			l.renew(ctx)
		}
		select {
		case <-ctx.Done():
			l.release()
			return
		case <-tick.C:
		}
	}
}

// renew gets the lease unless another daemon has it.
func (l lease) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaseRenew)
	defer cancel()
	now, err := l.shared.Now(ctx)
	if err != nil {
		return // the daemon says so elsewhere
	}
	if !l.held() { // others have it as a rule: to look costs less than to try
		other, err := l.byAnother(ctx, now)
		if err != nil || other {
			return
		}
	}
	got := false
	err = l.store.Update(ctx, func(tx store.Tx) error {
		var was claim
		if got = false; readClaim(ctx, tx, &was) != nil {
			return nil
		}
		if l.another(was, now) {
			return nil
		}
		text, err := json.Marshal(claim{l.holder, now.Add(leaseLife)})
		if err != nil {
			return err
		}
		got = true
		return tx.PutSetting(ctx, "", store.SettingOutboxLease, string(text))
	})
	if err == nil && got {
		l.take()
	} else if err == nil {
		l.lose()
	}
}

// another reports whether a claim is that of another daemon, and counts. One that lasts longer than any was made by a clock that was wrong.
func (l lease) another(c claim, now time.Time) bool {
	return c.Holder != l.holder && now.Before(c.Until) && c.Until.Sub(now) <= 2*leaseLife
}

func (l lease) byAnother(ctx context.Context, now time.Time) (other bool, err error) {
	err = l.store.View(ctx, func(r store.Reader) error {
		var was claim
		err := readClaim(ctx, r, &was)
		other = l.another(was, now)
		return err
	})
	return other, err
}

func readClaim(ctx context.Context, r store.Reader, c *claim) error {
	text, err := r.Setting(ctx, "", store.SettingOutboxLease)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		_ = json.Unmarshal([]byte(text), c) // one that cannot be read is nobody's
	}
	return err
}

// take notes that the lease is ours. What came before has taken leaseRenew at most.
func (l lease) take() {
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	if l.state.ctx != nil {
		l.state.end.Reset(leaseLife - leaseRenew)
		return
	}
	l.state.ctx, l.state.cancel = context.WithCancel(context.Background())
	l.state.end = time.AfterFunc(leaseLife-leaseRenew, l.lose)
	l.log.Info("events are delivered by this daemon")
}

// lose notes that the lease is not ours, or may not be.
func (l lease) lose() {
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	if l.state.ctx != nil {
		l.state.end.Stop()
		l.state.cancel()
		l.state.ctx = nil
	}
}

// release lets another daemon take over at once.
func (l lease) release() {
	had := l.held()
	l.lose()
	if !had {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := l.store.Update(ctx, func(tx store.Tx) error {
		var was claim
		if err := readClaim(ctx, tx, &was); err != nil || was.Holder != l.holder {
			return err
		}
		return tx.DeleteSetting(ctx, "", store.SettingOutboxLease)
	})
	if err != nil {
		l.log.Warn("another daemon takes over in a minute only", "error", err)
	}
}
