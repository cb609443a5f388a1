package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"cauase/pkg/audit"
)

// asks has a connection begin a request of HTTP/1, which takes its place.
func (c *counter) asks(t *testing.T, b *booked) *Exchange {
	t.Helper()
	x := b.works()
	x.Request, x.conn = &http.Request{ProtoMajor: 1}, b.conn
	if !c.take(b.conn, ofHandlers, 1) {
		t.Fatal("no place for a request")
	}
	x.handlers = 1
	return x
}

// done ends a request as the server does.
func (c *counter) done(x *Exchange) {
	c.give(x.conn, ofHandlers, x.handlers)
	c.settle(x)
	x.conn.end(x)
}

func newWaitingRoom(connections, handlers, waiting ceiling) *counter {
	c := newCounter(connections, handlers, plenty())
	c.ceilings[ofWaiting] = waiting
	return c
}

// TestWaitingTakesNoPlace: who waits for news keeps nobody from asking or connecting, and nobody has to make
// room for who has waited.
func TestWaitingTakesNoPlace(t *testing.T) {
	c := newWaitingRoom(ceiling{2, 2}, ceiling{4, 4}, ceiling{10, 10})
	var waiting []*Exchange
	for range 10 {
		x := c.asks(t, c.connect("192.0.2.1", 0))
		if !c.park(x) {
			t.Fatal("no room to wait")
		}
		waiting = append(waiting, x)
	}
	if c.total[ofConnections] != 0 || c.total[ofHandlers] != 0 || c.waiting() != 10 {
		t.Errorf("%+v", c.total)
	}
	newcomer := c.connect("192.0.2.2", 0)
	if x := c.asks(t, newcomer); !newcomer.in || c.reasons["connections_evicted"] != 0 {
		t.Errorf("the newcomer is in: %v, %v", newcomer.in, c.reasons)
	} else {
		c.done(x)
	}

	// Half of the places are for who goes on, one after the other.
	inTurn := 0
	for _, x := range waiting {
		if c.resume(x, func() bool { return false }) {
			inTurn++
		}
	}
	if inTurn != 2 || c.total[ofHandlers] != 2 {
		t.Errorf("%d go on at once, %+v", inTurn, c.total)
	}
	for _, x := range waiting {
		c.unpark(x)
		c.done(x)
	}
	// Between two waits their connections stay where they are; who does something else comes back.
	if c.waiting() != 10 || c.total[ofHandlers] != 0 || c.total[ofConnections] != 1 {
		t.Errorf("%+v", c.total)
	}
	c.done(c.asks(t, &booked{conn: waiting[0].conn}))
	if c.waiting() != 9 || c.total[ofConnections] != 2 {
		t.Errorf("%+v", c.total)
	}
	for _, x := range waiting {
		c.leave(x.conn)
	}
	if c.total != (usage{ofConnections: 1}) || len(c.peers) != 1 {
		t.Errorf("left behind: %+v, %d addresses", c.total, len(c.peers))
	}
}

// TestStreamsThatWait: a connection of HTTP/2 counts as one, however many of its streams wait, and can be made to give way.
func TestStreamsThatWait(t *testing.T) {
	c := newWaitingRoom(ceiling{1, 1}, ceiling{4, 4}, ceiling{10, 10})
	one := c.connect("192.0.2.1", 0)
	for range 3 {
		x := c.asks(t, one)
		x.Request.ProtoMajor = 2
		if !c.park(x) {
			t.Fatal("no room to wait")
		}
	}
	if c.total != (usage{ofConnections: 1, ofWaiting: 3}) {
		t.Errorf("%+v", c.total)
	}
	if newcomer := c.connect("192.0.2.2", 0); !newcomer.in || !one.closed || c.waiting() != 0 {
		t.Errorf("in: %v, %+v", newcomer.in, c.total)
	}
}

func TestRoomToWait(t *testing.T) {
	c := newWaitingRoom(plenty(), plenty(), ceiling{4, 3})
	var all []*Exchange
	park := func(ip string) bool {
		x := c.asks(t, c.connect(ip, 0))
		all = append(all, x)
		return c.park(x)
	}
	for range 3 {
		if !park("192.0.2.1") {
			t.Fatal("no room to wait")
		}
	}
	if park("192.0.2.1") || c.reasons["waiting_per_address_refused"] != 1 {
		t.Errorf("an address has more than its part: %v", c.reasons)
	}
	if !park("192.0.2.2") || !park("192.0.2.3") || c.waiting() != 4 || c.reasons["waiting_shed"] != 1 {
		t.Errorf("who has most does not give way: %v", c.reasons)
	}
	shed := 0
	for _, x := range all[:3] {
		select {
		case <-x.shed:
			shed++
		default:
		}
	}
	if shed != 1 || c.total[ofConnections] != 2 { // that one, and the one that was refused
		t.Errorf("%d were told, %+v", shed, c.total)
	}
	if park("192.0.2.4"); c.waiting() != 4 {
		t.Errorf("%d wait", c.waiting())
	}
	if park("192.0.2.5") {
		t.Error("equals push each other out")
	}
}

// TestWhoWaitsGivesWayFirst: when a newcomer has to push somebody out, one that only waits is told to come later, and nobody
// begins to wait.
func TestWhoWaitsGivesWayFirst(t *testing.T) {
	c := newWaitingRoom(ceiling{1, 1}, plenty(), ceiling{9, 9})
	waits := c.asks(t, c.connect("192.0.2.1", 0))
	if !c.park(waits) {
		t.Fatal("no room to wait")
	}
	c.connect("192.0.2.2", time.Hour)
	newcomer := c.connect("192.0.2.3", 0)
	select {
	case <-waits.shed:
	default:
		t.Error("goes on waiting")
	}
	if !newcomer.in || c.waiting() != 1 {
		t.Errorf("the newcomer is in: %v, %+v", newcomer.in, c.total)
	}
	if c.park(c.asks(t, newcomer)) {
		t.Error("somebody may begin to wait")
	}
	// When its peer has been told, it is a connection as any other.
	if c.done(waits); c.waiting() != 0 || c.total[ofConnections] != 2 {
		t.Errorf("%+v", c.total)
	}
	c.strained = now().Add(-strainLasts)
	if !c.park(c.asks(t, newcomer)) {
		t.Error("nobody may when it is over")
	}
}

// TestAwait is for the outcomes that a handler sees.
func TestAwait(t *testing.T) {
	news := make(chan struct{})
	answered := make(chan error, 1)
	outcomes := make(chan Outcome, 10)
	limit := time.Minute
	s := newSite(t, func(c *Config) {
		c.Limits = Limits{Waiting: 1}
		c.FrontEnds = []FrontEnd{&shop{routes: []Route{{Method: "GET", Path: "news", Access: Anyone, Origin: noRule, Handler: func(x *Exchange) (Perform, error) {
			return func(ctx context.Context, _ audit.Actor) error {
				outcome, _ := x.Await(ctx, news, limit)
				outcomes <- outcome
				if outcome == Shed {
					x.Later()
				}
				return x.NotModified(`"1"`)
			}, nil
		}}}}}
	})
	ask := func() error {
		response, err := http.Get("http://" + s.httpAddr + "/news")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if later := response.Header.Get("Retry-After"); response.StatusCode != 304 || response.Header.Get("ETag") != `"1"` {
			return fmt.Errorf("status %d, retry after %q", response.StatusCode, later)
		} else if later != "" {
			return errors.New("later")
		}
		return nil
	}
	go func() { answered <- ask() }()
	for s.server.Waiting() == 0 {
		time.Sleep(time.Millisecond) // nothing tells of it but asking
	}
	if err := ask(); err == nil || err.Error() != "later" || <-outcomes != Shed {
		t.Errorf("where there is no room: %v", err)
	}
	close(news)
	if err := <-answered; err != nil || <-outcomes != News {
		t.Errorf("at the news: %v", err)
	}
	news, limit = make(chan struct{}), time.Millisecond
	if err := ask(); err != nil || <-outcomes != TimeUp {
		t.Errorf("when time is up: %v", err)
	}
}
