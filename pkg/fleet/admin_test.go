package fleet

import (
	"crypto/tls"
	"fmt"
	"net/http"

	"cauase/pkg/audit"
	"cauase/pkg/ca/catest"
	"cauase/pkg/client"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// An admin is a user who signs pending requests, and revokes. It holds a certificate of the user
// authority, and follows the other one to know that it talks to its daemon.
type admin struct {
	*agent
	services *agent
	readers  []*agent // of all authorities of hosts; services is the first
}

func (s *sim) newAdmin(name string) *admin {
	a := &admin{agent: s.newAgent(name, store.Users), services: s.newAgent(name+" as a reader", store.Services)}
	a.readers = []*agent{a.services}
	if s.family {
		for _, of := range children {
			a.readers = append(a.readers, s.newAgent(name+" as a reader of "+string(of), of))
		}
	}
	if s.offline {
		a.readers = append(a.readers, s.newAgent(name+" as a reader of "+string(offlineChild), offlineChild))
	}
	for _, r := range a.readers {
		r.reader = true
	}
	return a
}

// readerOf returns the agent that follows an authority.
func (a *admin) readerOf(of store.AuthorityName) *agent {
	for _, r := range a.readers {
		if r.of == of {
			return r
		}
	}
	return a.agent
}

// callUser has the users look at pending requests, after a while.
func (s *sim) callUser() {
	if !s.called {
		s.called = true
		s.after(s.exponential(s.spans.Leaf/100), s.work)
	}
}

// work has any user who is able to sign what is pending. If none is, an operator does, on the
// daemon's own machine.
func (s *sim) work() {
	s.called = false
	if s.daemon.down() {
		s.after(s.spans.Leaf/100, s.callUser)
		return
	}
	for _, a := range s.admins {
		if !a.able() {
			continue
		}
		if err := a.signAll(); err != nil {
			s.after(s.spans.Leaf/1000, s.callUser)
			if !failed(err) {
				s.violated(exchangesWork, "%s: %v", a.name, err)
			}
		}
		return
	}
	pending, err := s.daemon.users.Pending(s.ctx)
	if err != nil {
		s.violated(exchangesWork, "pending requests of users: %v", err)
		return
	}
	for _, p := range pending {
		if err := catest.Wired(s.daemon.users).Sign(s.ctx, audit.Actor{Kind: audit.Operator}, p.ID); err != nil {
			s.violated(exchangesWork, "operator: %v", err)
		}
	}
	s.after(s.spans.Leaf/100, s.callUser)
}

// able reports whether an admin is available and has a valid certificate and trust.
func (a *admin) able() bool {
	for _, r := range a.readers {
		if !r.inTouch() && r.of != offlineChild {
			return false
		}
	}
	return a.crt != nil && a.crt.revoked == 0 && !a.sim.now().Before(a.out) &&
		pki.CheckValidity(a.crt.crt, a.sim.now()) == nil && a.away() < a.sim.spans.Leaf
}

// inTouch reports whether the agent knows the CA that signs now.
func (a *agent) inTouch() bool { return len(a.cas) > 0 && a.away() < a.sim.spans.Leaf }

// session is one of this user's with an authority.
func (a *admin) session(of *agent) (*client.Session, error) {
	return of.client.Connect(a.sim.ctx, a.certificate(), of.cas, client.Caucase{})
}

func (a *admin) certificate() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{a.crt.crt.Raw}, PrivateKey: a.key}
}

func (a *admin) signAll() error {
	for _, of := range append([]*agent{a.agent}, a.readers...) {
		if of.of == offlineChild && !of.inTouch() {
			continue // which it may not have been for long, as there was nobody to follow
		}
		session, err := a.session(of)
		if err != nil {
			return err
		}
		pending, err := session.Pending(a.sim.ctx)
		if err != nil {
			return err
		}
		for _, p := range pending {
			shown, err := pki.DigestOf(p.PEM)
			if err != nil {
				return err
			}
			if err := session.Approve(a.sim.ctx, p.ID, client.Approval{Shown: &shown}); err != nil {
				return err
			}
		}
	}
	return nil
}

// revoke has a certificate of a host revoked by its serial or in full, until that is confirmed.
func (a *admin) revoke(of *agent, l *leaf, bySerial bool) {
	const superseded = 4 // which goes alone
	a.sim.untilRevoked(l, !bySerial, func() error {
		session, err := a.session(of)
		if err != nil {
			return err
		}
		if bySerial {
			return session.RevokeSerial(a.sim.ctx, l.crt.SerialNumber, client.Revoking{})
		}
		return session.Revoke(a.sim.ctx, l.crt, client.Revoking{Reason: superseded})
	})
}

// untilRevoked tries to revoke a certificate, with its lineage or alone, until an answer arrives.
func (s *sim) untilRevoked(l *leaf, alone bool, try func() error) {
	for range 10 {
		err := try()
		already := l.revoked != 0
		if s.net.answered == http.StatusNoContent {
			s.oracle.revoke(l, alone)
		}
		switch {
		case failed(err):
			continue
		case already && !client.IsStatus(err, http.StatusBadRequest, http.StatusConflict):
			s.violated(exchangesWork, "certificate %s was revoked a second time: %v", l.crt.SerialNumber, err)
		case !already && err != nil:
			s.violated(exchangesWork, "certificate %s cannot be revoked: %v", l.crt.SerialNumber, err)
		}
		return
	}
}

// checkLockedOut checks that a user whose certificate was revoked is refused.
func (a *admin) checkLockedOut() {
	a.sim.stats.lockedOut++
	session, err := a.session(a.services)
	if err == nil {
		_, err = session.Pending(a.sim.ctx)
	}
	if err == nil || !failed(err) && !client.IsStatus(err, http.StatusUnauthorized) {
		a.sim.violated(revokedIsOut, "%s works with a certificate that was revoked: %v", a.name, fmt.Sprint(err))
	}
}
