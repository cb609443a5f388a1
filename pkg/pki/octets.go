package pki

import (
	"encoding/base64"
	"io"
	"slices"
)

// Octets are a text in parts: long ones that several texts have in common need not be copied into each. The
// parts are not to be changed.
type Octets [][]byte

// Size is how many octets there are.
func (o Octets) Size() (n int64) {
	for _, part := range o {
		n += int64(len(part))
	}
	return n
}

// Join returns all of them in one piece, which is a copy.
func (o Octets) Join() []byte { return slices.Concat(o...) }

// ReadAt is that of io.ReaderAt.
func (o Octets) ReadAt(p []byte, at int64) (n int, err error) {
	for _, part := range o {
		if at >= int64(len(part)) {
			at -= int64(len(part))
			continue
		}
		n += copy(p[n:], part[at:])
		at = 0
		if n == len(p) {
			return n, nil
		}
	}
	return n, io.EOF
}

// A PEMText is octets as a PEM block that is encoded as it is read.
type PEMText struct {
	of           Octets
	begin, end   string
	size, length int64 // of the octets, and of the text between begin and end
}

// CRLText is the PEM of a revocation list, byte for byte that of EncodeCRLPEM.
func CRLText(der Octets) PEMText {
	t := PEMText{of: der, begin: "-----BEGIN " + typeCRL + "-----\n", end: "-----END " + typeCRL + "-----\n", size: der.Size()}
	t.length = int64(base64.StdEncoding.EncodedLen(int(t.size)))
	t.length += (t.length + pemLine - 1) / pemLine // line ends
	return t
}

const (
	pemLine  = 64              // characters on a line
	pemBytes = pemLine / 4 * 3 // octets that they stand for
	pemLines = 64              // how many are encoded at a time
)

// Size is how long the text is.
func (t PEMText) Size() int64 { return int64(len(t.begin)) + t.length + int64(len(t.end)) }

// ReadAt is that of io.ReaderAt.
func (t PEMText) ReadAt(p []byte, at int64) (n int, err error) {
	if begin := int64(len(t.begin)); at < begin {
		n = copy(p, t.begin[at:])
		at = begin
	}
	at -= int64(len(t.begin))
	for n < len(p) && at < t.length {
		moved := t.readLines(p[n:], at)
		n, at = n+moved, at+int64(moved)
	}
	if at -= t.length; n < len(p) && at < int64(len(t.end)) {
		n += copy(p[n:], t.end[at:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readLines reads some of the text between begin and end.
func (t PEMText) readLines(p []byte, at int64) int {
	first := at / (pemLine + 1)
	var octets [pemLines * pemBytes]byte
	count, _ := t.of.ReadAt(octets[:], first*pemBytes)
	var text [pemLines * (pemLine + 1)]byte
	end := 0
	for from := 0; from < count; from += pemBytes {
		line := octets[from:min(from+pemBytes, count)]
		base64.StdEncoding.Encode(text[end:], line)
		end += base64.StdEncoding.EncodedLen(len(line))
		text[end] = '\n'
		end++
	}
	return copy(p, text[at-first*(pemLine+1):end])
}
