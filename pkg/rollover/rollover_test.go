package rollover

import (
	"fmt"
	"testing"
	"time"
)

const span = 100 * time.Hour

var (
	t0    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	spans = Spans{Leaf: span, Life: 4}
)

// made is a generation created at t0 + offset.
func made(offset time.Duration, s Spans) Generation {
	created := t0.Add(offset)
	return Generation{CreatedAt: created, NotBefore: created.Add(-time.Minute), NotAfter: created.Add(s.CAValidity())}
}

func TestDecide(t *testing.T) {
	one := []Generation{made(0, spans)}
	two := []Generation{made(0, spans), made(2*span, spans)}
	three := append(append([]Generation{}, two...), made(4*span, spans))
	foreign := Generation{CreatedAt: t0, NotBefore: t0, NotAfter: t0.Add(10 * span)} // imported, longer than ours
	tests := []decision{
		{"nothing yet", 0, nil, "[]", None, true},
		{"the first second of all", 0, one, "[active]", 0, false},
		{"in the first span the only one signs", span / 2, one, "[active]", 0, false},
		{"a second before two spans are left", 2*span - time.Second, one, "[active]", 0, false},
		{"two spans left", 2 * span, one, "[active]", 0, true},
		{"its successor is passive", 2 * span, two, "[active passive]", 0, false},
		{"a successor of exactly one span", 3 * span, two, "[active passive]", 0, false},
		{"a successor of more than one span", 3*span + time.Second, two, "[retired active]", 1, false},
		{"the last second of the old one", 4 * span, two, "[retired active]", 1, true},
		{"the second after", 4*span + time.Second, two, "[expired active]", 1, true},
		{"the third is passive", 4*span + time.Second, three, "[expired active passive]", 1, false},
		{"the third is active", 5*span + time.Second, three, "[expired retired active]", 2, false},
		{"a daemon that slept through the creation", 3*span + span/2, one, "[active]", 0, true},
		{"a daemon that slept through a whole life", 10 * span, one, "[expired]", None, true},
		{"then the only valid one signs, however young", 10 * span, []Generation{made(0, spans), made(10*span, spans)}, "[expired active]", 1, false},
		{"the clock set back before the successor", 2*span - 2*time.Minute, two, "[active not yet valid]", 0, false},
		{"the clock set back before everything", -time.Hour, one, "[not yet valid]", None, false},
		{"made by a daemon whose clock is half an hour ahead", 2 * span, []Generation{made(0, spans), made(2*span+span/200, spans)}, "[active not yet valid]", 0, false},
		{"made by a daemon whose clock is far ahead", 2 * span, []Generation{made(0, spans), made(2*span+span/10, spans)}, "[active not yet valid]", 0, true},
		{"one made by a clock that was ten spans ahead", span, []Generation{made(0, spans), made(10*span, spans)}, "[active not yet valid]", 0, false},
		{"must not keep the next from being made", 2 * span, []Generation{made(0, spans), made(10*span, spans)}, "[active not yet valid]", 0, true},
		{"within the backdating", -time.Second, one, "[active]", 0, false},
		{"ten years ahead", 876 * span, two, "[expired expired]", None, true},
		{"an imported long one keeps signing", 7 * span, []Generation{foreign}, "[active]", 0, false},
		{"until it has two spans left", 8 * span, []Generation{foreign}, "[active]", 0, true},
		{"two that nobody had to meet: the older", span / 4, []Generation{made(0, spans), made(span/8, spans)}, "[active passive]", 0, false},
	}
	runTests(t, tests)
}

type decision struct {
	name   string
	at     time.Duration // after t0
	list   []Generation
	phases string
	signer int
	create bool
}

func runTests(t *testing.T, tests []decision) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Decide(t0.Add(tt.at), spans, tt.list)
			if got := fmt.Sprint(p.Phases); got != tt.phases {
				t.Errorf("phases %v, want %v", got, tt.phases)
			}
			if p.Signer != tt.signer || p.Create != tt.create {
				t.Errorf("signer %d, create %v; want %d, %v", p.Signer, p.Create, tt.signer, tt.create)
			}
		})
	}
}

// early is a generation that an operator has started out of turn.
func early(offset time.Duration, a Activation, at time.Duration) Generation {
	g := made(offset, spans)
	g.Activation = a
	if a != ByAge {
		g.ActivatedAt = t0.Add(at)
	}
	return g
}

// What an operator starts out of turn becomes active when that was decided, and from then on everything
// goes on by the usual rule.
func TestDecideOutOfTurn(t *testing.T) {
	first := made(0, spans)
	usual := []Generation{first, early(span, ByAge, 0)}
	now := []Generation{first, early(span, Activated, span)}
	adopted := []Generation{first, early(span, WhenAdopted, span+span/2)}
	slow := []Generation{first, early(span, WhenAdopted, 9*span)}
	passive := []Generation{first, made(2*span, spans), early(2*span+span/4, Activated, 2*span+span/4)}
	waiting := []Generation{first, made(2*span, spans), early(2*span+span/4, WhenAdopted, 2*span+span/2)}
	runTests(t, []decision{
		{"as usual it is passive for a span", 2 * span, usual, "[active passive]", 0, false},
		{"and then signs", 2*span + time.Second, usual, "[retired active]", 1, false},
		{"the old one's successor is not due: it is there", 3 * span, usual, "[retired active]", 1, true},
		{"at once, the moment it was made", span, now, "[retired active]", 1, false},
		{"by a clock a little behind", span - 30*time.Second, now, "[retired active]", 1, false},
		{"by a clock before its validity", span - 2*time.Minute, now, "[active not yet valid]", 0, false},
		{"its own successor is not due", 3*span - time.Second, now, "[retired active]", 1, false},
		{"until it has two spans left", 3 * span, now, "[retired active]", 1, true},
		{"the old one expires beside it", 4*span + time.Second, now, "[expired active]", 1, true},
		{"it expires, too", 5*span + time.Second, now, "[expired expired]", None, true},
		{"adopted by some, the moment it was made", span, adopted, "[active passive]", 0, false},
		{"a moment before the deadline", span + span/2 - time.Nanosecond, adopted, "[active passive]", 0, false},
		{"at the deadline", span + span/2, adopted, "[retired active]", 1, false},
		{"a deadline never makes it later than usual", 2 * span, slow, "[active passive]", 0, false},
		{"but as usual", 2*span + time.Second, slow, "[retired active]", 1, false},
		{"beside one that is passive the newest is active", 2*span + span/4, passive, "[retired retired active]", 2, false},
		{"and that which was passive never", 3*span + time.Second, passive, "[retired retired active]", 2, false},
		{"beside one that is passive another one waits", 2*span + span/4, waiting, "[active passive passive]", 0, false},
		{"and comes first", 2*span + span/2, waiting, "[retired retired active]", 2, false},
		{"the only one there is, and it waits: it signs", span, adopted[1:], "[active]", 0, false},
	})
}

// Decided by record, whatever it was that was waited for: of two daemons that look at the same rows, none goes on with the one before.
func TestActiveAtOfWhatWasDecided(t *testing.T) {
	g := early(span, Activated, span+time.Hour)
	if at := ActiveAt(spans, g); !at.Equal(g.NotBefore) {
		t.Errorf("active at %v, want %v", at, g.NotBefore)
	}
	if from := ActiveFrom(spans, g); !from.Equal(g.ActivatedAt) {
		t.Errorf("shown as active from %v, want %v", from, g.ActivatedAt)
	}
	g.Activation, g.ActivatedAt = WhenAdopted, time.Time{} // without a deadline
	if at := ActiveFrom(spans, g); !at.Equal(g.CreatedAt.Add(span + time.Microsecond)) {
		t.Errorf("active at %v without a deadline", at)
	}
}

// From any start, following the plan for a century: there is always a signer, whatever it signed
// last is covered by it, and no generation signs that holders had less than a span to meet.
func TestFollowingThePlan(t *testing.T) {
	for _, s := range []Spans{{span, 3}, {span, 4}, {span, 40}, {93 * 24 * time.Hour, 4}, {3 * time.Second, 3}, {31968 * time.Second, 5}} {
		t.Run(fmt.Sprintf("%v life %d", s.Leaf, s.Life), func(t *testing.T) {
			now := t0
			var list []Generation
			for step := 0; step < 2000 && now.Year() < 2200; step++ {
				p := Decide(now, s, list)
				if p.Create {
					list = append(list, made(now.Sub(t0), s))
					p = Decide(now, s, list)
				}
				if p.Create {
					t.Fatalf("step %d: a new one is due right after it was made", step)
				}
				if p.Signer == None {
					t.Fatalf("step %d: no signer at %v", step, now)
				}
				signer := list[p.Signer]
				if now.Add(s.Leaf).After(signer.NotAfter.Add(time.Second)) {
					t.Fatalf("step %d: the signer has %v left, less than a span", step, signer.NotAfter.Sub(now))
				}
				if age := now.Sub(signer.CreatedAt); len(list) > 1 && age <= s.Leaf && p.Signer != 0 {
					t.Fatalf("step %d: a signer of age %v, although there was another", step, age)
				}
				if !p.Next.After(now) {
					t.Fatalf("step %d: next change at %v, not after %v", step, p.Next, now)
				}
				now = p.Next
			}
		})
	}
}

// The same with an operator who starts generations out of turn, every so often and in each way: there is always a signer, which covers whatever
// it signs, nobody signs who was superseded, and nothing that nobody decided upon signs before its time.
func TestFollowingThePlanOutOfTurn(t *testing.T) {
	for _, life := range []int{3, 4, 40} {
		s := Spans{span, life}
		for _, every := range []time.Duration{span / 7, span / 2, 13 * span / 10, 29 * span / 10} {
			for _, way := range []Activation{ByAge, Activated, WhenAdopted} {
				t.Run(fmt.Sprintf("life %d, every %v, %q", life, every, way), func(t *testing.T) {
					now, last := t0, None
					var list []Generation
					next := t0.Add(every)
					for step := 0; step < 200; step++ {
						if p := Decide(now, s, list); p.Create {
							list = append(list, made(now.Sub(t0), s))
						}
						if !now.Before(next) {
							g := made(now.Sub(t0), s)
							g.Activation = way
							if way != ByAge {
								g.ActivatedAt = now
							}
							if way == WhenAdopted {
								g.ActivatedAt = now.Add(span / 3)
							}
							list = append(list, g)
							next = now.Add(every)
						}
						p := Decide(now, s, list)
						if p.Create || p.Signer == None {
							t.Fatalf("step %d: create %v, signer %d", step, p.Create, p.Signer)
						}
						signer := list[p.Signer]
						if p.Signer < last {
							t.Fatalf("step %d: generation %d signs after %d", step, p.Signer, last)
						}
						last = p.Signer
						if now.Add(s.Leaf).After(signer.NotAfter.Add(time.Second)) {
							t.Fatalf("step %d: the signer has %v left", step, signer.NotAfter.Sub(now))
						}
						if age := now.Sub(signer.CreatedAt); signer.Activation == ByAge && age <= s.Leaf && p.Signer != 0 {
							t.Fatalf("step %d: a signer of age %v that nobody decided upon", step, age)
						}
						if !p.Next.After(now) {
							t.Fatalf("step %d: next change at %v, not after %v", step, p.Next, now)
						}
						if now = p.Next; next.Before(now) {
							now = next
						}
					}
				})
			}
		}
	}
}

// Between now and Next nothing changes: that is what loops rely on when they sleep.
func TestNextIsTheNextChange(t *testing.T) {
	list := []Generation{made(0, spans), early(span, WhenAdopted, span+span/3), made(2*span, spans), early(2*span+span/4, Activated, 2*span+span/3)}
	for at := -span; at < 8*span; at += 7 * time.Minute {
		now := t0.Add(at)
		p := Decide(now, spans, list)
		if p.Next.IsZero() {
			continue
		}
		last := p.Next.Add(-time.Nanosecond)
		if q := Decide(last, spans, list); fmt.Sprint(q.Phases, q.Signer, q.Create) != fmt.Sprint(p.Phases, p.Signer, p.Create) {
			t.Fatalf("between %v and %v the plan changes from %+v to %+v", now, p.Next, p, q)
		}
	}
}

func TestSpansCheck(t *testing.T) {
	tests := []struct {
		name string
		s    Spans
		ok   bool
	}{
		{"defaults", Spans{93 * 24 * time.Hour, 4}, true},
		{"HTTPS", Spans{93 * 24 * time.Hour, 40}, true},
		{"seconds", Spans{3 * time.Second, 3}, true},
		{"less than a second", Spans{time.Second - 1, 4}, false},
		{"negative", Spans{-time.Hour, 4}, false},
		{"too short a life", Spans{time.Hour, 2}, false},
		{"more than a century", Spans{30 * 365 * 24 * time.Hour, 4}, false},
	}
	for _, tt := range tests {
		if err := tt.s.Check(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
