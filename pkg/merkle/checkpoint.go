package merkle

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A Checkpoint says of a log how long it was at some time, and by the root what it held.
type Checkpoint struct {
	Origin string // of which log: OriginPrefix and 16 hexadecimal digits
	Size   int64
	Root   Hash
	Time   time.Time // in seconds
	Epoch  int64     // 1 at first; each restore from a backup adds one
}

const (
	// OriginPrefix is how the origins of our logs begin.
	OriginPrefix = "cauase.log/"
	// maxOrigin bounds an origin, in bytes.
	maxOrigin = 255
	// MaxCheckpoint bounds a checkpoint with its signatures, in bytes.
	MaxCheckpoint = 8 << 10
	// maxTime bounds times: the end of the year 9999.
	maxTime = 253402300799
)

// ErrSignature means that a checkpoint is not signed by the key of the log that it is of.
var ErrSignature = errors.New("merkle: the checkpoint is not signed by the key of the log")

// Marshal is the text that is signed: that of C2SP tlog-checkpoint, with two extension lines.
func (c Checkpoint) Marshal() []byte {
	b := append([]byte(c.Origin), '\n')
	b = append(strconv.AppendInt(b, c.Size, 10), '\n')
	b = append(base64.StdEncoding.AppendEncode(b, c.Root[:]), "\ntime "...)
	b = append(strconv.AppendInt(b, c.Time.Unix(), 10), "\nepoch "...)
	return append(strconv.AppendInt(b, c.Epoch, 10), '\n')
}

// ParseCheckpoint reads the text of a checkpoint, without signatures. Extension lines after ours are passed over, as
// C2SP tlog-checkpoint has it.
func ParseCheckpoint(text []byte) (c Checkpoint, err error) {
	lines := strings.Split(string(text), "\n")
	if len(text) > MaxCheckpoint || len(lines) < 6 || lines[len(lines)-1] != "" {
		return c, malformed("a checkpoint of %d bytes and %d lines", len(text), len(lines)-1)
	}
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			return c, malformed("a checkpoint with an empty line")
		}
	}
	c.Origin = lines[0]
	if !validOrigin(c.Origin) {
		return c, malformed("a checkpoint whose first line names no log")
	}
	seconds := int64(0)
	for _, n := range []struct {
		name, prefix, line string
		max                int64
		into               *int64
	}{
		{"size", "", lines[1], MaxSize, &c.Size},
		{"time", "time ", lines[3], maxTime, &seconds},
		{"epoch", "epoch ", lines[4], MaxSize, &c.Epoch},
	} {
		if *n.into, err = number(n.line, n.prefix, n.max); err != nil {
			return Checkpoint{}, malformed("a checkpoint whose %s %v", n.name, err)
		}
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != HashSize || strings.ContainsAny(lines[2], "\r\n") {
		return Checkpoint{}, malformed("a checkpoint whose root is not a hash in base64")
	}
	c.Root, c.Time = Hash(root), time.Unix(seconds, 0).UTC()
	if c.Size == 0 && c.Root != EmptyRoot() {
		return Checkpoint{}, malformed("a checkpoint of an empty tree with a root of another one")
	}
	return c, nil
}

// number reads a decimal number in the one form that it has.
func number(line, prefix string, most int64) (int64, error) {
	digits, found := strings.CutPrefix(line, prefix)
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case !found:
		return 0, errors.New("is missing")
	case err != nil || n < 0 || strconv.FormatInt(n, 10) != digits:
		return 0, errors.New("is not a number")
	case n > most:
		return 0, errors.New("is too large")
	}
	return n, nil
}

// validOrigin reports whether a text can be the name of a key, and a line.
func validOrigin(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '+' {
			return false
		}
	}
	return s != "" && len(s) <= maxOrigin
}

// A Key is the public key of a log, by which its checkpoints are verified.
type Key struct {
	Origin string
	Public ed25519.PublicKey
}

// String is the key in the form of golang.org/x/mod/sumdb/note: origin, hash, and key in base64.
func (k Key) String() string {
	text, err := k.encode()
	if err != nil {
		return "no key"
	}
	return text
}

func (k Key) encode() (string, error) {
	if !validOrigin(k.Origin) || len(k.Public) != ed25519.PublicKeySize {
		return "", malformed("the key of a log")
	}
	return note.NewEd25519VerifierKey(k.Origin, k.Public)
}

func (k Key) verifier() (note.Verifier, error) {
	text, err := k.encode()
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(text)
}

// ParseKey reads what String has written.
func ParseKey(text string) (Key, error) {
	if len(text) > 2*maxOrigin {
		return Key{}, malformed("the key of a log")
	}
	parts := strings.SplitN(text, "+", 3)
	var raw []byte
	if len(parts) == 3 {
		raw, _ = base64.StdEncoding.DecodeString(parts[2]) // compared below
	}
	if len(raw) != 1+ed25519.PublicKeySize {
		return Key{}, malformed("the key of a log")
	}
	k := Key{parts[0], raw[1:]}
	if again, err := k.encode(); err != nil || again != text {
		return Key{}, malformed("the key of a log")
	}
	return k, nil
}

// A noteSigner signs notes with an Ed25519 key, wherever that is.
type noteSigner struct {
	note.Verifier
	key crypto.Signer
}

func (s noteSigner) Sign(msg []byte) ([]byte, error) {
	return s.key.Sign(nil, msg, crypto.Hash(0)) // Ed25519 needs no random numbers
}

// SignCheckpoint returns the checkpoint as a note signed by key, which is an Ed25519 key.
func SignCheckpoint(c Checkpoint, key crypto.Signer) ([]byte, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("merkle: the key of a log is an Ed25519 key, not a %T", key.Public())
	}
	text := c.Marshal()
	if _, err := ParseCheckpoint(text); err != nil {
		return nil, err // nobody could read it
	}
	v, err := Key{c.Origin, public}.verifier()
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: string(text)}, noteSigner{v, key})
}

// OpenCheckpoint reads a signed checkpoint of the log with this key. Signatures of others are passed over.
func OpenCheckpoint(signed []byte, key Key) (Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, malformed("a checkpoint of %d bytes", len(signed))
	}
	v, err := key.verifier()
	if err != nil {
		return Checkpoint{}, err
	}
	n, err := note.Open(signed, note.VerifierList(v))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified), errors.As(err, &invalid):
		return Checkpoint{}, ErrSignature
	case err != nil:
		return Checkpoint{}, malformed("a checkpoint that is not a signed note")
	}
	c, err := ParseCheckpoint([]byte(n.Text))
	if err == nil && c.Origin != key.Origin {
		return Checkpoint{}, ErrSignature // a statement about another log
	}
	return c, err
}

// ReadCheckpoint reads a signed checkpoint without verifying who has signed it.
func ReadCheckpoint(signed []byte) (Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, malformed("a checkpoint of %d bytes", len(signed))
	}
	n, err := note.Open(signed, nil)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		n, err = unverified.Note, nil
	}
	if err != nil {
		return Checkpoint{}, malformed("a checkpoint that is not a signed note")
	}
	return ParseCheckpoint([]byte(n.Text))
}
