package fleet

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// rotateEarly has an operator start generations out of turn, every so often, in each of some ways in turn.
func rotateEarly(of store.AuthorityName, spans float64, ways ...store.Activation) func(*sim) {
	return func(s *sim) {
		n := 0
		s.sometimes(s.spansOf(spans), func() {
			if s.daemon.down() {
				return
			}
			how := ca.Rotation{Begin: ways[n%len(ways)]}
			n++
			id, err := s.daemon.authority(of).Rotate(s.ctx, audit.Actor{Kind: audit.Operator}, how)
			switch {
			case errors.Is(err, ca.ErrConflict): // one waits
			case err != nil:
				s.violated(exchangesWork, "a CA certificate of %s out of turn: %v", of, err)
			default:
				s.stats.rotations++
				s.oracle.early[string(id)] = how
				s.oracle.learn(of)
			}
		})
	}
}

// decided reports whether a CA that waits for hosts to have it signs, as the daemon has recorded. That is to be so only once all hosts that go on
// with a valid certificate have it.
func (o *oracle) decided(i *issuer) bool {
	if !i.waits || !i.active.IsZero() {
		return i.waits
	}
	err := o.sim.daemon.db.View(o.sim.ctx, func(r store.Reader) error {
		rows, err := r.CAs(o.sim.ctx, i.of)
		for _, row := range rows {
			if bytes.Equal(row.KeyID, i.crt.SubjectKeyId) && row.Activation == store.AtOnce {
				i.active = row.ActivatedAt
			}
		}
		return err
	})
	if err != nil || i.active.IsZero() {
		return false
	}
	if i.active.Sub(i.created) > o.span(i.of) {
		return true // it was time
	}
	o.sim.stats.adoptions++
	for _, h := range o.sim.hosts {
		if h.of == i.of && h.counts(i.active) && !h.trusts[i] {
			o.sim.violated(peersAccept, "generation %d of %s signs since %s, and %s does not have it", i.index, i.of, i.active.Format(time.RFC3339), h.name)
		}
	}
	return true
}

// counts reports whether hosts are waited for at a time, this one among them: it has a certificate that is valid then. Of who has none
// the daemon does not know whether it is there still.
func (a *agent) counts(at time.Time) bool {
	return a.crt != nil && a.crt.revoked == 0 && pki.CheckValidity(a.crt.crt, at) == nil
}

// TestRotations has an operator start generations out of turn for years, beside all that happens.
func TestRotations(t *testing.T) {
	t.Parallel()
	p := plan{
		seed: seed(t), hosts: 20, years: 8, spans: rollover.Spans{Leaf: 186 * day, Life: 4},
		arrange: rotateEarly(store.Services, 1.3, store.WhenAdopted, store.ByAge, store.WhenAdopted),
	}
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
	t.Logf("generations: %d; %+v", len(s.oracle.cas[store.Services]), s.stats)
	if s.stats.rotations < 3 || s.stats.confirmed == 0 || s.stats.adoptions == 0 && !quick() {
		t.Error("what has not happened has not been tested")
	}
}

// adoptAtOnce has what waits for hosts sign without them.
func adoptAtOnce(now time.Time, spans rollover.Spans, generations []rollover.Generation) rollover.Plan {
	return rollover.Decide(now, spans, activated(generations, func(g rollover.Generation) rollover.Generation {
		if g.Activation == rollover.WhenAdopted {
			g.Activation = rollover.Activated
		}
		return g
	}))
}

// adoptNever goes by age alone.
func adoptNever(now time.Time, spans rollover.Spans, generations []rollover.Generation) rollover.Plan {
	return rollover.Decide(now, spans, activated(generations, func(g rollover.Generation) rollover.Generation {
		g.Activation, g.ActivatedAt = rollover.ByAge, time.Time{}
		return g
	}))
}

func activated(generations []rollover.Generation, as func(rollover.Generation) rollover.Generation) []rollover.Generation {
	changed := make([]rollover.Generation, len(generations))
	for i, g := range generations {
		changed[i] = as(g)
	}
	return changed
}
