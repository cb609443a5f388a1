package fleet

import (
	"fmt"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// enrolFleet has two users and all hosts arrive, most of them in the first year.
func (s *sim) enrolFleet() {
	users := []string{"alice", "bob"}
	if s.calm {
		users = users[:1] // there is nobody to revoke
	}
	for i, name := range users {
		a := s.newAdmin(name)
		s.admins = append(s.admins, a)
		s.after(time.Duration(i)*day, a.wake)
		for _, r := range a.readers {
			s.after(time.Duration(i)*day, r.wake)
		}
	}
	for i := range s.plan.hosts {
		of := store.Services
		if s.family && i%3 > 0 {
			of = children[i%3-1]
		} else if s.offline && i%4 > 0 {
			of = offlineChild
		}
		h := s.newAgent(fmt.Sprintf("host%03d", i), of)
		s.hosts = append(s.hosts, h)
		first := min(s.years, 1)
		if i%10 == 9 {
			first = s.years
		}
		s.after(time.Duration(s.rand.Float64()*first*float64(year)), h.wake)
	}
}

// scheduleMishaps lets happen what happens in a fleet.
func (s *sim) scheduleMishaps() {
	perHost := time.Duration(len(s.hosts))
	s.sometimes(s.spansOf(2)/perHost, s.hostOutage)
	s.sometimes(s.spansOf(3), s.adminOutage)
	s.sometimes(s.spansOf(1.2), s.daemonOutage)
	s.sometimes(s.spansOf(0.6), s.restart)
	s.sometimes(s.spansOf(12)/perHost, s.revokeHost)
	s.sometimes(s.spansOf(8), s.revokeUser)
}

// between is a random duration of so many spans.
func (s *sim) between(low, high float64) time.Duration {
	return s.spansOf(low + s.rand.Float64()*(high-low))
}

// hostOutage takes a host away from the daemon. It goes on meeting the others.
func (s *sim) hostOutage() {
	h := s.hosts[s.rand.IntN(len(s.hosts))]
	if s.now().Before(h.out) {
		return
	}
	var d time.Duration
	switch p := s.rand.Float64(); {
	case p < 0.50:
		d = s.between(0, 0.165)
	case p < 0.75:
		d = s.between(0.1, 0.4)
	case p < 0.90:
		d = s.between(0.3, 1.1)
	case p < 0.96:
		d = s.between(1, 2.1)
	case p < 0.98:
		d = s.between(2, 4.1)
	default:
		d = s.between(4, 6)
	}
	s.stats.hostOutages++
	h.out = s.now().Add(d)
}

// allAway takes all hosts away at once, when so many spans have passed, for so many.
func allAway(from, spans float64) func(*sim) {
	return func(s *sim) {
		s.after(s.spansOf(from), func() {
			for _, h := range s.hosts {
				h.out = s.now().Add(s.spansOf(spans))
			}
		})
	}
}

func (s *sim) adminOutage() {
	a := s.admins[s.rand.IntN(len(s.admins))]
	a.out = s.now().Add(s.between(0, 0.5))
	for _, r := range a.readers {
		r.out = a.out
	}
}

// daemonOutage stops the daemon for a while, mostly a short one.
func (s *sim) daemonOutage() {
	d := s.between(0, 0.02)
	switch p := s.rand.Float64(); {
	case p < 0.05:
		d = s.between(0, 0.6)
	case p < 0.20:
		d = s.between(0, 0.15)
	}
	s.stopDaemon(d)
}

func (s *sim) stopDaemon(d time.Duration) {
	if s.daemon.down() {
		return
	}
	s.stats.daemonOutages++
	s.daemon.downUntil = s.now().Add(d).Round(time.Second)
	s.at(s.daemon.downUntil, s.restart)
}

func (s *sim) restart() {
	if s.daemon.down() {
		return
	}
	s.stats.restarts++
	crash := !s.forget && s.chance(0.1)
	if crash {
		s.stats.crashes++
	}
	if err := s.daemon.restart(crash); err != nil {
		s.violated(exchangesWork, "restart: %v", err)
	}
	if s.offline {
		s.oracle.learn(offlineChild)
	}
}

// revokeHost revokes a certificate of a host, the current or the one before, in one of the
// three ways there are.
func (s *sim) revokeHost() {
	h := s.hosts[s.rand.IntN(len(s.hosts))]
	l, key := h.crt, h.key
	if len(h.past) > 0 && s.chance(0.3) {
		l, key = h.past[s.rand.IntN(len(h.past))], nil
	}
	a := s.admins[s.rand.IntN(len(s.admins))]
	way := s.rand.IntN(3)
	if l == nil || l.revoked != 0 || pki.CheckValidity(l.crt, s.now()) != nil || s.daemon.down() {
		return
	}
	switch {
	case way == 0 && key != nil:
		s.untilRevoked(l, false, func() error { return h.client.Revoke(s.ctx, l.crt, key, client.Revoking{Reason: 1}) })
	case a.able():
		a.revoke(a.readerOf(h.of), l, way == 1)
	}
}

// revokeUser has one user revoke the other.
func (s *sim) revokeUser() {
	i := s.rand.IntN(len(s.admins))
	a, other := s.admins[i], s.admins[1-i]
	if !a.able() || !other.able() || s.daemon.down() {
		return
	}
	a.revoke(a.agent, other.crt, s.chance(0.5))
	if other.crt.revoked != 0 {
		other.checkLockedOut()
	}
}
