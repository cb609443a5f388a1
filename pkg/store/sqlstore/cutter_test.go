package sqlstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A fate is what happens to a commit on its way.
type fate int

const (
	arrives    fate = iota
	cutBefore       // the connection is lost before the server hears of it
	cutDuring       // the server hears of it, the client not of the server
	cutAfter        // the client hears the answer, then the connection is lost
	cutLate         // the client loses the connection, the server hears of it later
	vanishes        // the server hears nothing, and nobody of a lost connection
	fateNumber      // how many there are
)

// A cutter is a proxy before PostgreSQL, without TLS, that knows a commit when it sees one.
type cutter struct {
	t        testing.TB
	listener net.Listener
	server   string
	decide   func() fate // asked at each commit
	late     time.Duration
	arrived  atomic.Int64 // what was late
	cuts     [fateNumber]atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	group sync.WaitGroup
}

func newCutter(t testing.TB, server string, decide func() fate) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{t: t, listener: l, server: server, decide: decide, late: 300 * time.Millisecond, conns: make(map[net.Conn]bool)}
	c.group.Go(c.accept)
	t.Cleanup(c.close)
	return c
}

// through returns dsn with the cutter in place of the server.
func (c *cutter) through(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		c.t.Fatal(err)
	}
	u.Host = c.listener.Addr().String()
	return u.String()
}

func (c *cutter) close() {
	_ = c.listener.Close()
	c.mu.Lock()
	for conn := range c.conns {
		_ = conn.Close()
	}
	c.mu.Unlock()
	c.group.Wait()
}

func (c *cutter) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[conn] = true
}

func (c *cutter) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.add(client)
		c.add(server)
		pair := &pair{c: c, client: client, server: server}
		c.group.Go(pair.forth)
		c.group.Go(pair.back)
	}
}

// A pair is one client's connection and its continuation.
type pair struct {
	c              *cutter
	client, server net.Conn
	commit         []byte      // the name of the prepared COMMIT
	last           atomic.Bool // the next answer is the last
}

var errCut = errors.New("cut")

// forth copies messages to the server until it is time to cut.
func (p *pair) forth() {
	var err error
	for first := true; err == nil; first = false {
		var batch []byte
		commits := false
		for whole := false; !whole && err == nil; {
			var message []byte
			if message, err = read(p.client, first); err == nil {
				batch = append(batch, message...)
				commits = commits || p.commits(message)
				whole = first || !bytes.Contains([]byte("PBDEC"), message[:1]) // what else there is ends a batch
			}
		}
		switch {
		case err != nil:
		case commits:
			err = p.meet(p.c.decide(), batch)
		default:
			_, err = p.server.Write(batch)
		}
	}
	if !errors.Is(err, errCut) {
		_ = p.client.Close()
		_ = p.server.Close()
	}
}

// read takes one message. The first has no type.
func read(from io.Reader, first bool) ([]byte, error) {
	head := make([]byte, 5)
	if first {
		head = head[:4]
	}
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[len(head)-4:])
	message := append(head, make([]byte, length-4)...)
	_, err := io.ReadFull(from, message[len(head):])
	return message, err
}

// commits reports whether a message runs COMMIT, and notes which prepared statement is one.
func (p *pair) commits(message []byte) bool {
	if message[0] == 'P' {
		if name, rest, _ := bytes.Cut(message[5:], []byte{0}); bytes.HasPrefix(rest, []byte("COMMIT\x00")) {
			p.commit = bytes.Clone(name)
		}
	}
	return message[0] == 'B' && p.commit != nil && bytes.Contains(message, append([]byte{0}, append(p.commit, 0)...))
}

// meet has a batch that ends in a commit meet its fate.
func (p *pair) meet(f fate, batch []byte) error {
	p.c.cuts[f].Add(1)
	switch f {
	case cutBefore:
		return io.EOF
	case cutAfter:
		p.last.Store(true)
	case vanishes:
		_, _ = io.Copy(io.Discard, p.client) // until the client loses patience
		return errCut                        // the server is left to itself
	case cutDuring:
		_ = p.client.Close()
	case cutLate:
		_ = p.client.Close()
		time.Sleep(p.c.late) // the delay on the line that is being simulated
	}
	_, err := p.server.Write(batch)
	if f == cutLate {
		p.c.arrived.Add(1)
	}
	if f == cutDuring || f == cutLate {
		_ = p.server.Close() // it still hears what was said
		return errCut
	}
	return err
}

// back copies answers to the client.
func (p *pair) back() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := p.server.Read(buffer)
		if err == nil {
			_, err = p.client.Write(buffer[:n])
		}
		if err != nil || p.last.Load() && bytes.Contains(buffer[:n], []byte("COMMIT\x00")) {
			_ = p.client.Close()
			if p.last.Load() {
				_ = p.server.Close()
			}
			return
		}
	}
}
