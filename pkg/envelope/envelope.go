// Package envelope reads and writes the signed JSON messages by which certificate
// holders renew and revoke, and by which an old CA certificate vouches for its
// successor:
//
//	{"payload": "<JSON text>", "digest": "sha256", "signature": "<base64>"}
//
// The signature covers the payload string, in UTF-8 and as decoded from its JSON
// string, then the name of the digest, then one space. What the payload means is
// another question (see [DecodeRenewal] and its siblings), and so is whether the
// signing key may be trusted: nothing here looks at certificates.
package envelope

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/pki"
)

// Limits on what is accepted.
const (
	// MaxSize bounds the JSON of an envelope or of a list of them, in bytes.
	MaxSize = 10 << 20
	// MaxList bounds the envelopes in a list: a CA that rolls over weekly takes
	// nineteen years to get there.
	MaxList = 1000

	// maxDepth is far above what any message needs, a list of objects of strings.
	maxDepth = 8
	// maxSignature is twice what RSA 8192 makes, the longest there is.
	maxSignature = 2048
)

// ErrInvalid is what every refused message is. It is also a [pki.ErrInvalid], so that
// one case handles both.
var ErrInvalid = fmt.Errorf("message: %w", pki.ErrInvalid)

// ErrBadSignature says that a well-formed envelope was not signed with the given key,
// or not signed at all.
var ErrBadSignature = errors.New("envelope: signature does not verify")

// An Error says why a message was refused. It is an [ErrInvalid].
type Error struct {
	What string // "envelope", "renewal", …
	Why  string // printable whatever the message was
}

func (e *Error) Error() string { return e.What + ": " + e.Why }

// Is makes errors.Is hold for ErrInvalid and pki.ErrInvalid.
func (e *Error) Is(target error) bool { return target == ErrInvalid || target == pki.ErrInvalid }

// maxReason bounds a message, in bytes. The JSON parser quotes member names.
const maxReason = 200

func refuse(what, format string, args ...any) *Error {
	why := fmt.Sprintf(format, args...)
	if len(why) > maxReason {
		// A rune cut in half is escaped like any other invalid UTF-8.
		why = why[:maxReason] + "…"
	}
	return &Error{What: what, Why: pki.EscapeText(why)}
}

// An Envelope is a parsed message. Nothing in it is verified yet.
type Envelope struct {
	payload   string
	digest    string // empty if unsigned
	signature []byte
}

// wire is an envelope as JSON. The raw members distinguish null from absent.
type wire struct {
	Payload   *string        `json:"payload"`
	Digest    jsontext.Value `json:"digest"`
	Signature jsontext.Value `json:"signature"`
}

// unmarshal refuses what two parsers could read differently: unknown and repeated
// names (a name in another case is an unknown one), invalid UTF-8, lone surrogates,
// trailing data. All but the first are the parser's defaults.
func unmarshal(data []byte, out any) error {
	if err := checkDepth(data); err != nil {
		return err
	}
	return json.Unmarshal(data, out, json.RejectUnknownMembers(true))
}

// checkDepth bounds how deep data nests before the parser, whose own limit is in the
// thousands, keeps track of it. It need not know whether data is JSON: up to the first
// syntax error it counts what the parser would, and there the parser stops.
func checkDepth(data []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("nested deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// Parse reads one envelope of at most MaxSize bytes. Errors are ErrInvalid.
func Parse(data []byte) (*Envelope, error) {
	if len(data) > MaxSize {
		return nil, refuse("envelope", "longer than %d bytes", MaxSize)
	}
	var w wire
	if err := unmarshal(data, &w); err != nil {
		return nil, refuse("envelope", "%v", err)
	}
	return w.envelope()
}

// ParseList reads a JSON list of at most MaxList envelopes and MaxSize bytes, such as a
// chain of CA certificates. It may be empty. Errors are ErrInvalid.
func ParseList(data []byte) ([]*Envelope, error) {
	if len(data) > MaxSize {
		return nil, refuse("list of envelopes", "longer than %d bytes", MaxSize)
	}
	if err := checkDepth(data); err != nil {
		return nil, refuse("list of envelopes", "%v", err)
	}
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '[' {
		return nil, refuse("list of envelopes", "not a JSON list")
	}
	var list []*Envelope
	for dec.PeekKind() != ']' {
		if len(list) == MaxList {
			return nil, refuse("list of envelopes", "more than %d", MaxList)
		}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, refuse("list of envelopes", "%v", err)
		}
		e, err := Parse(value)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, refuse("list of envelopes", "%v", err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, refuse("list of envelopes", "followed by other data")
	}
	return list, nil
}

func (w *wire) envelope() (*Envelope, error) {
	if w.Payload == nil {
		return nil, refuse("envelope", "payload is missing")
	}
	switch w.Digest.Kind() {
	case 'n':
		if w.Signature != nil && w.Signature.Kind() != 'n' {
			return nil, refuse("envelope", "a signature without a digest")
		}
		return &Envelope{payload: *w.Payload}, nil
	case '"':
	default:
		return nil, refuse("envelope", "digest is missing or not a string")
	}
	digest, err := text(w.Digest)
	if err != nil {
		return nil, refuse("envelope", "digest: %v", err)
	}
	if _, err := hashOf(digest); err != nil {
		return nil, err
	}
	if w.Signature.Kind() != '"' {
		return nil, refuse("envelope", "signature is missing or not a string")
	}
	signature, err := text(w.Signature)
	if err != nil {
		return nil, refuse("envelope", "signature: %v", err)
	}
	raw, err := decodeSignature(signature)
	if err != nil {
		return nil, err
	}
	return &Envelope{payload: *w.Payload, digest: digest, signature: raw}, nil
}

// text is what a JSON string says, which has been read as one before.
func text(value jsontext.Value) (string, error) {
	unquoted, err := jsontext.AppendUnquote(nil, value)
	return string(unquoted), err
}

// decodeSignature reads base64 as MIME has it (RFC 2045 6.8): line ends anywhere, one
// usually after the last line.
func decodeSignature(s string) ([]byte, error) {
	if len(s) > 2*maxSignature {
		return nil, refuse("envelope", "signature is too long")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, refuse("envelope", "signature is not base64")
	}
	if len(raw) == 0 {
		return nil, refuse("envelope", "signature is empty")
	}
	return raw, nil
}

// Null reports whether the envelope is unsigned. Such a one proves nothing, and has a
// place only where its sender is known by other means.
func (e *Envelope) Null() bool { return e.digest == "" }

// Payload returns a copy of the JSON text inside, in UTF-8. Only after [Envelope.Verify]
// is it anyone's statement.
func (e *Envelope) Payload() []byte { return []byte(e.payload) }

// Unsigned wraps payload, which must be UTF-8, without a signature.
func Unsigned(payload []byte) ([]byte, error) {
	text := string(payload)
	return marshal(wire{Payload: &text, Digest: jsontext.Value("null")})
}

func marshal(w wire) ([]byte, error) {
	// An unsigned envelope has no signature member, rather than a null one.
	data, err := json.Marshal(w, json.OmitZeroStructFields(true))
	if err != nil {
		return nil, fmt.Errorf("envelope: payload cannot be JSON: %w", err)
	}
	return data, nil
}
