package policy

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An Engine decides by a set of rules that can be replaced, and counts how often each approves. It is safe for concurrent use.
type Engine struct {
	force atomic.Pointer[force]
	tallies
}

// A force is what counts at one moment.
type force struct {
	rules  *Set
	beside any
}

// NewEngine makes one of rules; nil: there are none.
func NewEngine(s *Set) *Engine {
	e := &Engine{}
	e.Replace(s)
	return e
}

// Replace has rules take the place of those before, all at once. What a rule that stays the same has approved goes on counting.
func (e *Engine) Replace(s *Set) { e.ReplaceWith(s, e.Beside()) }

// ReplaceWith is Replace for rules and what decides beside them, such as hooks. At no moment do the ones count with the others of before; what
// was decided by either is out of date then.
func (e *Engine) ReplaceWith(s *Set, beside any) {
	if s == nil {
		s = &Set{}
	}
	e.force.Store(&force{s, beside})
	e.tallies.keep(s)
}

// Set returns the rules that count now.
func (e *Engine) Set() *Set { return e.force.Load().rules }

// Beside returns what decides beside the rules that count now; nil: nothing.
func (e *Engine) Beside() any {
	if f := e.force.Load(); f != nil {
		return f.beside
	}
	return nil
}

// Decide says what becomes of a request, and counts it if it is approved: Uncount of the verdict takes that back.
func (e *Engine) Decide(_ context.Context, c Case) (Verdict, error) {
	f := e.force.Load()
	s := f.rules
	v := Verdict{Decision: Hold}
	if r := s.judge(&c, nil); r != nil {
		v = r.verdict()
		if r.decision == Approve && (r.rate.Count > 0 || r.askerRate.Count > 0) {
			if full := e.tallies.take(r, &c); full != "" {
				v.Decision, v.Reason = Hold, full
			} else {
				v.Uncount = sync.OnceFunc(func() { e.tallies.giveBack(r, &c) })
			}
		}
	}
	v.Current = func() bool { return e.force.Load() == f }
	return v, nil
}

// maxAskers is how many askers of a rule are remembered at once; while there are more, the next one waits for a user.
const maxAskers = 10_000

// tallies are when rules have approved, by their digests, so that a rule that is changed begins anew.
type tallies struct {
	mu     sync.Mutex
	byRule map[string]*ruleTally
}

type ruleTally struct {
	all    []time.Time
	askers map[string][]time.Time
}

// keep forgets rules that are gone.
func (t *tallies) keep(s *Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for digest := range t.byRule {
		if !slices.ContainsFunc(s.rules, func(r *rule) bool { return string(r.digest) == digest }) {
			delete(t.byRule, digest)
		}
	}
}

// take counts an approval, or says why there is none.
func (t *tallies) take(r *rule, c *Case) (full string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byRule == nil {
		t.byRule = map[string]*ruleTally{}
	}
	of := t.byRule[string(r.digest)]
	if of == nil {
		of = &ruleTally{askers: map[string][]time.Time{}}
		t.byRule[string(r.digest)] = of
	}
	if r.rate.Count > 0 {
		if of.all = recent(of.all, c.Time, r.rate.In); len(of.all) >= r.rate.Count {
			return fmt.Sprintf("the rule approves %s, which is used up", r.rate)
		}
	}
	if r.askerRate.Count > 0 {
		who := c.Asker.who()
		list := recent(of.askers[who], c.Time, r.askerRate.In)
		switch {
		case len(list) >= r.askerRate.Count:
			of.askers[who] = list
			return fmt.Sprintf("the rule approves %s of one asker, which is used up", r.askerRate)
		case len(list) == 0 && len(of.askers) >= maxAskers && !of.forget(c.Time, r.askerRate.In):
			return "too many have asked for the rule to tell how often each has"
		}
		of.askers[who] = append(list, c.Time)
	}
	if r.rate.Count > 0 {
		of.all = append(of.all, c.Time)
	}
	return ""
}

// giveBack takes one back that was counted.
func (t *tallies) giveBack(r *rule, c *Case) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.byRule[string(r.digest)]
	if of == nil {
		return
	}
	without := func(times []time.Time) []time.Time {
		if i := slices.IndexFunc(times, c.Time.Equal); i >= 0 {
			return slices.Delete(times, i, i+1)
		}
		return times
	}
	of.all = without(of.all)
	who := c.Asker.who()
	if list := without(of.askers[who]); len(list) > 0 {
		of.askers[who] = list
	} else {
		delete(of.askers, who)
	}
}

// forget drops askers that have got nothing lately, and reports whether there is room then.
func (t *ruleTally) forget(now time.Time, in time.Duration) bool {
	for who, list := range t.askers {
		if len(recent(list, now, in)) == 0 {
			delete(t.askers, who)
		}
	}
	return len(t.askers) < maxAskers
}

// recent returns the times that are less than a span before now, or after: a clock that was set back gives nothing away.
func recent(times []time.Time, now time.Time, in time.Duration) []time.Time {
	return slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) >= in || t.Sub(now) >= in })
}

// who tells askers apart: by what is hardest to have two of.
func (a *Asker) who() string {
	switch {
	case a.SSH != nil:
		return "ssh " + a.SSH.Fingerprint
	case a.Certificate != nil && a.Certificate.Lineage != "":
		return "lineage " + a.Certificate.Authority + " " + a.Certificate.Lineage
	case a.Certificate != nil:
		return "certificate " + a.Certificate.Authority + " " + a.Certificate.Serial
	case a.Client != "" && a.FrontEnd != "signing": // whose id is anybody's to choose
		return "client " + a.FrontEnd + " " + base64.StdEncoding.EncodeToString([]byte(a.Client))
	}
	return "address " + network(a.Address)
}

// network is the address, or the network of one of IPv6: whoever has one address there has all.
func network(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		prefix, _ := addr.Prefix(64)
		return prefix.String()
	}
	return addr.String()
}
