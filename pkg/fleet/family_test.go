package fleet

import (
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/server/caucase"
	"cauase/pkg/store"
)

// A family is a root, and the authorities of hosts below it.
const rootName store.AuthorityName = "home-root"

var children = []store.AuthorityName{"lab", "shop"}

// rootSpans have a root sign for seven and a half years of its ten: there is one rollover in ten years.
// A span of it is longer than a CA certificate below it lives.
var rootSpans = rollover.Spans{Leaf: 5 * year / 2, Life: 4}

// row returns the row of an authority.
func (d *daemon) row(name store.AuthorityName) store.Authority {
	row := catest.Row(name)
	row.Span, row.Life = d.sim.spans.Leaf, d.sim.spans.Life
	row.MaxPending = 2*d.sim.plan.hosts + 50
	switch name {
	case rootName:
		row.Role, row.Title, row.Span, row.Life = store.RoleRoot, "Home Root", rootSpans.Leaf, rootSpans.Life
	case offlineChild:
		row.Title, row.Parent = "Hosts of "+string(name), offlineRoot
	case children[0], children[1]:
		row.Title, row.Parent = "Hosts of "+string(name), rootName
	}
	return row
}

// Authority finds a parent.
func (d *daemon) Authority(name store.AuthorityName) (*ca.Authority, bool) {
	for _, a := range d.family {
		if a.Name() == name {
			return a, true
		}
	}
	return nil, false
}

// openFamily opens the root and those below it, if the plan has any.
func (d *daemon) openFamily() error {
	d.family = nil
	if !d.sim.plan.family {
		return d.openOffline()
	}
	s := d.sim
	for _, name := range append([]store.AuthorityName{rootName}, children...) {
		row := d.row(name)
		decide := s.decide
		if name == rootName {
			decide = s.decideRoot
		}
		err := d.db.Update(s.ctx, func(tx store.Tx) error {
			if _, err := tx.Authority(s.ctx, name); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return tx.PutAuthority(s.ctx, row)
		})
		if err != nil {
			return err
		}
		a, err := ca.Open(s.ctx, d.db, s.clock, row, ca.Config{
			Netloc: netloc, Backdate: backdate, Retention: 30 * day, ChainRetention: s.spansOf(4),
			Statements: envelope.Statements{}, Parents: d, Decide: decide,
		})
		if err != nil {
			return err
		}
		d.family = append(d.family, a)
	}
	return d.openOffline()
}

// all are the authorities of the daemon, parents first.
func (d *daemon) all() []*ca.Authority {
	return append([]*ca.Authority{d.users, d.services, d.https}, d.family...)
}

func (d *daemon) list() (list caucase.List) {
	for _, a := range d.all() {
		list = append(list, a)
	}
	return list
}

// span is the span of an authority, by which its CA certificates change.
func (o *oracle) span(of store.AuthorityName) time.Duration {
	if of == rootName || of == offlineRoot {
		return rootSpans.Leaf
	}
	return o.sim.spans.Leaf
}

// checkParent checks a CA certificate that another CA has signed against the rules: the active root
// has signed it, it does not outlive that, and lives as long as others.
func (o *oracle) checkParent(i *issuer) {
	switch o.sim.daemon.row(i.of).Parent {
	case "":
		return
	case offlineRoot:
		o.checkConsent(i)
		return
	}
	i.parent = o.find(rootName, i.crt.AuthorityKeyId)
	switch {
	case i.parent == nil || i.crt.CheckSignatureFrom(i.parent.crt) != nil:
		o.sim.violated(activeSigns, "generation %d of %s is not from a root", i.index, i.of)
		return
	case o.active(rootName, i.created) != i.parent:
		o.sim.violated(activeSigns, "root %d signed generation %d of %s, while another is active", i.parent.index, i.index, i.of)
	case i.crt.NotAfter.After(i.parent.crt.NotAfter):
		o.sim.violated(withinIssuer, "generation %d of %s outlives its root", i.index, i.of)
	}
	if life := i.crt.NotAfter.Sub(i.created); life < o.sim.spans.CAValidity() {
		o.sim.violated(withinIssuer, "generation %d of %s lives for %v", i.index, i.of, life)
	}
}

// meetByRoots has a, which trusts roots alone, verify the certificate of another and its chain.
func (o *oracle) meetByRoots(a, other *agent) {
	o.sim.stats.byRoots++
	l := other.crt
	// A root that signs was met, passive, at least a span of the root ago. When an offline one was imported
	// depends on the visits.
	if above := l.issuer.parent; above != nil && a.seen.Before(above.shown) && (above.of == offlineRoot || a.away() >= o.span(above.of)) {
		return
	}
	if a.of != other.of && !a.roots[l.issuer.parent] && a.cameAfter(l.issuer.parent) {
		return // its own authority has nothing by that root any more, so that nobody vouches for it
	}
	if l.issuer.parent == nil || !a.roots[l.issuer.parent] {
		o.sim.violated(peersAccept, "%s, away for %v, does not know the root above generation %d of %s", a.name, a.away(), l.issuer.index, other.of)
	}
	if other.chain != string(l.issuer.crt.Raw) {
		o.sim.violated(peersAccept, "%s does not show generation %d of %s behind its certificate", other.name, l.issuer.index, other.of)
	}
}

// cameAfter reports whether an agent trusts younger generations of the root alone.
func (a *agent) cameAfter(root *issuer) bool {
	for i := range a.roots {
		if root == nil || i.index <= root.index {
			return false
		}
	}
	return len(a.roots) > 0
}

// sampleByRoots has the standard library verify what meetByRoots says about.
func (o *oracle) sampleByRoots(a, other *agent) {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, crt := range a.anchors() {
		roots.AddCert(crt)
	}
	chain, err := x509.ParseCertificates([]byte(other.chain))
	if err != nil {
		o.sim.violated(exchangesWork, "the chain of %s: %v", other.name, err)
		return
	}
	for _, crt := range chain {
		between.AddCert(crt)
	}
	now, crt := o.sim.now(), other.crt.crt
	_, err = crt.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if valid := a.roots[other.crt.issuer.parent] && pki.CheckValidity(crt, now) == nil; (err == nil) != valid {
		o.sim.violated(peersAccept, "%s on the certificate of %s by the roots alone: should be valid: %v; standard library: %v",
			a.name, other.name, valid, err)
	}
}

// revokedAt reports whether a CA was revoked by then.
func (i *issuer) revokedAt(at time.Time) bool { return !i.revoked.IsZero() && !at.Before(i.revoked) }

// revokeActive has an operator revoke the CA of an authority that signs now, when so many spans have passed.
func revokeActive(of store.AuthorityName, spans float64) func(*sim) {
	return func(s *sim) {
		s.after(s.spansOf(spans), func() {
			s.oracle.learn(of)
			i := s.oracle.active(of, s.now())
			err := s.daemon.authority(of).RevokeCA(s.ctx, audit.Actor{Kind: audit.Operator}, i.crt.SubjectKeyId, store.KeyCompromise)
			if err != nil {
				s.violated(exchangesWork, "generation %d of %s cannot be revoked: %v", i.index, of, err)
				return
			}
			i.revoked = s.now()
			s.stats.revokedCAs++
		})
	}
}

// checkRevokedCAs makes sure that the root's list has every CA that is revoked, until it expires.
func (o *oracle) checkRevokedCAs() {
	for _, of := range children {
		for _, i := range o.cas[of] {
			if now := o.sim.now(); i.revokedAt(now) && now.Before(i.crt.NotAfter) && !o.sim.daemon.down() && !o.onRootList(i) {
				o.sim.violated(revokedIsOut, "the root's list does not have generation %d of %s", i.index, of)
			}
		}
	}
}

func (o *oracle) onRootList(i *issuer) bool {
	list, err := o.sim.daemon.authority(rootName).CRL(o.sim.ctx, new(big.Int).SetBytes(i.crt.AuthorityKeyId))
	if err != nil {
		return false
	}
	crl, err := x509.ParseRevocationList(list.DER())
	return err == nil && slices.ContainsFunc(crl.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool {
		return e.SerialNumber.Cmp(i.crt.SerialNumber) == 0
	})
}
