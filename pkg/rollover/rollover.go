// Package rollover decides, from nothing but the time and the CA certificates that exist,
// which of them signs, whether a new one is due and which have expired.
//
// A generation passes through these phases, counted in spans (the validity of an issued
// certificate), for a CA life of L spans:
//
//	age 0 … 1        passive: distributed to every holder, signs nothing
//	age 1 … L-1      active: signs everything
//	age L-1 … L      retired: its successor signs, what it signed expires
//	age L            expired
//
// Its successor is made when it has two spans left, so that the successor becomes active when
// it has one left: whatever it signed last expires no later than itself, and every holder has
// renewed, and so met the successor, at least once before the successor signs anything.
// No cross-signing is needed.
//
// An operator may start a generation out of turn, and have it active sooner: at once, or once its
// holders say that they have it. Whatever became of a generation, the next one is due by the same rule.
package rollover

import (
	"fmt"
	"slices"
	"time"
)

// A Generation describes one CA certificate to Decide.
type Generation struct {
	CreatedAt time.Time // when it was made: its age is counted from then, not from a backdated NotBefore
	NotBefore time.Time
	NotAfter  time.Time

	Activation Activation
	// ActivatedAt is since when it is active, if Activation is Activated, and when it is going to be at the latest, if that is
	// WhenAdopted.
	ActivatedAt time.Time
}

// An Activation says what makes a generation active.
type Activation string

// What makes a generation active.
const (
	ByAge       Activation = ""        // that it has existed for more than a span
	Activated   Activation = "now"     // it was decided: it is, whatever its age
	WhenAdopted Activation = "adopted" // that its holders have it, which is then decided; or that it is ActivatedAt, or old enough
)

// A Phase is a stage in the life of a generation.
type Phase string

// The phases of a generation.
const (
	Future  Phase = "not yet valid" // the clock is behind its NotBefore
	Passive Phase = "passive"
	Active  Phase = "active"
	Retired Phase = "retired"
	Expired Phase = "expired"
)

// MinLife is the shortest CA life, in spans, that leaves room for every phase.
const MinLife = 3

// DefaultLife is the life, in spans, of the CAs of users and services: a span passive, so that
// every host meets them, two spans active, one retired.
const DefaultLife = 4

// DaemonLife is the life, in spans, of the CA of the daemon's own HTTPS certificates. Clients
// learn of it from the authority that vouches for it, and it serves nobody else, so it
// need not change often.
const DaemonLife = 40

// Spans are the durations that rule an authority.
type Spans struct {
	Leaf time.Duration // validity of an issued certificate, the crt span
	Life int           // validity of a CA certificate, in spans; at least MinLife
}

// Check returns an error that names what is out of range.
func (s Spans) Check() error {
	if s.Leaf < time.Second {
		return fmt.Errorf("certificate validity of %v: must be at least one second", s.Leaf)
	}
	if s.Life < MinLife {
		return fmt.Errorf("CA life of %d certificate validities: must be at least %d", s.Life, MinLife)
	}
	if max := 100 * 365 * 24 * time.Hour; s.Leaf > max/time.Duration(s.Life) {
		return fmt.Errorf("certificate validity of %v: a CA would live %d times as long, more than 100 years", s.Leaf, s.Life)
	}
	return nil
}

// CAValidity is how long a CA certificate lives.
func (s Spans) CAValidity() time.Duration { return time.Duration(s.Life) * s.Leaf }

// None stands for "no generation" where an index is expected.
const None = -1

// A Plan says what to do with the generations it was made for.
type Plan struct {
	Phases []Phase   // of each generation, in the order given
	Signer int       // index of the active generation, None when no valid one exists
	Create bool      // a new generation is due
	Next   time.Time // the earliest time at which the plan may come out differently; zero when there is no generation
}

// Decide makes the plan for generations, ordered from oldest to newest, at now.
//
// A generation that is not yet valid, because the clock was set back, never signs. When there is
// no other, none is made: a wrong clock must not make CA certificates. Where there are others it is
// ignored: it was made by a clock that was far ahead, and daemons whose clocks are correct again must
// not wait for it.
func Decide(now time.Time, spans Spans, generations []Generation) Plan {
	p := Plan{Phases: make([]Phase, len(generations)), Signer: signer(now, spans, generations)}
	for i, g := range generations {
		p.Phases[i] = phase(now, g, i, p.Signer)
		for _, t := range []time.Time{g.NotBefore, ActiveAt(spans, g), firstSecondAfter(g)} {
			p.consider(t, now)
		}
	}
	switch newest := Newest(now, generations); {
	case newest != None:
		due := SuccessorAt(spans, generations[newest])
		soon := slices.ContainsFunc(generations, func(g Generation) bool { return Soon(now, spans, g) })
		p.Create = !now.Before(due) && !soon
		p.consider(due, now)
	default:
		p.Create = len(generations) == 0
	}
	return p
}

// skewPart is how far the clocks of daemons on one store may differ, as a part of a span.
const skewPart = 100

// Soon reports whether g becomes valid shortly: a daemon whose clock is a little ahead has made it.
func Soon(now time.Time, spans Spans, g Generation) bool {
	ahead := g.NotBefore.Sub(now)
	return ahead > 0 && ahead <= spans.Leaf/skewPart
}

// Newest returns the index of the newest generation whose validity has begun, whether it has ended
// or not, and None if there is no such generation.
func Newest(now time.Time, generations []Generation) int {
	for i := len(generations) - 1; i >= 0; i-- {
		if !now.Before(generations[i].NotBefore) {
			return i
		}
	}
	return None
}

// consider moves p.Next to t when t is the nearer future.
func (p *Plan) consider(t, now time.Time) {
	if t.After(now) && (p.Next.IsZero() || t.Before(p.Next)) {
		p.Next = t
	}
}

// signer picks the newest valid generation whose time to be active has come. When there is
// none, as in the first span of all, it picks the oldest valid one: that is the one which is handed to
// every newcomer, and a successor made this very second, as happens with a life of three spans, or a
// clock set back by a moment, must not make anything active that holders have not met.
func signer(now time.Time, spans Spans, generations []Generation) int {
	oldest := None
	for i := len(generations) - 1; i >= 0; i-- {
		if !Valid(now, generations[i]) {
			continue
		}
		if !now.Before(ActiveAt(spans, generations[i])) {
			return i
		}
		oldest = i
	}
	return oldest
}

func phase(now time.Time, g Generation, i, signer int) Phase {
	switch {
	case !now.Before(firstSecondAfter(g)):
		return Expired
	case now.Before(g.NotBefore):
		return Future
	case i == signer:
		return Active
	case i > signer:
		return Passive
	default:
		return Retired
	}
}

// Valid reports whether g's certificate is valid at now. Validity includes the whole second of
// NotAfter (RFC 5280 4.1.2.5).
func Valid(now time.Time, g Generation) bool {
	return !now.Before(g.NotBefore) && now.Before(firstSecondAfter(g))
}

// ActiveAt is the first instant at which g may sign: when it has existed for more than a span, unless it was
// decided otherwise. That is a matter of record, and not of clocks: a daemon whose clock is a little behind that of
// the one which has recorded it must not go on with the generation before.
func ActiveAt(spans Spans, g Generation) time.Time {
	ofAge := g.CreatedAt.Add(spans.Leaf).Add(time.Microsecond)
	switch {
	case g.Activation == Activated:
		return g.NotBefore
	case g.Activation == WhenAdopted && !g.ActivatedAt.IsZero() && g.ActivatedAt.Before(ofAge):
		return g.ActivatedAt
	}
	return ofAge
}

// ActiveFrom is ActiveAt as people are told it.
func ActiveFrom(spans Spans, g Generation) time.Time {
	if g.Activation == Activated && !g.ActivatedAt.IsZero() {
		return g.ActivatedAt
	}
	return ActiveAt(spans, g)
}

// SuccessorAt is when g has two spans left, and its successor is due.
func SuccessorAt(spans Spans, g Generation) time.Time { return g.NotAfter.Add(-2 * spans.Leaf) }

func firstSecondAfter(g Generation) time.Time { return g.NotAfter.Add(time.Second) }
