package fleet

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// Another seed, another history: go test ./pkg/fleet -fleet.seed 7. A seed always gives the same.
var seedFlag = flag.Uint64("fleet.seed", 1, "seed of the fleet simulation, 0 for a random one")

// The default gives ten generations in twenty years; 186, twenty, in twice the time, and 93, cauased's own, forty.
var spanFlag = flag.Float64("fleet.span", 372, "days that certificates of the fleet simulation live")

// quick reports whether short histories will do. A simulation goes step by step, so that the race detector, with which
// it takes three times as long, finds in the first years what it can find; make test has the whole of them without it.
func quick() bool { return testing.Short() || underRace }

func seed(t *testing.T) uint64 {
	t.Helper()
	n := *seedFlag
	if n == 0 {
		n = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to see it again: go test ./pkg/fleet -run '^%s$' -fleet.seed %d", t.Name(), n)
		}
	})
	return n
}

// TestTwentyYears has a fleet live for twenty years, with all that happens in them.
func TestTwentyYears(t *testing.T) {
	t.Parallel()
	p := plan{seed: seed(t), hosts: 100, years: 20, spans: rollover.Spans{Leaf: time.Duration(*spanFlag * float64(day)), Life: 4}}
	if quick() {
		p.hosts, p.years = 30, 4
	}
	s, err := newSim(t.Context(), t.TempDir(), p)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.run(); err != nil {
		t.Error(err)
	}
	t.Logf("generations: %d; %+v", len(s.oracle.cas[store.Services]), s.stats)
	// What has not happened has not been tested.
	if spans := p.years * float64(year) / float64(p.spans.Leaf); len(s.oracle.cas[store.Services]) < int(spans)/2 {
		t.Errorf("only %d generations in %.1f spans", len(s.oracle.cas[store.Services]), spans)
	}
	for name, n := range map[string]int{
		"losses": s.stats.lost, "daemon outages": s.stats.daemonOutages, "restarts": s.stats.restarts, "crashes": s.stats.crashes,
		"renewals": s.stats.renewals, "revocations": s.stats.revocations, "users locked out": s.stats.lockedOut,
		"certificates expired": s.stats.expired, "CA certificates found after more than a span": s.stats.followed,
		"hosts anchored anew": s.stats.reanchored,
	} {
		if n == 0 && !t.Failed() && !quick() {
			t.Errorf("no %s in this history", name)
		}
	}
}

// familySpan is short enough for a root to roll over within ten years, and long enough for those to pass quickly.
const familySpan = 186 * day

// TestTenYearsBelowARoot has hosts of two authorities below a root, which rolls over, beside those of one
// that signs itself. Most of the former trust the root alone.
func TestTenYearsBelowARoot(t *testing.T) {
	t.Parallel()
	p := plan{seed: seed(t), hosts: 24, years: 10, spans: rollover.Spans{Leaf: familySpan, Life: 4}, family: true}
	if quick() {
		p.hosts, p.years = 8, 4
	}
	s, err := newSim(t.Context(), t.TempDir(), p)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.run(); err != nil {
		t.Error(err)
	}
	roots := s.oracle.cas[rootName]
	t.Logf("roots: %d; generations: %d, %d, %d; %+v", len(roots),
		len(s.oracle.cas[children[0]]), len(s.oracle.cas[children[1]]), len(s.oracle.cas[store.Services]), s.stats)
	below := map[*issuer]int{}
	for _, name := range children {
		for _, i := range s.oracle.cas[name] {
			below[i.parent]++
		}
	}
	if quick() {
		return // before the second root comes to sign
	}
	if len(roots) != 2 || below[roots[0]] < 8 || below[roots[1]] < 2 {
		t.Errorf("%d roots, with so many below them: %v", len(roots), below)
	}
	if s.stats.byRoots == 0 || s.stats.restarts == 0 || s.stats.revocations == 0 || s.stats.followed == 0 {
		t.Error("what has not happened has not been tested")
	}
}

// TestARevokedCA has the CA that signs be revoked, while its successor is known and waits. All hosts get
// certificates from that one, without an operator.
func TestARevokedCA(t *testing.T) {
	t.Parallel()
	s, err := newSim(t.Context(), t.TempDir(), plan{
		seed: seed(t), hosts: 9, years: 4, spans: rollover.Spans{Leaf: familySpan, Life: 4}, family: true, calm: true,
		arrange: revokeActive(children[0], 2.5),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.run(); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", s.stats)
	if s.stats.revokedCAs != 1 || s.stats.reanchored > 0 {
		t.Errorf("%d CAs were revoked, %d hosts anchored anew", s.stats.revokedCAs, s.stats.reanchored)
	}
	for _, h := range s.hosts {
		if h.crt == nil || h.crt.issuer.revokedAt(s.now()) || pki.CheckValidity(h.crt.crt, s.now()) != nil {
			t.Errorf("%s has no certificate that counts", h.name)
		}
	}
}

// TestTwelveYearsBelowAnOfflineRoot has the key of a root be kept offline, and people carry requests and
// answers: in time, several ahead, late, and when it is too late.
func TestTwelveYearsBelowAnOfflineRoot(t *testing.T) {
	t.Parallel()
	p := plan{seed: seed(t), hosts: 12, years: 12, spans: rollover.Spans{Leaf: familySpan, Life: 4}, offline: true, agenda: visits()}
	if quick() {
		p.hosts, p.years = 6, 4
	}
	s, err := newSim(t.Context(), t.TempDir(), p)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.run(); err != nil {
		t.Error(err)
	}
	t.Logf("generations: %d; %+v", len(s.oracle.cas[offlineChild]), s.stats)
	if quick() {
		return // before operators have come in all ways
	}
	for _, v := range visits()[:4] {
		if s.stats.visits[v.kind] == 0 {
			t.Errorf("no operator came %s", v.kind)
		}
	}
	if s.stats.stalled == 0 || s.stats.refused == 0 || s.stats.roots == 0 || s.stats.byRoots == 0 {
		t.Error("what has not happened has not been tested")
	}
}

// TestHostsAway has all hosts be away at once, and come back as the package's documentation says.
// An absence counts from the last update, up to a twelfth of a span earlier than here.
func TestHostsAway(t *testing.T) {
	t.Parallel()
	const hosts = 10
	for _, tt := range []struct {
		spans               float64
		expired, reanchored bool
	}{
		{0.24, false, false},
		{1.01, true, false},
		{1.91, true, false},
		{4.01, true, true},
	} {
		t.Run(fmt.Sprint(tt.spans), func(t *testing.T) {
			if quick() && tt.spans < 4 {
				t.Skip("the longest will do")
			}
			n := seed(t)
			s, err := newSim(t.Context(), t.TempDir(), plan{
				seed: n, hosts: hosts, years: 3, spans: defaultSpans(), calm: true, arrange: allAway(5+float64(n%7)/4, tt.spans),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", s.stats)
			check := func(what string, n int, all bool) {
				// The last host comes later.
				if all && n < hosts-1 || !all && n > 0 {
					t.Errorf("%s: %d", what, n)
				}
			}
			check("certificates that have expired", s.stats.expired, tt.expired)
			check("hosts that were anchored anew", s.stats.reanchored, tt.reanchored)
		})
	}
}

// TestDaemonAway has the daemon be down for longer than certificates live, and CAs.
func TestDaemonAway(t *testing.T) {
	t.Parallel()
	for _, spans := range []float64{0.9, 2.5, 3.5, 5} {
		t.Run(fmt.Sprint(spans), func(t *testing.T) {
			if quick() && spans != 2.5 {
				t.Skip("one will do")
			}
			s, err := newSim(t.Context(), t.TempDir(), plan{
				seed: seed(t), hosts: 10, years: 3, spans: defaultSpans(), calm: true,
				arrange: func(s *sim) { s.after(s.between(4, 6), func() { s.stopDaemon(s.spansOf(spans)) }) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", s.stats)
			for _, h := range s.hosts {
				if h.away() > s.quiet() || h.crt == nil || pki.CheckValidity(h.crt.crt, s.now()) != nil {
					t.Errorf("%s has not come back", h.name)
				}
			}
			if s.stats.expired == 0 {
				t.Error("no certificate has expired")
			}
			if all := s.stats.reanchored >= len(s.hosts)*9/10; all && spans < 2 || !all && spans > 4 {
				t.Errorf("%d hosts were anchored anew", s.stats.reanchored)
			}
		})
	}
}

// TestMutations gives the fleet wrong rules. It has to notice.
func TestMutations(t *testing.T) {
	t.Parallel()
	if underRace {
		t.Skip("whether somebody notices does not depend on the race detector")
	}
	tests := []struct {
		name   string
		mutate func(*plan)
		expect invariant
	}{
		{"a CA signs at once, and peers do not know it", func(p *plan) { p.decide = signAtOnce }, peersAccept},
		{"a CA signs at once, against the rule", func(p *plan) { p.decide = signAtOnce }, activeSigns},
		{"a CA signs for as long as it is valid", func(p *plan) { p.decide = signToTheEnd }, keepsTrust},
		{"a successor is made a span too late", func(p *plan) { p.decide = succeedLate }, inTime},
		{"a successor is made a span too late, for those who leave", func(p *plan) { p.decide, p.arrange = succeedLate, allAway(2.9, 1.9) }, keepsTrust},
		{"a successor is made a span too early", func(p *plan) { p.decide = succeedEarly }, inTime},
		{"a restart brings back an old database", func(p *plan) { p.forget = true }, numbersGrow},
		{"the newest link is missing", func(p *plan) { p.tamper = dropLink }, keepsTrust},
		{"the root signs for as long as it is valid", func(p *plan) { p.family, p.decideRoot = true, signToTheEnd }, withinIssuer},
		{"a root signs at once", func(p *plan) { p.family, p.decideRoot = true, signAtOnce }, activeSigns},
		{"a root is succeeded late", func(p *plan) { p.family, p.decideRoot = true, succeedLate }, inTime},
		{"the chain is not served", func(p *plan) { p.family, p.tamper = true, dropChain }, keepsTrust},
		{"the newest root is not announced", func(p *plan) { p.family, p.tamper = true, dropRoot }, peersAccept},
		{"what waits for hosts signs at once", func(p *plan) {
			p.decide, p.arrange = adoptAtOnce, rotateEarly(store.Services, 0.7, store.WhenAdopted)
		}, activeSigns},
		{"what all hosts have does not sign", func(p *plan) {
			p.decide, p.arrange = adoptNever, rotateEarly(store.Services, 0.7, store.WhenAdopted)
		}, activeSigns},
		{"a restart brings back a revoked CA", func(p *plan) {
			p.family, p.calm = true, true
			p.arrange = bringBackRevoked(children[0], 2.5)
		}, revokedIsOut},
		{"a sign-off that is installed is not used", func(p *plan) { p.offline, p.misread = true, hideInstalled }, signoffsUsed},
		{"a sign-off is asked for again while one is waiting", func(p *plan) { p.offline, p.misread = true, hideWaiting }, asksOnce},
		{"a CA certificate outlives the offline root", func(p *plan) { p.offline, p.forge.answer, p.forge.install = true, outliveRoot, installUnseen }, withinIssuer},
		{"a sign-off is used before its time", func(p *plan) { p.offline, p.forge.request, p.decideOffline = true, askFromNow, succeedEarly }, inTime},
		{"what was signed off signs at once", func(p *plan) { p.offline, p.decideOffline = true, signAtOnce }, activeSigns},
		{"an answer that nobody has signed off", func(p *plan) { p.offline, p.forge.answer, p.forge.install = true, signBySomebody, installUnseen }, activeSigns},
		{"lists are served from a cache", func(p *plan) { p.tamper = cacheLists(defaultSpans().Leaf / 10) }, revokedIsOut},
		{"lists are served from a cache for long", func(p *plan) { p.tamper = cacheLists(defaultSpans().Leaf / 5) }, listsFresh},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := plan{seed: seed(t), hosts: 30, years: 4, spans: defaultSpans(), expect: tt.expect}
			tt.mutate(&p)
			if p.family {
				p.hosts, p.years, p.spans.Leaf, p.calm = 5, 10, familySpan, true
			}
			if p.offline {
				p.hosts, p.calm, p.agenda = 4, true, []visit{{after: 0.1, upTo: 0.2, ahead: 1}, {after: 0.1, upTo: 0.2, ahead: 2}}
			}
			s, err := newSim(t.Context(), t.TempDir(), p)
			if err != nil {
				t.Fatal(err)
			}
			err = s.run()
			t.Logf("after %v spans: %v", s.now().Sub(s.start).Hours()/p.spans.Leaf.Hours(), err)
			if len(s.violations) == 0 {
				t.Error("nobody noticed")
			}
		})
	}
}
