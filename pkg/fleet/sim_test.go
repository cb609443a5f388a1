package fleet

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// A plan is what a simulation consists of, but for chance.
type plan struct {
	seed  uint64
	hosts int
	years float64
	spans rollover.Spans

	family  bool // there are a root and two authorities below it, beside the one of services that signs itself
	offline bool // there is an authority below a root whose key is kept offline

	calm    bool       // no mishap happens but those that are arranged, and one user is enough
	agenda  []visit    // how operators look after sign-offs at first; then, it varies
	arrange func(*sim) // schedules what a test wants to happen in any case; may be nil

	// What a mutation puts in place of what is right.
	decide func(time.Time, rollover.Spans, []rollover.Generation) rollover.Plan
	tamper func(*sim, answerer) answerer
	// of the root
	decideRoot func(time.Time, rollover.Spans, []rollover.Generation) rollover.Plan
	forget     bool // each restart comes with the database of the one before
	// of the authority below the offline root
	decideOffline func(time.Time, rollover.Spans, []rollover.Generation) rollover.Plan
	misread       func([]store.Signoff) []store.Signoff
	forge         forgery

	// expect is the one invariant that counts, for a mutation that must break it. It
	// stands for those who would notice it; others may notice more.
	expect invariant
}

// spans as they are by default.
func defaultSpans() rollover.Spans { return rollover.Spans{Leaf: 93 * day, Life: 4} }

// A sim is a fleet, its daemon and its world, in simulated time.
type sim struct {
	plan
	ctx    context.Context
	clock  *clock.Fake
	start  time.Time
	rand   *rand.Rand // decides what happens
	net    *network
	daemon *daemon
	oracle *oracle
	vault  *vault // of the offline root
	hosts  []*agent
	admins []*admin

	queue  events
	steps  int
	called bool // a user is about to look at what waits

	visiting bool // an operator is about to look after sign-offs, or on the way

	violations []violation
	stats      stats
}

// stats count what has happened, to show that it has.
type stats struct {
	wakes, lost, daemonOutages, hostOutages, restarts, crashes int
	enrolments, renewals, revocations                          int
	lockedOut                                                  int // users that were revoked
	expired, followed, reanchored                              int // hosts that were away for long
	meetings, byRoots, revokedCAs                              int
	rotations, adoptions, confirmed                            int

	visits                                                       map[string]int // by operators, for sign-offs
	curtailed, answersLost, stalled, refused, roots, rootsPinned int
}

func newSim(ctx context.Context, dir string, p plan) (*sim, error) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &sim{
		plan:  p,
		ctx:   ctx,
		clock: clock.NewFake(start),
		start: start,
		rand:  rand.New(rand.NewPCG(p.seed, 0)),
	}
	s.stats.visits = map[string]int{}
	s.oracle = newOracle(s)
	s.net = &network{sim: s}
	s.daemon = &daemon{sim: s, dir: filepath.Join(dir, "daemon")}
	if err := os.Mkdir(s.daemon.dir, 0o700); err != nil {
		return nil, err
	}
	if s.offline {
		if err := s.openVault(dir); err != nil {
			return nil, err
		}
	}
	if err := s.daemon.open(); err != nil {
		return nil, err
	}
	s.enrolFleet()
	s.every(s.spans.Leaf/20, s.maintain)
	s.every(s.spans.Leaf/20, s.oracle.checkAll)
	if !p.calm {
		s.scheduleMishaps()
	}
	if p.arrange != nil {
		p.arrange(s)
	}
	return s, nil
}

// run lets the simulated time pass. It returns at the first violation.
func (s *sim) run() error {
	end := s.start.Add(time.Duration(s.years * float64(year)))
	for len(s.queue) > 0 && len(s.violations) == 0 && s.ctx.Err() == nil {
		e := heap.Pop(&s.queue).(event)
		if e.at.After(end) {
			break
		}
		s.clock.Set(e.at)
		e.do()
	}
	if len(s.violations) == 0 {
		s.oracle.checkAll()
	}
	err := errors.Join(s.ctx.Err(), s.daemon.close(), s.vault.close())
	for _, v := range s.violations {
		err = errors.Join(err, v)
	}
	return err
}

func (s *sim) now() time.Time { return s.clock.Now() }

// An event is something that happens at its time. Times are whole seconds, as in
// certificates, so that what the oracle reads from those is exact.
type event struct {
	at  time.Time
	seq int
	do  func()
}

func (s *sim) at(t time.Time, do func()) {
	if t.Before(s.now()) {
		t = s.now()
	}
	heap.Push(&s.queue, event{t.Add(time.Second - 1).Truncate(time.Second), s.step(), do})
}

// step numbers what happens.
func (s *sim) step() int {
	s.steps++
	return s.steps
}

func (s *sim) after(d time.Duration, do func()) { s.at(s.now().Add(d), do) }

func (s *sim) every(d time.Duration, do func()) {
	s.after(d, func() {
		do()
		s.every(d, do)
	})
}

// sometimes does something again and again, at random times so far apart on average.
func (s *sim) sometimes(mean time.Duration, do func()) {
	s.after(s.exponential(mean), func() {
		do()
		s.sometimes(mean, do)
	})
}

func (s *sim) exponential(mean time.Duration) time.Duration {
	return time.Duration(s.rand.ExpFloat64() * float64(mean))
}

func (s *sim) chance(p float64) bool { return s.rand.Float64() < p }

// spansOf is so many spans of a certificate's validity.
func (s *sim) spansOf(n float64) time.Duration { return time.Duration(n * float64(s.spans.Leaf)) }

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

// An invariant is something that must hold whatever happens.
type invariant string

const (
	peersAccept   invariant = "hosts within their budget accept each other"
	keepsTrust    invariant = "a host within its budget loses nothing"
	documented    invariant = "beyond its budget a host meets the documented error"
	revokedIsOut  invariant = "what is revoked is refused by whoever refreshed since"
	numbersGrow   invariant = "CRL numbers only grow, and name one list"
	listsFresh    invariant = "a list that is served lives for half its life yet"
	activeSigns   invariant = "only the active CA signs"
	withinIssuer  invariant = "no certificate outlives its issuer"
	inTime        invariant = "CA certificates are made in time"
	signoffsUsed  invariant = "what has to be signed off is asked for in time, and used in time"
	asksOnce      invariant = "what waits to be signed off is not asked for again"
	exchangesWork invariant = "what is allowed works, what is not does not"
)

// A violation is an invariant that does not hold.
type violation struct {
	of   invariant
	at   time.Time
	text string
}

func (v violation) Error() string {
	return fmt.Sprintf("%s: not so: %s: %s", v.at.Format(time.RFC3339), v.of, v.text)
}

func (s *sim) violated(of invariant, format string, args ...any) {
	const enough = 5 // the same thing is wrong for many at once
	if (s.expect == "" || s.expect == of) && len(s.violations) < enough {
		s.violations = append(s.violations, violation{of, s.now(), fmt.Sprintf(format, args...)})
	}
}
