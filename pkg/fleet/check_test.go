package fleet

import (
	"crypto/x509"
	"slices"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// The budgets, which the package's documentation derives.

// crlLife is how long a revocation list lives.
func (s *sim) crlLife() time.Duration { return s.spansOf(0.33) }

// quiet is how long an agent can be away without anybody noticing anything.
func (s *sim) quiet() time.Duration { return s.crlLife() / 2 }

// renews is how long before its expiry a certificate is renewed.
func (s *sim) renews() time.Duration { return s.spans.Leaf / 3 }

// follows is how long an agent can be away and still find the way to new CA certificates.
func (s *sim) follows() time.Duration { return 2 * s.spans.Leaf }

// renewable is how long an agent can be away and still renew this certificate. It is less
// than usual when the daemon was down for so long that certificates are cut short by the end of their CA.
func (o *oracle) renewable(l *leaf) time.Duration {
	return min(o.sim.renews(), o.sim.spans.Leaf-l.issuer.late(o))
}

// pins are the fingerprints of an authority's valid CA certificates, as an operator would read them out.
func (o *oracle) pins(of store.AuthorityName) []client.Pin {
	o.learn(of)
	var pins []client.Pin
	for _, i := range o.cas[of] {
		if pki.CheckValidity(i.crt, o.sim.now()) == nil {
			pins = append(pins, client.PinOf(i.anchor))
		}
	}
	return pins
}

// agents are those of an authority.
func (s *sim) agents(of store.AuthorityName) []*agent {
	var all []*agent
	for _, h := range s.hosts {
		if h.of == of {
			all = append(all, h)
		}
	}
	for _, a := range s.admins {
		all = append(all, a.readerOf(of))
	}
	return all
}

// circles are the agents that meet each other: those of one authority, or of one root.
func (s *sim) circles() [][]*agent {
	circles := [][]*agent{s.agents(store.Users), s.agents(store.Services)}
	if s.family {
		circles = append(circles, append(s.agents(children[0]), s.agents(children[1])...))
	}
	if s.offline {
		circles = append(circles, s.agents(offlineChild))
	}
	return circles
}

// sees reports whether an agent has to verify the certificate of another.
func (a *agent) sees(other *agent) bool { return a.of == other.of || a.rootsOnly && other.below }

// check holds an agent that has just refreshed against all others.
func (o *oracle) check(a *agent) {
	for _, circle := range o.sim.circles() {
		for _, other := range circle {
			if a.sees(other) {
				o.meet(a, other)
			}
			if other != a && other.sees(a) {
				o.meet(other, a)
			}
		}
	}
	o.checkRevoked(a)
}

// checkAll holds everybody against everybody.
func (o *oracle) checkAll() {
	now := o.sim.now()
	o.checkRevokedCAs()
	o.revoked = slices.DeleteFunc(o.revoked, func(l *leaf) bool { return pki.CheckValidity(l.crt, now) != nil })
	for _, agents := range o.sim.circles() {
		for _, a := range agents {
			for _, other := range agents {
				if a.sees(other) {
					o.meet(a, other)
				}
			}
			o.checkRevoked(a)
		}
		o.sample(agents)
	}
}

// meet has a verify the certificate of another, which it must accept within the budgets of both.
func (o *oracle) meet(a, other *agent) {
	l, now := other.crt, o.sim.now()
	if l == nil || l.revoked != 0 || l.issuer.revokedAt(now) || a.seen.IsZero() {
		return
	}
	o.sim.stats.meetings++
	if now.Unix() > l.crt.NotAfter.Unix() {
		if other.away() < o.renewable(l) {
			o.sim.violated(keepsTrust, "the certificate of %s, away for %v, has expired", other.name, other.away())
		}
		return
	}
	if now.Unix() > l.issuer.crt.NotAfter.Unix() {
		o.sim.violated(withinIssuer, "the certificate of %s is valid, its issuer has expired", other.name)
	}
	if a.rootsOnly {
		o.meetByRoots(a, other)
	}
	if a.of != other.of {
		return // of other authorities, it has no lists
	}
	// Hosts met the CA that signs now, passive, at least a span ago.
	uncounted := !l.issuer.active.IsZero() && !a.counts(l.issuer.active)
	if (a.away() < o.met(l.issuer) || !a.seen.Before(l.issuer.created)) && !a.trusts[l.issuer] && !uncounted {
		o.sim.violated(peersAccept, "%s, away for %v, does not know generation %d, which signed for %s on %s",
			a.name, a.away(), l.issuer.index, other.name, l.issued.Format(time.RFC3339))
	}
	if a.away() >= o.sim.quiet() {
		return
	}
	switch crls := a.lists[l.issuer]; {
	case crls == nil:
		o.sim.violated(peersAccept, "%s has no list of generation %d, which signed for %s", a.name, l.issuer.index, other.name)
	case now.After(crls.crl.NextUpdate):
		o.sim.violated(peersAccept, "%s, away for %v, has an expired list of generation %d", a.name, a.away(), l.issuer.index)
	case crls.serials[l.serial]:
		o.sim.violated(peersAccept, "%s finds %s on a list, and nobody revoked it", a.name, other.name)
	}
}

// checkRevoked makes sure that an agent refuses all that was revoked before it refreshed.
func (o *oracle) checkRevoked(a *agent) {
	for _, l := range o.revoked {
		if l.issuer.of != a.of || a.step < l.revoked || !a.trusts[l.issuer] || o.sim.now().After(l.crt.NotAfter) {
			continue
		}
		if crls := a.lists[l.issuer]; crls == nil || !crls.serials[l.serial] {
			o.sim.violated(revokedIsOut, "%s does not refuse certificate %s", a.name, l.crt.SerialNumber)
		}
	}
}

// sample makes sure, for a few, that verifiers which know nothing of oracles agree: our own, and
// the standard library's.
func (o *oracle) sample(agents []*agent) {
	for range 3 {
		a, other := agents[o.rand.IntN(len(agents))], agents[o.rand.IntN(len(agents))]
		if other.crt == nil || other.crt.issuer.revokedAt(o.sim.now()) || a.seen.IsZero() || !a.sees(other) {
			continue
		}
		if a.rootsOnly {
			o.sampleByRoots(a, other)
		}
		if a.of != other.of {
			continue
		}
		now, crt := o.sim.now(), other.crt.crt
		roots := x509.NewCertPool()
		for _, ca := range a.cas {
			roots.AddCert(ca)
		}
		_, ours := pki.VerifyIssued(crt, a.cas, now)
		_, theirs := crt.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		valid := a.trusts[other.crt.issuer] && pki.CheckValidity(crt, now) == nil
		if (ours == nil) != valid || (theirs == nil) != valid {
			o.sim.violated(peersAccept, "%s on the certificate of %s: should be valid: %v; ours: %v; standard library: %v",
				a.name, other.name, valid, ours, theirs)
		}
	}
}
