package fleet

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// An agent keeps the certificate of one holder, and what it trusts, up to date: a host's
// updater, or a user. It lives in memory: of a disk it needs only that its content survives.
type agent struct {
	sim    *sim
	name   string
	of     store.AuthorityName
	client *client.Client
	pins   bool // of those who do not trust on first use
	reader bool // it follows the authority and wants no certificate

	below     bool // its authority has a parent: it keeps its certificate with the chain
	rootsOnly bool // it verifies others by the roots alone

	cas  []*x509.Certificate
	crls []*x509.RevocationList
	key  crypto.Signer
	past []*leaf // of what it held before, what has not expired
	next *request

	confirmed string // key identifier of the CA certificate that it has told the daemon to have

	seen  time.Time // its last round that was completed, zero before the first
	step  int       // when its lists were last refreshed
	out   time.Time // it is away until then
	rests time.Duration

	state
	met state // when it was last held against all others
}

// A state is what an agent presents and accepts.
type state struct {
	crt    *leaf             // nil when it has none
	chain  string            // DER of what it shows behind that
	trusts map[*issuer]bool  // its CA certificates
	roots  map[*issuer]bool  // where it is below a root
	lists  map[*issuer]*list // its revocation lists
}

// A request is a certificate signing request that was submitted.
type request struct {
	key crypto.Signer
	csr []byte
	id  client.ID // 0 until it is known
}

func (s *sim) newAgent(name string, of store.AuthorityName) *agent {
	c, err := client.New(client.Options{
		URL: "http://" + netloc, Authority: client.AuthorityName(of), Clock: s.clock, UserAgent: "fleet/1", Transport: s.net.transport,
	})
	if err != nil {
		s.violated(exchangesWork, "%s: %v", name, err)
	}
	// At least every quarter of a list's life, and not in step with others.
	rests := time.Duration((0.9 + 0.1*s.rand.Float64()) * float64(s.crlLife()/4))
	a := &agent{sim: s, name: name, of: of, client: c, rests: rests, pins: s.chance(0.5)}
	if s.daemon.row(of).Parent != "" {
		a.below, a.rootsOnly = true, s.chance(0.7)
	}
	return a
}

// wake is one round of an agent, and plans the next: soon after a failure, and while it waits
// for its certificate.
func (a *agent) wake() {
	s := a.sim
	if s.now().Before(a.out) {
		s.at(a.out, a.wake)
		return
	}
	s.stats.wakes++
	err := a.refresh()
	switch {
	case err == nil:
	case failed(err):
		s.after(a.rests/8, a.wake)
		return
	default:
		s.violated(exchangesWork, "%s: %v", a.name, err)
		return
	}
	rests := a.rests
	if a.next != nil {
		rests /= 3
	}
	s.after(rests, a.wake)
}

// refresh brings everything up to date. Its error is one of the network, or unexpected.
func (a *agent) refresh() error {
	if err := a.follow(); err != nil {
		return err
	}
	if err := a.fetchLists(); err != nil {
		return err
	}
	if !a.reader {
		if err := a.keepCertificate(); err != nil {
			return err
		}
	}
	if err := a.confirm(); err != nil {
		return err
	}
	a.seen = a.sim.now()
	if a.crt != a.met.crt || !maps.Equal(a.trusts, a.met.trusts) || !maps.Equal(a.roots, a.met.roots) || !maps.Equal(a.lists, a.met.lists) {
		a.met = a.state
		a.sim.oracle.check(a)
	}
	return nil
}

// confirm tells the daemon which CA certificate it has, if that is news.
func (a *agent) confirm() error {
	if a.crt == nil || len(a.cas) == 0 || pki.CheckValidity(a.crt.crt, a.sim.now()) != nil {
		return nil
	}
	newest := a.cas[len(a.cas)-1]
	if a.confirmed == string(newest.SubjectKeyId) {
		return nil
	}
	err := a.client.ConfirmCA(a.sim.ctx, a.crt.crt, a.key, newest.SubjectKeyId)
	switch {
	case err == nil:
		a.confirmed = string(newest.SubjectKeyId)
		a.sim.stats.confirmed++
	case errors.Is(err, client.ErrNotTold):
		return nil // its certificate was revoked, which it hears next
	}
	return err
}

// away returns how long an agent has been out of touch.
func (a *agent) away() time.Duration { return a.sim.now().Sub(a.seen) }

// follow brings the CA certificates up to date.
func (a *agent) follow() error {
	s, now := a.sim, a.sim.now()
	var pins []client.Pin
	if a.pins && a.cas == nil {
		pins = s.oracle.pins(a.of)
	}
	anchored := a.cas == nil
	for _, crt := range a.cas {
		anchored = anchored || pki.CheckValidity(crt, now) == nil
	}
	trust, err := a.client.UpdateTrust(s.ctx, a.cas, pins)
	switch {
	case failed(err):
		return err
	case errors.Is(err, client.ErrNoAnchor):
		if anchored {
			s.violated(documented, "%s has valid CA certificates: %v", a.name, err)
		}
		if a.away() <= a.followable() {
			s.violated(keepsTrust, "%s, away for %v: %v", a.name, a.away(), err)
		}
		// An operator gives the host a fingerprint, as the manual says.
		s.stats.reanchored++
		if trust, err = a.client.UpdateTrust(s.ctx, a.cas, s.oracle.pins(a.of)); err != nil {
			return err
		}
	case err != nil:
		s.violated(keepsTrust, "%s, away for %v: %v", a.name, a.away(), err)
		return err
	case !anchored:
		s.violated(documented, "%s has followed from CA certificates that have all expired", a.name)
	case a.away() > s.spans.Leaf && len(a.cas) > 0:
		s.stats.followed++
	}
	if trust.FirstUse != (a.cas == nil && pins == nil) {
		s.violated(exchangesWork, "%s: first use is %v", a.name, trust.FirstUse)
	}
	if a.below {
		if err := a.followRoots(trust); err != nil {
			return err
		}
	}
	a.cas = trust.CAs
	a.trusts = map[*issuer]bool{}
	for _, crt := range a.cas {
		i := s.oracle.find(a.of, crt.SubjectKeyId)
		if i == nil || !i.anchor.Equal(crt) {
			return fmt.Errorf("%s trusts a CA that the daemon does not have", a.name)
		}
		a.trusts[i] = true
	}
	return nil
}

// followRoots brings the roots up to date.
func (a *agent) followRoots(trust client.Trust) error {
	s := a.sim
	roots, err := a.client.UpdateRoots(s.ctx, trust, a.anchors(), nil)
	if errors.Is(err, client.ErrNoAnchor) && a.outlivesRoots() {
		s.stats.reanchored++
		roots, err = a.client.UpdateRoots(s.ctx, trust, a.anchors(), s.oracle.pins(offlineRoot))
	}
	switch {
	case failed(err):
		return err
	case err != nil:
		s.violated(keepsTrust, "%s, away for %v: roots: %v", a.name, a.away(), err)
		return err
	}
	a.roots = map[*issuer]bool{}
	for _, crt := range roots.CAs {
		i := s.oracle.find(s.daemon.row(a.of).Parent, crt.SubjectKeyId)
		if i == nil || !i.crt.Equal(crt) {
			return fmt.Errorf("%s trusts a root that the daemon does not have", a.name)
		}
		a.roots[i] = true
	}
	return nil
}

// anchors are the roots that it trusts, oldest first.
func (a *agent) anchors() []*x509.Certificate {
	var crts []*x509.Certificate
	for _, i := range a.sim.oracle.cas[a.sim.daemon.row(a.of).Parent] {
		if a.roots[i] {
			crts = append(crts, i.crt)
		}
	}
	return crts
}

// fetchLists brings the revocation lists up to date.
func (a *agent) fetchLists() error {
	s := a.sim
	crls, err := a.client.UpdateCRLs(s.ctx, a.cas, a.crls)
	switch {
	case failed(err):
		return err
	case errors.Is(err, client.ErrCRLRollback):
		s.violated(numbersGrow, "%s: %v", a.name, err)
		return nil
	case err != nil:
		return err
	}
	before := a.lists
	a.crls, a.lists, a.step = crls, map[*issuer]*list{}, s.step()
	for _, crl := range crls {
		i := s.oracle.find(a.of, crl.AuthorityKeyId)
		l := s.oracle.lists[leafID(i, crl.Number)]
		if l == nil || !bytes.Equal(l.raw, crl.Raw) {
			return fmt.Errorf("%s has a list that the daemon has not served", a.name)
		}
		if old := before[i]; old != nil && old.crl.Number.Cmp(crl.Number) > 0 {
			s.violated(numbersGrow, "%s had list %d of generation %d, and takes list %d", a.name, old.crl.Number, i.index, crl.Number)
		}
		if left := crl.NextUpdate.Sub(s.now()); left < s.quiet() && !i.revokedAt(s.now()) {
			s.violated(listsFresh, "list %d of %s has %v left", crl.Number, a.of, left)
		}
		a.lists[i] = l
	}
	return nil
}

// keepCertificate renews the certificate when that is due, and asks for one when there is none.
func (a *agent) keepCertificate() error {
	if a.crt != nil && a.lists[a.crt.issuer] != nil && a.lists[a.crt.issuer].serials[a.crt.serial] {
		if a.crt.revoked == 0 {
			a.sim.violated(revokedIsOut, "%s finds its certificate on a list, and nobody revoked it", a.name)
		}
		a.crt = nil
	}
	if a.crt != nil && a.crt.crt.NotAfter.Sub(a.sim.now()) < a.sim.renews() {
		if err := a.renew(); err != nil {
			return err
		}
	}
	if a.crt == nil {
		return a.enrol()
	}
	return nil
}

// renew asks for a successor of the certificate, and discards it when that is refused.
func (a *agent) renew() error {
	s := a.sim
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		return err
	}
	issued, err := a.successor(key)
	expired := pki.CheckValidity(a.crt.crt, s.now()) != nil
	switch {
	case failed(err):
		return err
	case client.IsStatus(err, http.StatusBadRequest) && expired:
		if a.away() <= s.oracle.renewable(a.crt) {
			s.violated(keepsTrust, "%s, away for %v, has let its certificate expire", a.name, a.away())
		}
		s.stats.expired++
		a.crt = nil
	case client.IsStatus(err, http.StatusBadRequest) && (a.crt.revoked != 0 || a.crt.issuer.revokedAt(s.now())):
		a.crt = nil
	case err != nil:
		s.violated(keepsTrust, "%s: %v", a.name, err)
	case expired:
		s.violated(documented, "%s has renewed a certificate that had expired", a.name)
	case a.crt.revoked != 0 || a.crt.issuer.revokedAt(s.now()):
		s.violated(revokedIsOut, "%s has renewed a certificate that was revoked", a.name)
	default:
		s.stats.renewals++
		old := a.crt
		a.hold(issued, key)
		a.crt.follows(old)
	}
	return nil
}

func (a *agent) successor(key crypto.Signer) (client.Issued, error) {
	if a.below {
		return a.client.RenewChain(a.sim.ctx, a.crt.crt, a.key, key, a.cas)
	}
	crt, err := a.client.Renew(a.sim.ctx, a.crt.crt, a.key, key, a.cas)
	return client.Issued{Certificate: crt}, err
}

func (a *agent) hold(issued client.Issued, key crypto.Signer) {
	if a.below {
		if err := client.CheckChain(issued, a.cas, a.anchors(), a.sim.now()); err != nil {
			a.sim.violated(keepsTrust, "%s, away for %v: %v", a.name, a.away(), err)
		}
	}
	a.chain = ""
	for _, ca := range issued.Chain {
		a.chain += string(ca.Raw)
	}
	var past []*leaf
	for _, l := range append(a.past, a.crt) {
		if l != nil && pki.CheckValidity(l.crt, a.sim.now()) == nil {
			past = append(past, l)
		}
	}
	a.past, a.crt, a.key = past, a.sim.oracle.issued(a.of, issued.Certificate), key
}

// enrol asks for a certificate with a new key, or for the answer.
func (a *agent) enrol() (err error) {
	s := a.sim
	if a.next == nil {
		if a.next, err = newRequest(a.name); err != nil {
			return err
		}
	}
	if a.next.id == 0 {
		id, err := a.client.Submit(s.ctx, a.next.csr)
		if err != nil {
			return err
		}
		a.next.id = id
	}
	issued, err := a.fetch(a.next.id)
	switch {
	case errors.Is(err, client.ErrPending):
		s.callUser()
		return nil
	case errors.Is(err, client.ErrUnknown):
		if a.away() <= s.spans.Leaf {
			s.violated(keepsTrust, "%s, away for %v: %v", a.name, a.away(), err)
		}
		a.next = nil
		return nil
	case err != nil:
		return err
	}
	crt := issued.Certificate
	err = client.CheckIssued(crt, a.next.key.Public(), a.cas, s.now())
	switch {
	case (errors.Is(err, pki.ErrExpired) || errors.Is(err, pki.ErrUnknownIssuer)) && pki.CheckValidity(crt, s.now()) != nil &&
		a.away() > s.oracle.renewable(s.oracle.issued(a.of, crt)):
		a.next = nil
		return nil
	case err != nil:
		return err
	}
	s.stats.enrolments++
	a.confirmed = "" // by another lineage
	a.hold(issued, a.next.key)
	a.next = nil
	return nil
}

func (a *agent) fetch(id client.ID) (client.Issued, error) {
	if a.below {
		return a.client.CertificateChain(a.sim.ctx, id)
	}
	crt, err := a.client.Certificate(a.sim.ctx, id)
	return client.Issued{Certificate: crt}, err
}

func newRequest(name string) (*request, error) {
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example"},
	}, key)
	if err != nil {
		return nil, err
	}
	return &request{key: key, csr: pki.EncodeCSRPEM(der)}, nil
}
