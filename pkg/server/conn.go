package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A conn is a connection that the ledger knows, as it comes from the listener.
type conn struct {
	net.Conn
	peer   peer
	ledger *ledger

	// Of the ledger, whose lock guards them.
	account   *account
	has       usage
	user      bool
	aside     bool        // does nothing but wait for news, and counts as that
	idleSince time.Time   // when it last had nothing to do
	exchanges []*Exchange // that are being answered

	judged    atomic.Bool  // whether its certificate is a user's has been looked up
	ambiguous atomic.Bool  // see framed
	refusing  atomic.Int32 // answers under way that there is no room

	// What is read is counted while it must not be much: before the handshake is done, and while
	// nothing can be written.
	mu       sync.Mutex
	changed  sync.Cond // a write has ended, or everything has
	budget   int       // that is left before the handshake is done
	shaken   bool
	writing  int // writes under way
	answered int // what was read during these
	closed   bool
}

func newConn(c net.Conn, l *ledger, secure bool) *conn {
	made := &conn{Conn: c, ledger: l, peer: peerOf(c.RemoteAddr().String()), budget: maxHandshake, shaken: !secure}
	made.changed.L = &made.mu
	return made
}

var errHandshakeTooLong = errors.New("server: too much was sent before the handshake was done")

// Read reads what the peer may send at this moment.
func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	for c.writing > 0 && c.answered >= maxUnanswered && !c.closed {
		c.changed.Wait()
	}
	if !c.shaken && c.budget <= 0 {
		c.mu.Unlock()
		return 0, errHandshakeTooLong
	}
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.shaken {
		c.budget -= n
	}
	if c.writing > 0 {
		c.answered += n
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writing++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.writing--
		c.answered = 0
		c.changed.Broadcast()
	}()
	return c.Conn.Write(p)
}

// Close closes the connection, which leaves the ledger.
func (c *conn) Close() error {
	c.ledger.leave(c)
	return c.shut()
}

// shut closes the connection for the ledger, which has taken it out.
func (c *conn) shut() error {
	c.mu.Lock()
	c.closed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	return c.Conn.Close()
}

func (c *conn) handshakeDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shaken = true
}

// waiting reports whether all that the connection is for at the moment is to wait for its peer, and
// since when for what has taken longest. The ledger's lock is held.
func (c *conn) waiting() (bool, time.Time) {
	if len(c.exchanges) == 0 {
		return true, c.idleSince
	}
	var since time.Time
	for _, x := range c.exchanges {
		if x.waitsSince.IsZero() {
			return false, since
		}
		if since.IsZero() || x.waitsSince.Before(since) {
			since = x.waitsSince
		}
	}
	return true, since
}

// begin and end frame an exchange on the connection. For requests that came over none they do nothing.
func (c *conn) begin(x *Exchange) {
	if c == nil {
		return
	}
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	c.exchanges = append(c.exchanges, x)
}

func (c *conn) end(x *Exchange) {
	if c == nil {
		return
	}
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	c.exchanges = slices.DeleteFunc(c.exchanges, func(other *Exchange) bool { return other == x })
	if len(c.exchanges) == 0 {
		c.idleSince = now()
	}
}

// waitFor has x wait for its peer while f runs, since a time if that is given, which it returns.
func (c *conn) waitFor(x *Exchange, since time.Time, f func()) {
	if c == nil {
		f()
		return
	}
	c.set(x, since)
	defer c.set(x, time.Time{})
	f()
}

func (c *conn) set(x *Exchange, since time.Time) {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	x.waitsSince = since
}

// connKey is the context key of the connection that a request came over.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	switch of := c.(type) {
	case *tls.Conn:
		ctx = context.WithValue(ctx, connKey{}, of.NetConn())
	case *framed:
		ctx = context.WithValue(ctx, connKey{}, of.under)
		ctx = context.WithValue(ctx, stateKey{}, of.state)
	}
	return ctx
}

// connOf returns the connection that a request came over, nil if there is none.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}
