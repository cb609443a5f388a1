package server

import (
	"sync"
	"time"

	"cauase/pkg/clock"
)

// A resource is something of which peers can take too much.
type resource int

const (
	ofConnections resource = iota
	ofHandlers             // requests being answered
	ofBodies               // bytes of bodies being received
	ofWaiting              // requests that wait for news, or connections that do nothing else

	resources // how many there are
)

// String is how metrics name a resource.
func (r resource) String() string {
	return [...]string{"connections", "handlers", "bodies", "waiting"}[r]
}

type usage [resources]int64

// A ledger says who has how much of what, and makes room. Where a ceiling is reached, the connection is closed that
// has waited longest for its peer, of the address which has most: so that whoever takes much and
// does nothing with it gives way to whoever comes. Only where nobody waits is the newcomer refused.
//
// Users are counted, and give way to nobody.
type ledger struct {
	ceilings [resources]ceiling
	refused  func(reason string) // told of each refusal, and of each connection that gave way

	mu    sync.Mutex
	conns map[*conn]struct{}
	peers map[peer]*account
	total usage // of strangers; the connections are everybody's
	users usage

	strained time.Time // when somebody last had to give way to others, or found no room
}

// An account is what one address has.
type account struct {
	usage
}

// lastingWait is how long a peer has to be waited for before it gives way to one that has no less.
const lastingWait = time.Second

func newLedger(ceilings [resources]ceiling, refused func(reason string)) *ledger {
	return &ledger{ceilings: ceilings, refused: refused, conns: make(map[*conn]struct{}), peers: make(map[peer]*account)}
}

// now is for waits and deadlines of the network, which are about the time that passes here.
func now() time.Time { return clock.System().Now() }

// join lets a connection in, and reports whether there is room.
func (l *ledger) join(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.idleSince = now()
	c.account = l.peers[c.peer]
	if c.account == nil {
		c.account = &account{}
	}
	if !l.room(c, ofConnections, 1) {
		return false
	}
	l.peers[c.peer] = c.account
	l.conns[c] = struct{}{}
	l.add(c, ofConnections, 1)
	return true
}

// leave takes a connection out, with all that it has. Leaving twice does no harm.
func (l *ledger) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(c)
}

func (l *ledger) forget(c *conn) {
	if _, there := l.conns[c]; !there {
		return
	}
	for r := range resources {
		l.add(c, r, -c.has[r])
	}
	delete(l.conns, c)
	if c.account.usage == (usage{}) {
		delete(l.peers, c.peer)
	}
}

func (l *ledger) add(c *conn, r resource, n int64) {
	c.has[r] += n
	c.account.usage[r] += n
	if c.user && r != ofConnections {
		l.users[r] += n
		return
	}
	l.total[r] += n
}

// take has c have more of something, and reports whether it may.
func (l *ledger) take(c *conn, r resource, n int64) bool {
	if c == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.conns[c]; !there {
		return true // it has been closed, and is about to find out
	}
	if !l.room(c, r, n) {
		return false
	}
	l.add(c, r, n)
	return true
}

// know has a connection be that of a user from now on, or of a stranger.
func (l *ledger) know(c *conn, user bool) {
	if c == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.user == user {
		return
	}
	from, to := &l.total, &l.users
	if !user {
		from, to = to, from
	}
	c.user = user
	if _, there := l.conns[c]; !there {
		return
	}
	for r := range resources {
		if r != ofConnections {
			from[r] -= c.has[r]
			to[r] += c.has[r]
		}
	}
}

func (l *ledger) give(c *conn, r resource, n int64) {
	if c == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.conns[c]; there {
		l.add(c, r, -n)
	}
}

// userCeilings are what users may have of what there is beside the ceilings for strangers.
var userCeilings = [resources]int64{ofHandlers: maxUserHandlers, ofBodies: maxBodies}

// room makes room for n more of r, if there is none, and reports whether there is.
func (l *ledger) room(c *conn, r resource, n int64) bool {
	if c.user {
		return l.users[r]+n <= userCeilings[r] || r == ofConnections
	}
	for c.account.usage[r]+n > l.ceilings[r].perAddress {
		if !l.evict(c, r, n, c.account, r.String()+"_per_address") {
			return false
		}
	}
	total := l.ceilings[r].total
	if r != ofConnections && c.account.usage[r] == 0 {
		// Whoever has nothing yet gets something also while all others are being served.
		total += total / addressPart
	}
	for l.total[r]+n > total {
		if !l.evict(c, r, n, nil, r.String()) {
			return false
		}
	}
	return true
}

// evict closes the connection that has to give way to c, one of an account if that is given, and
// reports whether there is one.
func (l *ledger) evict(c *conn, r resource, n int64, of *account, reason string) bool {
	var victim *conn
	var since time.Time
	for other := range l.conns {
		if other == c || other.user || other.has[r] == 0 || of != nil && other.account != of {
			continue
		}
		waits, from := other.waiting()
		if !waits {
			continue
		}
		most := int64(-1)
		if victim != nil {
			most = victim.account.usage[r]
		}
		if has := other.account.usage[r]; has > most || has == most && from.Before(since) {
			victim, since = other, from
		}
	}
	if of == nil {
		l.strained = now()
		l.shed() // who only waits goes first
	}
	if victim == nil {
		l.refused(reason + "_refused")
		return false
	}
	// Who will have no more than the newcomer keeps it, unless for nothing. A connection that waits is nothing:
	// whoever has a request follows it with one at once, long before it is the oldest.
	if r != ofConnections && victim.account.usage[r] <= c.account.usage[r]+n && victim.account != c.account && now().Sub(since) < lastingWait {
		l.refused(reason + "_refused")
		return false
	}
	l.refused(reason + "_evicted")
	l.forget(victim)
	_ = victim.shut()
	return true
}

// closeAll closes all connections that there are.
func (l *ledger) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		l.forget(c)
		_ = c.shut()
	}
}

// connections is how many there are, but for those that do nothing but wait for news, for display.
func (l *ledger) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.total[ofConnections])
}
