package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"cauase/pkg/pki"
)

// An entrance is a listener whose connections the ledger lets in. Behind a secure one they come out
// when the handshake is done.
type entrance struct {
	net.Listener
	ledger *ledger
	log    *slog.Logger

	config  *tls.Config // nil: HTTP in the clear
	timeout time.Duration
	rate    *handshakeRate // nil: no limit

	start, end sync.Once

	done   chan struct{}
	out    chan net.Conn // never closed: handshakes may be under way that end later
	failed chan struct{}
	err    error // why the listener accepts no more, once failed is closed
}

func newEntrance(l net.Listener, s *Server, config *tls.Config) *entrance {
	return &entrance{Listener: l, ledger: s.ledger, log: s.log, config: config, timeout: s.cfg.timeouts.header, rate: s.handshakes,
		done: make(chan struct{}), out: make(chan net.Conn), failed: make(chan struct{})}
}

// Accept returns the next connection that may speak HTTP. A crowd is never waited for: who has no
// room finds the connection closed.
func (e *entrance) Accept() (net.Conn, error) {
	if e.config == nil {
		return e.accept()
	}
	e.start.Do(func() { go e.admit() })
	select {
	case c := <-e.out:
		return c, nil
	case <-e.failed:
		return nil, e.err
	case <-e.done:
		return nil, net.ErrClosed
	}
}

func (e *entrance) accept() (net.Conn, error) {
	for {
		raw, err := e.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := newConn(raw, e.ledger, e.config != nil)
		if !e.ledger.join(c) {
			_ = raw.Close()
			continue
		}
		if e.config != nil {
			return c, nil
		}
		return &framed{Conn: c, under: c}, nil
	}
}

// acceptPause is how long an entrance waits after a failure that may pass, such as too many open files.
const acceptPause = 50 * time.Millisecond

// admit does handshakes until the listener fails or is closed.
func (e *entrance) admit() {
	for {
		c, err := e.accept()
		switch {
		case err == nil:
			e.begin(c.(*conn))
		case passes(err):
			e.log.Warn("http", "message", "accept: "+pki.EscapeText(err.Error()))
			time.Sleep(acceptPause)
		default:
			e.err = err
			close(e.failed)
			return
		}
	}
}

// begin has a handshake begin when it is c's turn.
func (e *entrance) begin(c *conn) {
	wait, ok := e.rate.turn(c.RemoteAddr().String(), now())
	switch {
	case !ok:
		e.ledger.refused("handshakes_refused")
		_ = c.Close()
	case wait <= 0:
		go e.handshake(c)
	default:
		e.ledger.refused("handshakes_delayed")
		time.AfterFunc(wait, func() { e.handshake(c) }) // of one that has given way to another meanwhile it ends at once
	}
}

// passes reports whether accepting may work again in a moment: a connection was given up before it was accepted, or
// too much is open or needed just now.
func passes(err error) bool {
	for _, passing := range []error{syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// handshake passes a connection on when its handshake is done: to HTTP/2 as it is, and to HTTP/1 as one that
// is looked at.
func (e *entrance) handshake(under *conn) {
	secure := tls.Server(under, e.config)
	ctx, cancel := context.WithTimeout(context.Background(), e.timeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		e.log.Debug("http", "message", pki.EscapeText("TLS handshake error from "+under.RemoteAddr().String()+": "+err.Error()))
		var record tls.RecordHeaderError
		if errors.As(err, &record) && record.Conn != nil && speaksHTTP(record.RecordHeader) {
			_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
		}
		_ = under.Close()
		return
	}
	under.handshakeDone()
	var out net.Conn = secure
	if state := secure.ConnectionState(); state.NegotiatedProtocol != "h2" {
		out = &framed{Conn: secure, under: under, state: &state}
	}
	select {
	case e.out <- out:
	case <-e.failed:
		_ = out.Close()
	case <-e.done:
		_ = out.Close()
	}
}

// speaksHTTP reports whether what came in place of a TLS record begins a request.
func speaksHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET":
		return true
	}
	return false
}

// Close ends Accept, and closes what nobody will accept any more.
func (e *entrance) Close() error {
	err := e.Listener.Close()
	e.end.Do(func() { close(e.done) })
	return err
}
