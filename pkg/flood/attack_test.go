package flood

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A mob holds connections open. Those that the daemon closes are not opened again.
type mob struct {
	mu    sync.Mutex
	conns []net.Conn
	cut   int // that the daemon has closed
}

func newMob(t *testing.T) *mob {
	m := &mob{}
	t.Cleanup(m.disperse)
	return m
}

// hold keeps a connection, and reads what it says, or nothing.
func (m *mob) hold(c net.Conn, listen bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = append(m.conns, c)
	if listen {
		go func() {
			_, _ = io.Copy(io.Discard, c)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.cut++
		}()
	}
}

// cutOff is how many connections the daemon has closed so far.
func (m *mob) cutOff() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cut
}

func (m *mob) disperse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		_ = c.Close()
	}
	m.conns = nil
}

// trickle goes on sending on all connections, a byte at a time, until the test ends.
func (m *mob) trickle(t *testing.T) {
	m.mu.Lock()
	conns := slices.Clone(m.conns)
	m.mu.Unlock()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for {
			for _, c := range conns {
				_, _ = c.Write([]byte("x")) // it may be closed
			}
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
}

// each does something for so many at once, and waits for all.
func each(count int, do func(n int)) {
	var running sync.WaitGroup
	turns := make(chan struct{}, 50)
	for n := range count {
		running.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			do(n)
		})
	}
	running.Wait()
}

// headers is a request of HTTP/2, encoded.
func headers(method, path string, more ...string) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":path", Value: path}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "ca.example.org"},
	} {
		_ = e.WriteField(f) // to memory
	}
	for i := 0; i < len(more); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	return block.Bytes()
}

// h2 opens a connection on which the daemon may send so many bytes of each answer's body.
func (d *target) h2(ip string, window uint32) (net.Conn, *http2.Framer, error) {
	raw, err := from(ip).Dial("tcp", d.https)
	if err != nil {
		return nil, nil, err
	}
	//nolint:gosec // Whose it is does not matter here.
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := c.Handshake(); err != nil {
		_ = raw.Close()
		return nil, nil, err
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return nil, nil, err
	}
	f := http2.NewFramer(c, c)
	return c, f, f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
}

// stall opens streams on a connection, whose answers it does not take.
func (d *target) stall(m *mob, ip string, streams int, window uint32, path string, more ...string) error {
	c, f, err := d.h2(ip, window)
	if err != nil {
		return err
	}
	for n := range streams {
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*n + 1), BlockFragment: headers("GET", path, more...), EndStream: true, EndHeaders: true})
		if err != nil {
			break // it is up to the daemon
		}
	}
	m.hold(c, true)
	return nil
}

// half sends the beginning of a request and nothing more.
func (d *target) half(m *mob, ip, text string) error {
	c, err := from(ip).Dial("tcp", d.http)
	if err != nil {
		return err
	}
	_, _ = io.WriteString(c, text)
	m.hold(c, true)
	return nil
}

// settle waits until the memory of the daemon has stopped growing.
func (d *target) settle() {
	last := int64(0)
	for range 100 {
		now, _ := d.memory()
		if now <= last {
			return
		}
		last = now
		time.Sleep(200 * time.Millisecond) // between two samples: growth is seen over time only
	}
}

func putHeader(length int) string {
	return fmt.Sprintf("PUT /cas/csr HTTP/1.1\r\nHost: ca.example.org\r\nContent-Length: %d\r\n\r\n", length)
}
