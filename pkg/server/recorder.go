package server

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// A recorder is a ResponseWriter that remembers what the access log wants to know, and does not let
// the peer take its time.
type recorder struct {
	http.ResponseWriter
	x      *Exchange
	status int // 0 until the header is written
	bytes  int64

	start time.Time // of writing
	due   time.Time // by when the connection has been told that bytes have to have moved
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

// maxWrite is how much is written before the peer is looked at again, in bytes, and maxFrame over HTTP/2: each connection
// keeps a buffer as long as the longest frame that it has ever sent.
const (
	maxWrite = 16 << 10
	maxFrame = 4 << 10
)

func (w *recorder) maxWrite() int {
	if w.x.Request.ProtoMajor == 2 {
		return maxFrame
	}
	return maxWrite
}

func (w *recorder) Write(p []byte) (total int, err error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	for first := true; first || len(p) > 0 && err == nil; first = false {
		part := p[:min(len(p), w.maxWrite())]
		w.extend()
		var n int
		w.x.conn.waitFor(w.x, now(), func() { n, err = w.ResponseWriter.Write(part) })
		w.bytes += int64(n)
		total += n
		p = p[n:]
	}
	return total, err
}

// buffers are those of ReadFrom, frames those over HTTP/2.
var (
	buffers = sync.Pool{New: func() any { return new([maxWrite]byte) }}
	frames  = sync.Pool{New: func() any { return new([maxFrame]byte) }}
)

// ReadFrom writes all of src. Package io calls it, whose own buffers would be twice as large.
func (w *recorder) ReadFrom(src io.Reader) (total int64, err error) {
	var buf []byte
	if w.x.Request.ProtoMajor == 2 {
		frame := frames.Get().(*[maxFrame]byte)
		defer frames.Put(frame)
		buf = frame[:]
	} else {
		buffer := buffers.Get().(*[maxWrite]byte)
		defer buffers.Put(buffer)
		buf = buffer[:]
	}
	for {
		n, readErr := src.Read(buf)
		if n > 0 {
			n, err = w.Write(buf[:n])
			total += int64(n)
		}
		switch {
		case err != nil:
			return total, err
		case readErr == io.EOF:
			return total, nil
		case readErr != nil:
			return total, readErr
		}
	}
}

// deliver waits until all of the answer is on its way. Over HTTP/2 that takes the peer to have room for it;
// the standard library would wait for that after the handler has returned, when nobody counts it any more.
func (w *recorder) deliver() {
	if w.x.Request.ProtoMajor < 2 || w.bytes == 0 {
		return
	}
	w.x.conn.waitFor(w.x, now(), func() { _ = http.NewResponseController(w.ResponseWriter).Flush() })
}

// extend gives the peer time for what is written next. Telling the connection costs something, so
// that it is done at most once a second.
func (w *recorder) extend() {
	at := now()
	if w.start.IsZero() {
		w.start = at
	}
	due := w.x.server.cfg.timeouts.reply.deadline(at, w.start, w.bytes)
	if w.due.IsZero() || due.Sub(w.due) > time.Second {
		w.due = due
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(due) // tests have writers without
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
