package server

import (
	"bytes"
	"crypto/tls"
	"net"
)

// A framed connection speaks HTTP/1, in the clear: what is read of it is looked at on its way to
// the standard library's parser, which takes a request with both Content-Length and Transfer-Encoding
// by the latter and forgets the former. Two readers who disagree on which counts find different requests in the
// same bytes (RFC 9112 11.2), so that such a request is refused.
type framed struct {
	net.Conn
	under *conn
	state *tls.ConnectionState // of the TLS below, if there is any
	scan  scanner
}

// stateKey is the context key of the TLS below an HTTP/1 connection.
type stateKey struct{}

func (f *framed) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if n > 0 && f.scan.ambiguous(p[:n]) {
		f.under.ambiguous.Store(true)
	}
	return n, err
}

// A scanner looks for headers with both fields in a stream of requests. It does not know where bodies begin and
// end: it takes lines up to an empty one for a header, so that it finds every header that is
// one, and some that are not: lines in a body that look like both fields. Nothing that is sent here has such lines.
type scanner struct {
	line   []byte // the beginning of the current one
	length bool   // the current header has a Content-Length
	coding bool   // and a Transfer-Encoding
}

// maxFieldName is enough of a line to tell the fields that are looked for.
const maxFieldName = len("Transfer-Encoding:")

// ambiguous reports whether a header that is in p, or ends there, has both fields.
func (s *scanner) ambiguous(p []byte) (found bool) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		if room := maxFieldName - len(s.line); room > 0 {
			s.line = append(s.line, part[:min(room, len(part))]...)
		}
		found = s.look() || found
		if end < 0 {
			return found
		}
		if len(bytes.TrimSuffix(s.line, []byte{'\r'})) == 0 {
			s.length, s.coding = false, false
		}
		s.line = s.line[:0]
		p = p[end+1:]
	}
	return found
}

func (s *scanner) look() bool {
	name, _, colon := bytes.Cut(s.line, []byte{':'})
	if colon {
		s.length = s.length || bytes.EqualFold(name, []byte("Content-Length"))
		s.coding = s.coding || bytes.EqualFold(name, []byte("Transfer-Encoding"))
	}
	return s.length && s.coding
}
