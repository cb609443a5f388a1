package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// An endpoint is where requests go, over TLS if there is a configuration.
type endpoint struct {
	address string
	tls     *tls.Config
}

// A connection carries HTTP/1.x. Requests are bytes that were written before the clock started, and of an answer only
// what is checked is read: the client shares the processors with the server, and must cost little.
type connection struct {
	net.Conn
	r *bufio.Reader
}

// An answer is what a server says.
type answer struct {
	status   int
	location string
	etag     string
	body     []byte
	last     bool // the server closes the connection
}

// dial connects. All that is done on the connection has to be done before ctx ends.
func (e *endpoint) dial(ctx context.Context) (*connection, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", e.address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if e.tls != nil {
		secured := tls.Client(conn, e.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = secured
	}
	return &connection{conn, bufio.NewReaderSize(conn, 8<<10)}, nil
}

// ask sends a request and reads the answer.
func (c *connection) ask(request []byte) (answer, error) {
	if _, err := c.Write(request); err != nil {
		return answer{}, err
	}
	a, length, err := c.head()
	if err != nil {
		return answer{}, fmt.Errorf("reading an answer: %w", err)
	}
	if bytes.HasPrefix(request, []byte("HEAD ")) || a.status == 204 || a.status == 304 {
		return a, nil
	}
	switch {
	case length >= 0:
		a.body = make([]byte, length)
		_, err = io.ReadFull(c.r, a.body)
	case length == chunked:
		a.body, err = c.chunks()
	default:
		a.last = true
		a.body, err = io.ReadAll(c.r)
	}
	return a, err
}

// Lengths of answers that do not say how long they are.
const (
	untilEnd = -1
	chunked  = -2
)

// head reads up to the empty line.
func (c *connection) head() (a answer, length int, err error) {
	length = untilEnd
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return a, 0, err
	}
	// HTTP/1.1 200 OK
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return a, 0, fmt.Errorf("%.40q is no status line", line)
	}
	a.last = line[7] == '0'
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, 0, err
	}
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return a, 0, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			return a, length, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return a, 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			length = chunked
		case bytes.EqualFold(name, []byte("Location")):
			a.location = string(value)
		case bytes.EqualFold(name, []byte("ETag")):
			a.etag = string(value)
		case bytes.EqualFold(name, []byte("Connection")):
			a.last = a.last || bytes.EqualFold(value, []byte("close"))
		}
	}
}

// chunks reads a body of RFC 9112 7.1, without trailers.
func (c *connection) chunks() ([]byte, error) {
	var body []byte
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return nil, err
		}
		from := len(body)
		body = append(body, make([]byte, size+2)...) // and the end of line behind it
		if _, err := io.ReadFull(c.r, body[from:]); err != nil {
			return nil, err
		}
		body = body[:len(body)-2]
		if size == 0 {
			return body, nil
		}
	}
}

// request writes a request. Without a body there is a length all the same where a method may have one.
func request(method, path, host, contentType string, body []byte) []byte {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	if contentType != "" {
		head += "Content-Type: " + contentType + "\r\n"
	}
	if method != "GET" && method != "HEAD" {
		head += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return append([]byte(head+"\r\n"), body...)
}

// A client is one of those that load a server at once. It is not for use by several goroutines.
type client struct {
	number int
	ctx    context.Context
	kept   map[*endpoint]*connection
}

func newClient(ctx context.Context, number int) *client {
	return &client{number: number, ctx: ctx, kept: map[*endpoint]*connection{}}
}

// ask sends a request on a connection that is kept, and expects a status.
func (c *client) ask(e *endpoint, request []byte, want int) (answer, error) {
	conn := c.kept[e]
	if conn == nil {
		var err error
		if conn, err = e.dial(c.ctx); err != nil {
			return answer{}, err
		}
		c.kept[e] = conn
	}
	a, err := conn.ask(request)
	if err != nil || a.last {
		conn.Close()
		delete(c.kept, e)
	}
	return expectStatus(a, err, request, want)
}

// askOnce sends a request on a connection of its own.
func (c *client) askOnce(e *endpoint, request []byte, want int) (answer, error) {
	conn, err := e.dial(c.ctx)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	a, err := conn.ask(request)
	return expectStatus(a, err, request, want)
}

func expectStatus(a answer, err error, request []byte, want int) (answer, error) {
	line, _, _ := bytes.Cut(request, []byte("\r\n"))
	switch {
	case err != nil:
		return a, fmt.Errorf("%.100s: %w", line, err)
	case a.status != want:
		return a, fmt.Errorf("%.100s: status %d, want %d: %.300s", line, a.status, want, a.body)
	}
	return a, nil
}

// connect opens the connections that are kept, before the clock starts.
func (c *client) connect(endpoints ...*endpoint) error {
	for _, e := range endpoints {
		if c.kept[e] == nil {
			conn, err := e.dial(c.ctx)
			if err != nil {
				return err
			}
			c.kept[e] = conn
		}
	}
	return nil
}

func (c *client) close() {
	for _, conn := range c.kept {
		conn.Close()
	}
	clear(c.kept)
}

// once asks a server that nobody measures.
func (e *endpoint) once(ctx context.Context, request []byte, want int) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return newClient(ctx, 0).askOnce(e, request, want)
}
