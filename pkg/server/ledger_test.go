package server

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// A pipeFrom is a connection that comes from an address.
type pipeFrom struct {
	net.Conn
	ip     string
	closed *bool
}

func (p pipeFrom) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(p.ip), Port: 1} }
func (p pipeFrom) Close() error         { *p.closed = true; return p.Conn.Close() }

// A booked connection is one that a test has let in, or not.
type booked struct {
	*conn
	in, closed bool
}

// A counter is a ledger with what it has refused.
type counter struct {
	*ledger
	reasons map[string]int
}

func newCounter(connections, handlers, bodies ceiling) *counter {
	c := &counter{reasons: map[string]int{}}
	c.ledger = newLedger([resources]ceiling{connections, handlers, bodies}, func(reason string) { c.reasons[reason]++ })
	return c
}

// connect lets a connection in that has waited since so long ago.
func (c *counter) connect(ip string, waits time.Duration) *booked {
	b := &booked{}
	one, other := net.Pipe()
	_ = other.Close()
	b.conn = newConn(pipeFrom{one, ip, &b.closed}, c.ledger, false)
	b.in = c.join(b.conn)
	b.idleSince = now().Add(-waits)
	return b
}

// works has a connection answer a request, waits one that waits for its peer.
func (b *booked) works() *Exchange {
	x := &Exchange{}
	b.begin(x)
	return x
}

func (b *booked) waits(d time.Duration) *Exchange {
	x := b.works()
	b.set(x, now().Add(-d))
	return x
}

func plenty() ceiling { return ceiling{1 << 40, 1 << 40} }

func TestOldestIdleConnectionOfTheLargestGivesWay(t *testing.T) {
	c := newCounter(ceiling{5, 4}, plenty(), plenty())
	small := c.connect("192.0.2.1", time.Hour)
	var large []*booked
	for n := range 4 {
		large = append(large, c.connect("192.0.2.2", time.Duration(n+1)*time.Minute))
	}
	newcomer := c.connect("192.0.2.3", 0)
	if !newcomer.in || small.closed || !large[3].closed || large[0].closed {
		t.Errorf("the newcomer is in: %v, closed: %v %v %v", newcomer.in, small.closed, large[0].closed, large[3].closed)
	}
	if got := c.connections(); got != 5 {
		t.Errorf("%d connections", got)
	}
	// An address that has all that it may makes room among its own.
	large = append(large, c.connect("192.0.2.2", 0), c.connect("192.0.2.2", 0))
	if !large[5].in || small.closed || newcomer.closed || !large[2].closed {
		t.Errorf("closed: %v %v %v", small.closed, newcomer.closed, large[2].closed)
	}
}

func TestWhoIsBusyDoesNotGiveWay(t *testing.T) {
	c := newCounter(ceiling{3, 3}, plenty(), plenty())
	var all []*booked
	for range 3 {
		b := c.connect("192.0.2.2", time.Hour)
		b.waits(time.Hour)
		b.works() // one of its requests is ours to answer
		all = append(all, b)
	}
	if newcomer := c.connect("192.0.2.3", 0); newcomer.in || !(all[0].in && all[1].in && all[2].in) || c.reasons["connections_refused"] != 1 {
		t.Errorf("in: %v, %v", newcomer.in, c.reasons)
	}
}

// TestEqualsDoNotPushEachOtherOut: of many who have one request each none gives way, unless it has been waited
// for. Their connections do, the oldest first.
func TestEqualsDoNotPushEachOtherOut(t *testing.T) {
	c := newCounter(ceiling{5, 5}, ceiling{4, 4}, plenty())
	var all []*booked
	var waiting []*Exchange
	for n := range 4 {
		b := c.connect(fmt.Sprintf("192.0.2.%d", n), 0)
		waiting = append(waiting, b.waits(0))
		if !c.take(b.conn, ofHandlers, 1) {
			t.Fatal("no room")
		}
		all = append(all, b)
	}
	newcomer := c.connect("192.0.2.9", 0)
	if !c.take(newcomer.conn, ofHandlers, 1) {
		t.Error("nothing for who has nothing yet")
	}
	if c.take(newcomer.conn, ofHandlers, 1) {
		t.Error("pushed out somebody who has no more")
	}
	all[2].set(waiting[2], now().Add(-time.Minute))
	all[3].set(waiting[3], now().Add(-time.Minute))
	if !c.take(newcomer.conn, ofHandlers, 1) || !all[2].closed || !all[3].closed || all[0].closed {
		t.Error("not those gave way who have been waited for")
	}
	all[1].set(waiting[1], now().Add(-time.Second/2))
	c.connect("192.0.2.10", 0)
	c.connect("192.0.2.11", 0)
	if !c.connect("192.0.2.12", 0).in || !all[1].closed || all[0].closed || newcomer.closed {
		t.Error("not the oldest connection gave way")
	}
}

func TestUsersGiveWayToNobody(t *testing.T) {
	c := newCounter(ceiling{2, 2}, ceiling{4, 4}, plenty())
	user := c.connect("192.0.2.1", time.Hour)
	c.know(user.conn, true)
	crowd := c.connect("192.0.2.2", time.Hour)
	newcomer := c.connect("192.0.2.2", 0)
	if user.closed || !crowd.closed || !newcomer.in {
		t.Errorf("closed: user %v, other %v", user.closed, crowd.closed)
	}
	// Strangers have taken all handlers, and keep us busy.
	newcomer.works()
	for c.take(newcomer.conn, ofHandlers, 1) {
	}
	for n := range maxUserHandlers {
		if !c.take(user.conn, ofHandlers, 1) {
			t.Fatalf("no room for request %d of a user", n)
		}
	}
	if c.take(user.conn, ofHandlers, 1) {
		t.Error("a user may have any number of requests")
	}
	// What it has goes with it when it is a user no more, and comes back.
	c.know(user.conn, false)
	if c.users != (usage{}) || c.total[ofHandlers] != 4+maxUserHandlers {
		t.Errorf("users %v, strangers %v", c.users, c.total)
	}
	c.leave(user.conn)
	c.leave(newcomer.conn)
	if c.total != (usage{}) || c.users != (usage{}) || len(c.peers) != 0 {
		t.Errorf("left: %v, %v, %d addresses", c.total, c.users, len(c.peers))
	}
}

// TestTrickledBodies: who holds most of the memory for bodies gives way, and who has none gets some.
func TestTrickledBodies(t *testing.T) {
	c := newCounter(plenty(), plenty(), ceiling{100, 50})
	var crowd []*booked
	for n := range 5 {
		b := c.connect(fmt.Sprintf("192.0.2.%d", n), 0)
		b.waits(time.Duration(n) * time.Millisecond)
		if !c.take(b.conn, ofBodies, 20) {
			t.Fatal("no room")
		}
		crowd = append(crowd, b)
	}
	honest := c.connect("198.51.100.1", 0)
	if !c.take(honest.conn, ofBodies, 4) {
		t.Error("no room for an honest one")
	}
	if !c.take(honest.conn, ofBodies, 4) || c.total[ofBodies] > 100 || !crowd[4].closed || crowd[0].closed {
		t.Errorf("gave way: %v, %v; %v", crowd[4].closed, crowd[0].closed, c.total)
	}
}

func TestPeers(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7", "192.0.2.7": "192.0.2.7", "[::ffff:192.0.2.7]:80": "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64", "[2001:db8:1:2::]:80": "2001:db8:1:2::/64", "[fe80::1%eth0]:80": "fe80::/64",
		"@": "unknown", "": "unknown",
	} {
		if got := peerOf(address).String(); got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
}

func TestPace(t *testing.T) {
	p := pace{grace: 10 * time.Second, stall: 5 * time.Second, rate: 1000}
	start := now()
	for _, tt := range []struct {
		after time.Duration
		moved int64
		want  time.Duration // since the start
	}{
		{0, 0, 5 * time.Second},
		{8 * time.Second, 0, 10 * time.Second},
		{12 * time.Second, 3000, 13 * time.Second},
		{12 * time.Second, 1_000_000, 17 * time.Second},
	} {
		if got := p.deadline(start.Add(tt.after), start, tt.moved).Sub(start); got != tt.want {
			t.Errorf("after %v, %d bytes: %v, want %v", tt.after, tt.moved, got, tt.want)
		}
	}
}
