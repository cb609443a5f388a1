// Package policy decides what becomes of a request before anybody has looked at it: rules say who may have which
// certificate without a user's approval, who needs one, and who gets none. It is pure: it reads no file, opens no connection, and asks
// no clock. What it decides on is a [Case], what it decides is a [Verdict].
package policy

import (
	"crypto/x509/pkix"
	"strings"
	"time"

	"cauase/pkg/pki"
)

// A Decision is what becomes of a request.
type Decision string

// The decisions, the strictest last.
const (
	Approve Decision = "approve" // it is signed at once
	Hold    Decision = "hold"    // it waits for a user
	Refuse  Decision = "refuse"  // it is not even kept
)

// Stricter reports whether d allows less than other.
func (d Decision) Stricter(other Decision) bool { return d.rank() > other.rank() }

func (d Decision) rank() int {
	switch d {
	case Approve:
		return 0
	case Hold:
		return 1
	}
	return 2 // what is none allows nothing
}

// A Case is what rules decide about: a request, and who makes it how.
type Case struct {
	Authority string // name of the authority
	Users     bool   // whoever it certifies administers the daemon
	Profile   string // to sign with
	Names     []Name // all that would be named; see NamesOf
	Key       string // type of the key, such as "ecdsa-p256" or "rsa-2048"
	Validity  time.Duration
	Time      time.Time
	Asker     Asker
	Daemon    []string // host names and addresses of the daemon itself

	// What hooks are told beside that; no rule looks at it.
	Digest pki.Digest
	KeyID  []byte
	PEM    []byte
}

// A Verdict is a decision, and where it comes from.
type Verdict struct {
	Decision  Decision
	Rule      string // name of the rule that decided; empty: none did
	Digest    []byte // of that rule
	Reason    string // for the asker, and for users; may be empty
	Approvals int    // users who have to approve what is held; 0 is 1

	// MaxValidity bounds the validity of what is approved by the rule, or later by a user; 0: it does not.
	MaxValidity time.Duration

	// Current reports whether the rules that have decided are still those that count; nil: they are. It returns at once.
	Current func() bool

	// Uncount takes back that the rule has approved this, for rates: it was not signed after all. Nil: nothing was counted.
	Uncount func()
}

// Needed is how many users have to approve.
func (v Verdict) Needed() int { return max(v.Approvals, 1) }

// The kinds of names, as pki.SANStrings writes the first four.
const (
	KindDNS     = "DNS"
	KindIP      = "IP"
	KindEmail   = "email"
	KindURI     = "URI"
	KindCN      = "CN"      // a common name that is not among the alternative names
	KindSubject = "subject" // another attribute of the subject: "O=Example"
)

// A Name is one of those that a certificate is to have.
type Name struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

func (n Name) String() string { return n.Kind + ":" + pki.EscapeText(n.Value) }

// NamesOf returns all that a certificate with this subject and these extensions would say of its holder. A common name that repeats
// an alternative name is not listed again. Of kinds that no rule can mean, the kind says it all.
func NamesOf(subject []byte, extensions []pkix.Extension) []Name {
	var names []Name
	for _, shown := range pki.SANStrings(extensions) {
		kind, value, _ := strings.Cut(shown, ":")
		names = append(names, Name{kind, value})
	}
	alternative := len(names)
	attributes, err := pki.SubjectAttributes(subject)
	if err != nil {
		return append(names, Name{KindSubject, "(unreadable name)"})
	}
	for _, attr := range attributes {
		switch name := (Name{KindSubject, attr.Label + "=" + attr.Text}); {
		case attr.Label == "CN" && repeats(attr.Text, names[:alternative]):
		case attr.Label == "CN":
			names = append(names, Name{KindCN, attr.Text})
		case attr.Label == "emailAddress" && repeats(attr.Text, names[:alternative]):
		case attr.Label == "emailAddress":
			names = append(names, Name{KindEmail, attr.Text})
		default:
			names = append(names, name)
		}
	}
	return names
}

// repeats reports whether a text is one of the alternative names, so that whoever is approved for those is for it.
func repeats(text string, names []Name) bool {
	for _, n := range names {
		switch n.Kind {
		case KindDNS:
			if strings.EqualFold(n.Value, text) && isASCII(text) {
				return true
			}
		case KindIP, KindEmail, KindURI:
			if n.Value == text {
				return true
			}
		}
	}
	return false
}

// isASCII keeps letters out that fold to those of ASCII, such as the Kelvin sign.
func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}
