// Package proof is about requests whose asker proves who it is: a host by its SSH host key, or the holder of
// a certificate by the key of that. What is signed is a [Statement]: about one request, for one authority, of now. So
// a proof is of no use with another request, before another authority or daemon, and soon of none at all; and
// since the request has a key of its own, whoever repeats both gets a certificate for a key that they do not have.
//
// Names that a host goes by come from files of the daemon, see [Hosts], or from the name servers, see [Reverse].
package proof

import (
	"errors"
	"fmt"

	"cauase/pkg/pki"
)

// ErrInvalid is what everything is that is no proof. It is also a [pki.ErrInvalid].
var ErrInvalid = fmt.Errorf("proof: %w", pki.ErrInvalid)

// ErrRefused says that something is a proof, but proves nothing here.
var ErrRefused = errors.New("proof refused")

type malformed struct{ text string }

func (m *malformed) Error() string        { return m.text }
func (m *malformed) Is(target error) bool { return target == ErrInvalid || target == pki.ErrInvalid }

// maxReason bounds a message: libraries quote what they do not understand.
const maxReason = 300

// invalid returns an ErrInvalid.
func invalid(format string, args ...any) error {
	return &malformed{bounded(fmt.Sprintf(format, args...))}
}

// refused returns an ErrRefused.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, bounded(fmt.Sprintf(format, args...)))
}

func bounded(text string) string {
	if len(text) > maxReason {
		text = text[:maxReason] + "…"
	}
	return pki.EscapeText(text)
}
