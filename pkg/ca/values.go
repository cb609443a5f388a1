package ca

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/store"
)

// Issued is a certificate on record.
type Issued struct {
	ID          int64 // of the request it answers; random for a renewal
	Serial      *big.Int
	Certificate *x509.Certificate

	// Chain is the certificates of its issuers, nearest first, without the self-signed one at the
	// end: what must be shown beside Certificate to those who trust only that.
	Chain []*x509.Certificate

	again bool // of an earlier operation, whose answer was asked for once more
}

// Asked says how a request is made, beside what is in it.
type Asked struct {
	Profile string       // to sign with; empty: the authority's default
	By      policy.Asker // who asks, as far as that was proved
}

// A Submission is what became of a request.
type Submission struct {
	ID     int64
	Issued *Issued // nil while the request waits for a user
	Reason string  // why it waits, where rules or hooks have just said so; it is not kept for whoever asks again

	again bool // it was submitted before, and is fetched once more
}

// Submitted is a request as it was received.
type Submitted struct {
	ID     int64
	Text   []byte // byte for byte
	Digest pki.Digest

	Pending bool
	Profile string // that it asks for, while it is pending; empty: the authority's default

	ReceivedAt time.Time // while it is pending
	Submitter  string    // audit.Actor in text form, while it is pending
	Names      []string  // subjects under which its names may be known, while it is pending
	Address    string    // from which it was submitted, while it is pending; empty: not known
}

// Foreign reports whether only the key of the request can be certified, see [pki.ParseForeign].
func (s Submitted) Foreign() bool {
	_, err := pki.ParseOutline(s.Text)
	return err != nil
}

// An Approval says how a request is to be signed. With the zero Approval it is signed as it is.
type Approval struct {
	// Template, when set, has the subject and the extensions: only the key is then the request's.
	Template *pki.Request
	// Profile names the profile to sign with. Empty: the request's.
	Profile string
	// Validity of the certificate. Zero: the profile's default.
	Validity time.Duration
	// Shown is what the request has to be.
	Shown Shown
}

// Shown are the requests that a user has seen, one of which is to be decided on: whatever stands on
// record under an id, no other one is. Nil is whichever there is.
type Shown []pki.Digest

// check refuses a request that is none of those.
func (s Shown) check(req pki.Digest) error {
	if s == nil || slices.Contains(s, req) {
		return nil
	}
	return fmt.Errorf("%w: the pending request has the digest %s", ErrOther, req)
}

// A Holder has proved possession of the private key of a certificate. Only the authority whose
// method Holder has returned it accepts it; the zero Holder is nobody.
type Holder struct {
	authority *Authority
	actor     audit.Actor
	crt       *x509.Certificate
	on        *store.Renewable // what was on record of crt when it was shown; nil if nothing was
}

// Certificate returns the certificate whose key is held.
func (h Holder) Certificate() *x509.Certificate { return h.crt }

// A List is the revocation list of one CA.
type List struct {
	KeyID      []byte     // subject key identifier of the CA
	Octets     pki.Octets // its DER, which is shared by all who ask
	Number     int64
	ThisUpdate time.Time // whole seconds; grows with every list, unless the clock was set back
	NextUpdate time.Time
	Modified   time.Time // ThisUpdate, or zero when the next list may have the same

	// Made is what has been made of the list, and of those that are served with it, for who asks: it is forgotten together with
	// them. Nil: nothing is to be remembered.
	Made *sync.Map
}

// DER returns the list in one piece, which is a copy.
func (l List) DER() []byte { return l.Octets.Join() }
