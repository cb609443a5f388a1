package audit

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// Kind says how an Actor is known to us.
type Kind string

// The kinds of actor.
const (
	// Anonymous is a network peer that has shown no credentials.
	Anonymous Kind = "anonymous"
	// User has shown a valid certificate of a user authority over TLS.
	User Kind = "user"
	// Holder has proved possession of a certificate's key by a signed message.
	Holder Kind = "holder"
	// Inviter is a user who has signed an invitation, which somebody at the actor's address has presented.
	Inviter Kind = "inviter"
	// Daemon is cauased itself: rollover, clean-up, automatic approval.
	Daemon Kind = "daemon"
	// Operator works on the database with the daemon's own command line.
	Operator Kind = "operator"
)

// Kinds returns all kinds of actors.
func Kinds() []Kind { return []Kind{Anonymous, User, Holder, Inviter, Daemon, Operator} }

// An Actor is whoever asks for an operation. Every operation of an authority takes one.
type Actor struct {
	Kind      Kind
	Role      string   // of a user, as far as it is known; empty for everybody else
	Authority string   // by which a user was authenticated; empty for everybody else
	Serial    *big.Int // of the certificate shown; nil when there is none
	Issuer    int64    // store.CA.ID of the CA that has issued the certificate shown; 0 when there is none
	KeyID     []byte   // of the certificate shown; nil when there is none
	Lineage   string   // of the certificate shown: id of itself and its renewals; empty when there is none
	Address   string   // network address, without port; empty for Daemon and Operator
	RequestID string   // of the HTTP request, to find it in the access log; may be empty
}

// String is how an Actor is written in logs and beside what it has signed: its kind, followed by
// the serial (decimal) and key identifier (hex) of its certificate, or by its address.
func (a Actor) String() string {
	switch {
	case a.Serial != nil:
		return a.with(serialText(a.Serial))
	case a.Address != "":
		return string(a.Kind) + " " + a.Address
	default:
		return string(a.Kind)
	}
}

// ParseActor reads what String has written of an actor at this address, or has in earlier versions, with a decimal serial
// number. A text that it cannot have
// written becomes the kind, whole: nothing of it is lost.
func ParseActor(text, address string) Actor {
	a := Actor{Kind: Kind(text), Address: address}
	if kind, rest, found := strings.Cut(text, " "); found {
		a.Kind = Kind(kind)
		if serial, key, ok := strings.Cut(rest, " key="); ok && strings.HasPrefix(serial, "serial=") {
			digits := strings.TrimPrefix(serial, "serial=")
			a.Serial = parseSerial(digits)
			if id, err := hex.DecodeString(key); err == nil && len(id) > 0 {
				a.KeyID = id
			}
		}
	}
	if a.String() != text && (a.Serial == nil || a.with(a.Serial.String()) != text) {
		return Actor{Kind: Kind(text), Address: address}
	}
	return a
}

// with is an actor who has shown a certificate with this serial, as text.
func (a Actor) with(serial string) string {
	return string(a.Kind) + " serial=" + serial + " key=" + hex.EncodeToString(a.KeyID)
}

// serialText is a serial number as all tools show it. Earlier versions have recorded decimal digits.
func serialText(serial *big.Int) string { return fmt.Sprintf("%#x", serial) }

// parseSerial reads a serial number in either notation; nil if it is none.
func parseSerial(text string) *big.Int {
	digits, base := text, 10
	if rest, found := strings.CutPrefix(text, "0x"); found {
		digits, base = rest, 16
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return nil
	}
	return n
}
