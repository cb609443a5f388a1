package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/store/sqlstore/sqltest"
	"cauase/pkg/testkit"
)

// A receiver remembers what it was told.
type receiver struct {
	key    string
	answer func(event string) error // nil: it takes everything
	told   chan string
}

func (r *receiver) Key() string { return r.key }

func (r *receiver) Deliver(_ context.Context, _ time.Time, event []byte) error {
	var err error
	if r.answer != nil {
		err = r.answer(string(event))
	}
	r.told <- string(event)
	return err
}

func newReceiver(key string, answer func(string) error) *receiver {
	return &receiver{key, answer, make(chan string, 1000)}
}

func start() time.Time { return time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC) }

func open(t testing.TB, dsn string) store.Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), dsn, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db.Store()
}

// A post is an outbox that runs.
type post struct {
	*Outbox
	clk  *clock.Fake
	log  *testkit.Buffer
	stop func() error
}

func run(t *testing.T, st store.Store, clk *clock.Fake, recipients ...Recipient) post {
	t.Helper()
	log := &testkit.Buffer{}
	o := New(Config{Store: st, Clock: clk, Log: slog.New(slog.NewTextHandler(log, nil)), Recipients: func() []Recipient { return recipients }})
	return post{o, clk, log, testkit.Background(t, func(ctx context.Context) error { o.Run(ctx); return nil })}
}

func add(t *testing.T, o *Outbox, st store.Store, now time.Time, key string, events ...string) {
	t.Helper()
	for _, event := range events {
		if err := st.Update(t.Context(), func(tx store.Tx) error { return o.Add(t.Context(), tx, now, store.Services, key, []byte(event)) }); err != nil {
			t.Fatal(err)
		}
	}
	o.Kick()
}

func receive(t *testing.T, r *receiver, want ...string) {
	t.Helper()
	for _, event := range want {
		select {
		case got := <-r.told:
			if got != event {
				t.Fatalf("%s is told %q, not %q", r.key, got, event)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s is not told %q", r.key, event)
		}
	}
}

func left(t *testing.T, st store.Store) (all []store.Delivery) {
	t.Helper()
	err := st.View(t.Context(), func(r store.Reader) error {
		counts, err := r.CountDeliveries(t.Context())
		for key := range counts {
			some, more := r.Deliveries(t.Context(), key, start().Add(1000*24*time.Hour), 0)
			all, err = append(all, some...), errors.Join(err, more)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !there(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// rest waits until nobody is being told: until then the clock must not be moved, by which pauses are measured.
func (p post) rest(t *testing.T) {
	t.Helper()
	waitFor(t, "rest", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, w := range p.workers {
			if w.busy {
				return false
			}
		}
		return true
	})
}

// TestEventsAreDeliveredInOrder, and one recipient that hangs holds up no other.
func TestEventsAreDeliveredInOrder(t *testing.T) {
	st, clk := open(t, sqltest.New(t)), clock.NewFake(start())
	hang := make(chan struct{})
	slow := newReceiver("slow", func(string) error { <-hang; return nil })
	quick := newReceiver("quick", nil)
	p := run(t, st, clk, slow, quick)
	add(t, p.Outbox, st, start(), "slow", "1", "2")
	var events []string
	for n := range 2 * batch {
		events = append(events, fmt.Sprint(n))
	}
	add(t, p.Outbox, st, start(), "quick", events...)
	receive(t, quick, events...)
	close(hang)
	receive(t, slow, "1", "2")
	waitFor(t, "nothing left", func() bool { return len(left(t, st)) == 0 })
}

// TestFailuresAreTriedAgain, later each time, whatever is wrong, and survive the end of a daemon.
func TestFailuresAreTriedAgain(t *testing.T) {
	st, clk := open(t, sqltest.New(t)), clock.NewFake(start())
	var mu sync.Mutex
	failing := true
	r := newReceiver("hook", func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if failing {
			return errors.New("not\x1b[2J now")
		}
		return nil
	})
	p := run(t, st, clk, r)
	add(t, p.Outbox, st, start(), "hook", "a")
	for n := 1; n <= 3; n++ {
		receive(t, r, "a")
		waitFor(t, "noted", func() bool { all := left(t, st); return len(all) == 1 && all[0].Attempts == n })
		p.rest(t)
		d := left(t, st)[0]
		if wait := d.DueAt.Sub(clk.Now()); wait < firstPause/2 || wait > longestPause*2 || d.LastError != `not\x1b[2J now` {
			t.Errorf("after %d: %v, %q", n, wait, d.LastError)
		}
		clk.Set(d.DueAt.Add(longestPause * 2))
		p.Kick()
		if n == 2 {
			// What is under way ends with the daemon; what is recorded does not.
			if err := p.stop(); err != nil {
				t.Fatal(err)
			}
			for len(r.told) > 0 {
				<-r.told
			}
			for n < left(t, st)[0].Attempts {
				n++
			}
			clk.Set(left(t, st)[0].DueAt.Add(longestPause * 4))
			p = run(t, st, clk, r)
		}
	}
	receive(t, r, "a")
	mu.Lock()
	failing = false
	mu.Unlock()
	waitFor(t, "delivered", func() bool {
		clk.Advance(longestPause * 2)
		p.Kick()
		return len(left(t, st)) == 0
	})
}

// TestADaemonThatDies between the commit and the delivery, or between the delivery and its record, has the next one deliver.
func TestADaemonThatDies(t *testing.T) {
	st, clk := open(t, sqltest.New(t)), clock.NewFake(start())
	dead := New(Config{Store: st, Clock: clk, Log: slog.New(slog.DiscardHandler), Recipients: func() []Recipient { return nil }})
	add(t, dead, st, start(), "hook", "a", "b") // and never runs
	entered, hang := make(chan struct{}), make(chan struct{})
	first := newReceiver("hook", func(string) error { close(entered); <-hang; return nil })
	ctx, kill := context.WithCancel(t.Context())
	second := New(Config{Store: st, Clock: clk, Log: slog.New(slog.DiscardHandler), Recipients: func() []Recipient { return []Recipient{first} }})
	ended := make(chan struct{})
	go func() { second.Run(ctx); close(ended) }()
	<-entered
	kill() // while it is told: whether it has understood nobody knows
	close(hang)
	<-ended
	third := newReceiver("hook", nil)
	run(t, st, clk, third)
	receive(t, third, "a", "b")
	waitFor(t, "nothing left", func() bool { return len(left(t, st)) == 0 })
}

// TestWhatNobodyTakes is given up after a week, with a word in the log: neither a recipient that is away nor one that is gone
// fills the disk.
func TestWhatNobodyTakes(t *testing.T) {
	st, clk := open(t, sqltest.New(t)), clock.NewFake(start())
	r := newReceiver("away", func(string) error { return errors.New("no route to host") })
	p := run(t, st, clk, r)
	add(t, p.Outbox, st, start(), "away", "a")
	add(t, p.Outbox, st, start(), "gone", "b")
	receive(t, r, "a")
	waitFor(t, "noted", func() bool {
		return slices.ContainsFunc(left(t, st), func(d store.Delivery) bool { return d.Attempts == 1 })
	})
	p.rest(t)
	p.count(t.Context())
	if got := p.Pending(); got["away"] != 1 || got["gone"] != 1 {
		t.Errorf("pending %v", got)
	}
	clk.Advance(MaxAge + time.Hour)
	p.Kick()
	waitFor(t, "given up", func() bool { p.Kick(); p.count(t.Context()); return len(left(t, st)) == 0 && p.Dropped() == 2 })
	if p.Dropped() != 2 || !strings.Contains(p.log.String(), "events are lost") {
		t.Errorf("%d lost\n%s", p.Dropped(), p.log.String())
	}
}

// TestThereIsABound to what waits for a recipient: what comes then is lost, certificates are issued all the same, and others are told.
func TestThereIsABound(t *testing.T) {
	st, clk := open(t, sqltest.New(t)), clock.NewFake(start())
	p := run(t, st, clk)
	waitFor(t, "counted", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.pending != nil })
	p.mu.Lock()
	p.pending = map[string]int{"hook": MaxPending}
	p.mu.Unlock()
	add(t, p.Outbox, st, start(), "hook", "a", "b")
	add(t, p.Outbox, st, start(), "other", "c")
	if all := left(t, st); len(all) != 1 || all[0].Hook != "other" || p.Dropped() != 2 || strings.Count(p.log.String(), "events are lost") != 1 {
		t.Errorf("%v, %d lost\n%s", all, p.Dropped(), p.log.String())
	}
}

// TestOneOfManyDelivers: of several daemons on one database one tells, each event once, and another goes on when it has ended.
func TestOneOfManyDelivers(t *testing.T) {
	dsn := pgtest.Start(t, pgtest.Options{}).NewDatabase(t)
	clk := clock.NewFake(start())
	type daemon struct {
		post
		r  *receiver
		st store.Store
	}
	var daemons []daemon
	for range 3 {
		st, r := open(t, dsn), newReceiver("hook", nil)
		daemons = append(daemons, daemon{run(t, st, clk, r), r, st})
	}
	holder := func() int { return slices.IndexFunc(daemons, func(d daemon) bool { return d.lease.held() }) }
	waitFor(t, "one holds the lease", func() bool { return holder() >= 0 })
	one := holder()
	other := (one + 1) % len(daemons)
	add(t, daemons[other].Outbox, daemons[other].st, start(), "hook", "a", "b", "c")
	daemons[one].Kick() // it would look by itself, later
	receive(t, daemons[one].r, "a", "b", "c")
	waitFor(t, "nothing left", func() bool { return len(left(t, daemons[other].st)) == 0 })
	for n, d := range daemons {
		if n != one && (len(d.r.told) > 0 || d.lease.held()) {
			t.Errorf("daemon %d delivers beside %d", n, one)
		}
	}
	if err := daemons[one].stop(); err != nil {
		t.Fatal(err)
	}
	add(t, daemons[other].Outbox, daemons[other].st, start(), "hook", "d")
	daemons[other].lease.renew(t.Context()) // it would by itself, later
	daemons[other].Kick()
	receive(t, daemons[other].r, "d")
}

func TestPauses(t *testing.T) {
	last := time.Duration(0)
	for n := range 30 {
		p := pause(n)
		if p < firstPause/2 || p > longestPause*2 || n > 15 && p < longestPause/2 {
			t.Errorf("after %d: %v, %v before", n, p, last)
		}
		last = p
	}
}
