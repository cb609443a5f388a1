package fleet

import (
	"crypto/x509"
	"slices"
	"time"

	"cauase/pkg/signoff"
	"cauase/pkg/store"
)

// A consent is a CA certificate that the offline root has signed.
type consent struct {
	raw       []byte
	at        time.Time // when it was signed
	installed bool
	notBefore time.Time
	notAfter  time.Time
}

// signedOff records what the offline root has signed, and checks that a ceremony makes the root's successor
// if one is due.
func (o *oracle) signedOff(answer signoff.Answer) {
	newest := answer.Parents[len(answer.Parents)-1]
	if left := newest.NotAfter.Sub(o.sim.now()); left < 2*o.span(offlineRoot) {
		o.sim.violated(inTime, "the newest CA certificate of %s has %v left, and no successor", offlineRoot, left)
	}
	for _, crt := range answer.Certificates {
		if o.consentTo(crt) == nil {
			o.consents = append(o.consents, &consent{raw: crt.Raw, at: o.sim.now(), notBefore: crt.NotBefore, notAfter: crt.NotAfter})
		}
	}
}

func (o *oracle) consentTo(crt *x509.Certificate) *consent {
	i := slices.IndexFunc(o.consents, func(c *consent) bool { return string(c.raw) == string(crt.Raw) })
	if i < 0 {
		return nil
	}
	return o.consents[i]
}

func (o *oracle) inStock(crts []*x509.Certificate) {
	for _, crt := range crts {
		if c := o.consentTo(crt); c != nil {
			c.installed = true
		}
	}
}

// stock are the sign-offs that are installed and not yet used, and have not expired.
func (o *oracle) stock() (stock []*consent) {
	for _, c := range o.consents {
		used := slices.ContainsFunc(o.cas[offlineChild], func(i *issuer) bool { return string(i.crt.Raw) == string(c.raw) })
		if c.installed && !used && o.sim.now().Before(c.notAfter) {
			stock = append(stock, c)
		}
	}
	return stock
}

// usable returns a sign-off in stock that is valid now.
func (o *oracle) usable() *consent {
	for _, c := range o.stock() {
		if !o.sim.now().Before(c.notBefore) {
			return c
		}
	}
	return nil
}

// due is when the authority below the offline root needs its next CA certificate, given what it uses.
func (o *oracle) due() time.Time {
	if known := o.cas[offlineChild]; len(known) > 0 {
		return known[len(known)-1].crt.NotAfter.Add(-2 * o.sim.spans.Leaf)
	}
	return o.sim.start
}

// stalled reports whether an authority has come to the end of its CA certificates, waiting for a sign-off.
func (o *oracle) stalled(of store.AuthorityName) bool {
	return of == offlineChild && o.sim.offline && o.active(of, o.sim.now()) == nil && o.usable() == nil
}

// checkConsent checks a CA certificate below the offline root against the rules: the root has signed it, and
// was active then; it is in use neither before its time nor before the one before it is about to end.
func (o *oracle) checkConsent(i *issuer) {
	c := o.consentTo(i.crt)
	i.parent = o.find(offlineRoot, i.crt.AuthorityKeyId)
	switch {
	case i.parent == nil || i.crt.CheckSignatureFrom(i.parent.crt) != nil:
		o.sim.violated(activeSigns, "generation %d of %s is not from a root", i.index, i.of)
		return
	case i.crt.NotAfter.After(i.parent.crt.NotAfter):
		o.sim.violated(withinIssuer, "generation %d of %s outlives its root", i.index, i.of)
	case c == nil || !c.installed:
		o.sim.violated(activeSigns, "generation %d of %s is in use, and was not signed off", i.index, i.of)
		return
	case o.active(offlineRoot, c.at) != i.parent:
		o.sim.violated(activeSigns, "root %d signed generation %d of %s, while another was active", i.parent.index, i.index, i.of)
	case i.created.Before(i.crt.NotBefore):
		o.sim.violated(inTime, "generation %d of %s is in use %v before its time", i.index, i.of, i.crt.NotBefore.Sub(i.created))
	}
	if life := i.crt.NotAfter.Sub(i.crt.NotBefore); life < o.sim.spans.CAValidity() {
		o.sim.violated(withinIssuer, "generation %d of %s lives for %v", i.index, i.of, life)
	}
}

// asked reports whether the daemon has asked for a sign-off that has not come.
func (o *oracle) asked() bool {
	for _, row := range o.signoffs() {
		if row.Certificate == nil && o.sim.now().Before(row.NotAfter) {
			return true
		}
	}
	return false
}

func (o *oracle) signoffs() (rows []store.Signoff) {
	err := o.sim.daemon.db.View(o.sim.ctx, func(r store.Reader) (err error) {
		rows, err = r.Signoffs(o.sim.ctx, offlineChild)
		return err
	})
	if err != nil {
		o.sim.violated(exchangesWork, "sign-offs: %v", err)
	}
	return rows
}

// checkSignoffs checks, after the daemon's maintenance, that it uses what is signed off, asks
// for what it needs half a span ahead, and for nothing twice.
func (o *oracle) checkSignoffs() {
	if !o.sim.offline {
		return
	}
	o.learn(offlineChild)
	now, span, due := o.sim.now(), o.sim.spans.Leaf, o.due()
	if c := o.usable(); c != nil && !now.Before(due) {
		o.sim.violated(signoffsUsed, "the CA certificate from %s on is signed off, needed since %s, and not used",
			c.notBefore.Format(time.RFC3339), due.Format(time.RFC3339))
	}
	if o.stalled(offlineChild) {
		o.sim.stats.stalled++
	}
	var rows []store.Signoff
	for _, row := range o.signoffs() {
		if now.Before(row.NotAfter) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b store.Signoff) int { return a.NotBefore.Compare(b.NotBefore) })
	for i := range rows[min(1, len(rows)):] {
		if apart := rows[i+1].NotBefore.Sub(rows[i].NotBefore); apart < 2*span-day {
			o.sim.violated(asksOnce, "two CA certificates are asked for, %v apart", apart)
		}
	}
	waiting := slices.ContainsFunc(rows, func(row store.Signoff) bool { return row.Certificate == nil })
	runsOut := due // when what is in stock has been used up
	for _, c := range o.stock() {
		if end := c.notAfter.Add(-2 * span); end.After(runsOut) {
			runsOut = end
		}
	}
	if !waiting && !now.Before(runsOut.Add(-span/2)) {
		o.sim.violated(signoffsUsed, "a CA certificate is needed from %s on, and not asked for", runsOut.Format(time.RFC3339))
	}
	awaited, warned, err := o.sim.daemon.authority(offlineChild).Awaited(o.sim.ctx)
	if must := waiting && len(o.stock()) == 0; err != nil || warned != must {
		o.sim.violated(signoffsUsed, "a pending sign-off is reported: %v; should be: %v; %+v, %v", warned, must, awaited, err)
	}
}

// outlivesRoots reports whether the roots that an agent trusts may all have expired: those of an offline root, to
// which nobody came in time for the next one, or it was away.
func (a *agent) outlivesRoots() bool {
	if a.of != offlineChild {
		return false
	}
	all := a.sim.oracle.cas[offlineRoot]
	for _, i := range slices.Backward(all) {
		if a.roots[i] {
			return i.index < len(all)-1 && (a.seen.Before(all[i.index+1].shown) || a.away() > a.followable())
		}
	}
	return true
}

// met is for how long a generation was there before it had to sign, at most a span: less than that when it
// was signed off too late.
func (o *oracle) met(i *issuer) time.Duration {
	span := o.span(i.of)
	if i.of != offlineChild || i.index == 0 {
		return span
	}
	return min(span, max(0, o.cas[i.of][i.index-1].crt.NotAfter.Sub(i.created)))
}

// followable is how long an agent can be away and still follow the chain to the CA certificates of its authority.
func (a *agent) followable() time.Duration {
	o := a.sim.oracle
	var newest *issuer
	for i := range a.trusts {
		if newest == nil || i.index > newest.index {
			newest = i
		}
	}
	if a.of != offlineChild || newest == nil {
		return a.sim.follows()
	}
	return a.sim.follows() - newest.late(o)
}
