package server

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/http"
	"time"
)

// Requests may wait for news, for as long as a peer is ready to. What waits must cost next to nothing, and take
// nothing that others need: neither one of the places for requests, nor, where a connection does nothing
// else, that of a connection. There are so many places for waiting, and a part of them for each address; they
// are the first thing that is given up under load. Who has lost one is told so, and asks again later.

// DefaultWaiting is how many requests may wait for news at a time unless a Limits says otherwise.
const DefaultWaiting = 1024

// An Outcome says why waiting has ended.
type Outcome int

// The outcomes.
const (
	News    Outcome = iota // what was waited for is there
	TimeUp                 // it is not
	Shed                   // there is no room to wait, or no more
	Crowded                // it is there, but no room for the request
	Gone                   // the peer has, or the daemon ends

	outcomes // how many there are
)

// String is how metrics name an outcome.
func (o Outcome) String() string {
	return [outcomes]string{"news", "time_up", "shed", "crowded", "gone"}[o]
}

// strainLasts is how long nobody may begin to wait after a connection or request had to give way to another.
const strainLasts = time.Second

// Await waits until news is closed, for at most limit, and says why it has ended, and after how long.
func (x *Exchange) Await(ctx context.Context, news <-chan struct{}, limit time.Duration) (outcome Outcome, took time.Duration) {
	s, began := x.server, now()
	defer func() { x.awaited, x.outcome = true, outcome }()
	if !s.ledger.park(x) {
		return Shed, 0
	}
	outcome = s.await(ctx, x, news, limit)
	if outcome == News && !s.ledger.resume(x, func() bool { return pause(ctx, s.stopping, spread) }) {
		outcome = Crowded
	}
	s.ledger.unpark(x)
	if took = now().Sub(began); outcome == TimeUp {
		took = max(took, limit)
	}
	x.waited += took
	return outcome, took
}

func (s *Server) await(ctx context.Context, x *Exchange, news <-chan struct{}, limit time.Duration) Outcome {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-news:
		return News
	case <-timer.C:
		return TimeUp
	case <-x.shed:
		return Shed
	case <-s.stopping:
	case <-ctx.Done():
	}
	return Gone
}

const (
	// spread is how long one that finds no place for its request waits until it looks again, on average.
	spread = 100 * time.Millisecond
	// patience is how often it does.
	patience = 20
)

// pause waits for about d, and reports whether it has.
func pause(ctx context.Context, stopping <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(Jitter(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stopping:
	case <-ctx.Done():
	}
	return false
}

// Jitter returns a duration from a half to one and a half of d.
func Jitter(d time.Duration) time.Duration {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	return d/2 + time.Duration(float64(d)*float64(binary.BigEndian.Uint32(random[:]))/(1<<32))
}

// shedRetry is when who could not wait is asked to come again, on average.
const shedRetry = 30 * time.Second

// Later says in the header of the answer when to ask again, since there was no room to wait.
func (x *Exchange) Later() {
	x.Header().Set("Retry-After", Problem{RetryAfter: Jitter(shedRetry)}.retryAfter())
}

// NotModified answers that the peer has what there is, of which this is the tag.
func (x *Exchange) NotModified(etag string) error {
	h := x.Header()
	h.Set("Cache-Control", revalidate)
	h.Set("ETag", etag)
	return x.Empty(http.StatusNotModified)
}

// park has x wait, and reports whether there is room for that. Its place among the requests is free from then on, and so is
// that of its connection, if that does nothing else.
func (l *ledger) park(x *Exchange) bool {
	c := x.conn
	if c == nil {
		return true // in tests without a network
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.conns[c]; !there {
		return true // it is about to find out
	}
	switch own := c.account.usage[ofWaiting]; {
	case c.aside: // it has a place already
	case now().Sub(l.strained) < strainLasts:
		l.refused("waiting_refused")
		return false
	case own >= l.ceilings[ofWaiting].perAddress:
		l.refused("waiting_per_address_refused")
		return false
	case l.waiting() >= l.ceilings[ofWaiting].total && !l.vacate(own+1):
		l.refused("waiting_refused")
		return false
	}
	if !c.aside {
		l.add(c, ofWaiting, 1)
	}
	if x.Request.ProtoMajor == 1 && !c.aside {
		l.add(c, ofConnections, -1)
		c.aside = true
	}
	l.add(c, ofHandlers, -x.handlers)
	x.handlers = 0
	x.parked, x.shed = true, make(chan struct{})
	x.waitsSince = now()
	return true
}

// waiting is how many places for waiting are taken, by users or strangers.
func (l *ledger) waiting() int64 { return l.total[ofWaiting] + l.users[ofWaiting] }

// unpark has x wait no more, for an answer that takes no place.
func (l *ledger) unpark(x *Exchange) {
	if x.conn == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake(x)
}

func (l *ledger) wake(x *Exchange) {
	c := x.conn
	if !x.parked {
		return
	}
	x.parked, x.waitsSince = false, time.Time{}
	if _, there := l.conns[c]; there && !c.aside && c.has[ofWaiting] > 0 {
		l.add(c, ofWaiting, -1) // one that is aside keeps its place until it does something else
	}
}

// resume has x go on with its request, and reports whether there is a place for it. It is looked for a few times, with
// pauses between them, which end it if they cannot be made.
func (l *ledger) resume(x *Exchange, pause func() bool) bool {
	if x.conn == nil {
		return true
	}
	for range patience {
		if l.takeQuietly(x) {
			return true
		}
		if !pause() {
			return false
		}
	}
	l.refused("waiting_refused")
	return false
}

// takeQuietly takes a place for x that nobody has to make room for.
func (l *ledger) takeQuietly(x *Exchange) bool {
	c := x.conn
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.conns[c]; !there {
		return true
	}
	held, ceiling := l.total[ofHandlers], l.ceilings[ofHandlers]
	if c.user {
		held, ceiling = l.users[ofHandlers], ceilingOf(userCeilings[ofHandlers])
	}
	// Half of what there is remains for those who have not waited.
	if held >= ceiling.total/2 || !c.user && c.account.usage[ofHandlers] >= ceiling.perAddress/2 {
		return false
	}
	l.add(c, ofHandlers, 1)
	x.handlers = 1
	return true
}

func ceilingOf(n int64) ceiling { return ceiling{n, n} }

// settle takes the connection of a request that has not waited, but others before it, back among those that count, and so
// that of one that was told to wait no more.
func (l *ledger) settle(x *Exchange) {
	c := x.conn
	if c == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.shed == nil || x.ended {
		l.comeBack(c)
	}
}

func (l *ledger) comeBack(c *conn) {
	if _, there := l.conns[c]; !there || !c.aside {
		return
	}
	c.aside = false
	l.add(c, ofWaiting, -1)
	l.add(c, ofConnections, 1) // above the ceiling, perhaps: then the next newcomer has one more give way
}

// vacate frees a place of the address that has most of them, if those are more than so many, and reports whether there is
// one.
func (l *ledger) vacate(moreThan int64) bool {
	victim := l.oldestWaiting(func(c *conn) bool { return c.account.usage[ofWaiting] > moreThan })
	if victim == nil {
		return false
	}
	l.comeBack(victim)
	l.end(victim)
	return true
}

// shed ends a wait. Its connection counts as any other when the peer has been told, and can be made to give way.
func (l *ledger) shed() {
	if c := l.oldestWaiting(func(c *conn) bool { return c.parked() != nil }); c != nil {
		l.end(c)
	}
}

func (l *ledger) end(c *conn) {
	l.refused("waiting_shed")
	if x := c.parked(); x != nil {
		l.wake(x)
		x.ended = true
		close(x.shed)
	}
}

// oldestWaiting returns the connection with a place for waiting that has been there longest, of those of the address that
// has most.
func (l *ledger) oldestWaiting(eligible func(*conn) bool) (oldest *conn) {
	for c := range l.conns {
		if c.has[ofWaiting] == 0 || !eligible(c) {
			continue
		}
		if oldest == nil || c.account.usage[ofWaiting] > oldest.account.usage[ofWaiting] ||
			c.account == oldest.account && c.idleSince.Before(oldest.idleSince) {
			oldest = c
		}
	}
	return oldest
}

// parked returns a request of the connection that waits, nil if there is none.
func (c *conn) parked() *Exchange {
	for _, x := range c.exchanges {
		if x.parked {
			return x
		}
	}
	return nil
}
