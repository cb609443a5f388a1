// Package invite reads and writes invitations: small signed texts by which whoever presents one, with a
// request that it covers, gets a certificate without further approval. An invitation also says which CA
// certificates the newcomer is going to meet, so that trust begins with it and not with whoever answers first.
//
// An invitation is a bearer secret. Its [ID] is not, and stands for it in logs, records and commands.
package invite

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// Limits on what an invitation may say. All of them hold when it is made and again when it is read.
const (
	MaxTTL  = 30 * 24 * time.Hour // from its making to its end
	MaxUses = 1000

	// MaxText bounds the text of an invitation, in bytes: room for the largest signature and more names
	// than anybody lists.
	MaxText = 16 << 10

	MaxAuthorities  = 8  // of which there are fingerprints
	MaxFingerprints = 16 // of all authorities together

	maxNames = 32
	maxWord  = 64 // of the name of an authority or a profile
)

// Prefix is how the text of every invitation begins. What follows is one word of letters, digits, - and _.
const Prefix = "cauase-invite-1."

// nonceSize is what makes two invitations to the same names different.
const nonceSize = 12

// ErrInvalid is what every text is that is no invitation. It is also a [pki.ErrInvalid].
var ErrInvalid = fmt.Errorf("invitation: %w", pki.ErrInvalid)

// refuse returns an ErrInvalid. Nothing of the text itself may be quoted.
func refuse(format string, args ...any) error {
	return &malformed{"invitation: " + pki.EscapeText(fmt.Sprintf(format, args...))}
}

type malformed struct{ text string }

func (m *malformed) Error() string        { return m.text }
func (m *malformed) Is(target error) bool { return target == ErrInvalid || target == pki.ErrInvalid }

// A Fingerprint is the SHA-256 of a CA certificate in DER.
type Fingerprint [sha256.Size]byte

// FingerprintOf returns the fingerprint of a certificate.
func FingerprintOf(crt *x509.Certificate) Fingerprint { return sha256.Sum256(crt.Raw) }

// An ID names an invitation without giving it away: a digest of what is signed.
type ID [16]byte

// String is how an ID is shown and typed.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what String has written.
func ParseID(s string) (id ID, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(id) || s != strings.ToLower(s) {
		return id, fmt.Errorf("%.80q is not the id of an invitation: 32 hexadecimal digits are", s)
	}
	copy(id[:], raw)
	return id, nil
}

// An Invitation is what is signed.
type Invitation struct {
	Authority string // that is to sign
	Names     Names
	Profile   string // to sign with; empty: the authority's default
	Uses      int    // how many certificates it is good for
	Made      time.Time
	Until     time.Time
	By        *big.Int // serial of the certificate of the user whose key signs; nil: a CA of Authority does

	// CAs are the fingerprints of the CA certificates that the newcomer may trust, by authority. Those of
	// Authority must be among them.
	CAs map[string][]Fingerprint
}

// wire is the payload. No other payload that a user or a CA signs has its members.
type wire struct {
	Authority string              `json:"invited_to"`
	Names     []string            `json:"names"`
	Profile   string              `json:"profile,omitzero"`
	Uses      int                 `json:"uses"`
	Made      int64               `json:"made"`  // seconds since 1970
	Until     int64               `json:"until"` // likewise
	Nonce     string              `json:"nonce"` // base64url
	By        string              `json:"by,omitzero"`
	CAs       map[string][]string `json:"cas"` // base64url
}

var encoding = base64.RawURLEncoding.Strict()

// check reports what is wrong with an invitation, whoever has signed it.
func (i *Invitation) check() error {
	ttl := i.Until.Sub(i.Made)
	switch {
	case !isWord(i.Authority):
		return refuse("it names no authority")
	case i.Profile != "" && !isWord(i.Profile):
		return refuse("its profile has no name of a profile")
	case i.Names.Empty():
		return refuse("it allows no name")
	case i.Uses < 1 || i.Uses > MaxUses:
		return refuse("good for %d uses: from 1 to %d are possible", i.Uses, MaxUses)
	case ttl <= 0:
		return refuse("it ends before it was made")
	case ttl > MaxTTL:
		return refuse("valid for %s: at most %s are possible", pki.FormatDuration(ttl), pki.FormatDuration(MaxTTL))
	case i.By != nil && (i.By.Sign() <= 0 || i.By.BitLen() > maxSerialBits):
		return refuse("the serial of the inviter's certificate is none")
	case len(i.CAs[i.Authority]) == 0:
		return refuse("it has no fingerprint of a CA certificate of %s", i.Authority)
	case len(i.CAs) > MaxAuthorities:
		return refuse("fingerprints of %d authorities: at most %d are possible", len(i.CAs), MaxAuthorities)
	}
	total := 0
	for name, list := range i.CAs {
		if total += len(list); !isWord(name) || len(list) == 0 {
			return refuse("its fingerprints are of no authority")
		}
	}
	if total > MaxFingerprints {
		return refuse("%d fingerprints: at most %d are possible", total, MaxFingerprints)
	}
	return nil
}

// maxSerialBits is what fits in the 20 bytes of RFC 5280 4.1.2.2 beside the sign bit.
const maxSerialBits = 159

// isWord reports whether s can be the name of an authority or a profile.
func isWord(s string) bool {
	if s == "" || len(s) > maxWord {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("-_.", c) < 0 {
			return false
		}
	}
	return true
}

// Payload returns what is to be signed. Each call makes another one. Times are cut to seconds. Errors are
// ErrInvalid.
func (i Invitation) Payload() ([]byte, error) {
	i.Made, i.Until = i.Made.UTC().Truncate(time.Second), i.Until.UTC().Truncate(time.Second)
	if err := i.check(); err != nil {
		return nil, err
	}
	var nonce [nonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	w := wire{
		Authority: i.Authority, Names: i.Names.Strings(), Profile: i.Profile, Uses: i.Uses,
		Made: i.Made.Unix(), Until: i.Until.Unix(), Nonce: encoding.EncodeToString(nonce[:]),
		CAs: make(map[string][]string, len(i.CAs)),
	}
	if i.By != nil {
		w.By = i.By.String()
	}
	for name, list := range i.CAs {
		for _, f := range list {
			w.CAs[name] = append(w.CAs[name], encoding.EncodeToString(f[:]))
		}
	}
	return json.Marshal(w, json.Deterministic(true))
}

// A Signed is an invitation as it is passed on. Until it is verified it is nobody's word.
type Signed struct {
	Invitation
	ID ID

	text     string
	envelope *envelope.Envelope
}

// Sign has key sign a payload, and returns the invitation.
func Sign(key crypto.Signer, payload []byte) (*Signed, error) {
	signed, err := envelope.Sign(key, payload)
	if err != nil {
		return nil, err
	}
	return Wrap(signed)
}

// Wrap makes an invitation of the envelope around its payload.
func Wrap(signed []byte) (*Signed, error) { return Parse(Prefix + encoding.EncodeToString(signed)) }

// Parse reads an invitation. White space around it and within, which mail programs put into long lines,
// does not count. Errors are ErrInvalid and quote nothing.
func Parse(text string) (*Signed, error) {
	if len(text) > MaxText {
		return nil, refuse("longer than %d bytes", MaxText)
	}
	text = strings.Join(strings.Fields(text), "")
	word, ok := strings.CutPrefix(text, Prefix)
	if !ok {
		return nil, refuse("it does not begin with %s", Prefix)
	}
	raw, err := encoding.DecodeString(word)
	if err != nil {
		return nil, refuse("it is cut off or altered: what follows %s is not base64url", Prefix)
	}
	e, err := envelope.Parse(raw)
	if err != nil {
		return nil, refuse("it is cut off or altered: it holds no signed message")
	}
	if e.Null() {
		return nil, refuse("it is not signed")
	}
	s := &Signed{text: text, envelope: e}
	payload := e.Payload()
	if s.Invitation, err = decode(payload); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(payload)
	copy(s.ID[:], sum[:])
	return s, nil
}

func decode(payload []byte) (i Invitation, err error) {
	var w wire
	if err := json.Unmarshal(payload, &w, json.RejectUnknownMembers(true)); err != nil {
		return i, refuse("what is signed is no invitation")
	}
	i = Invitation{
		Authority: w.Authority, Profile: w.Profile, Uses: w.Uses,
		CAs: make(map[string][]Fingerprint, len(w.CAs)),
	}
	if !isSeconds(w.Made) || !isSeconds(w.Until) {
		return i, refuse("its times are none")
	}
	i.Made, i.Until = time.Unix(w.Made, 0).UTC(), time.Unix(w.Until, 0).UTC()
	if nonce, err := encoding.DecodeString(w.Nonce); err != nil || len(nonce) != nonceSize {
		return i, refuse("its nonce is not %d bytes", nonceSize)
	}
	if i.Names, err = ParseNames(w.Names); err != nil {
		return i, err
	}
	if w.By != "" {
		serial, ok := new(big.Int).SetString(w.By, 10)
		if len(w.By) > 50 || !ok || serial.String() != w.By {
			return i, refuse("the serial of the inviter's certificate is none")
		}
		i.By = serial
	}
	for name, list := range w.CAs {
		if len(list) > MaxFingerprints {
			return i, refuse("more than %d fingerprints", MaxFingerprints)
		}
		for _, text := range list {
			raw, err := encoding.DecodeString(text)
			if err != nil || len(raw) != sha256.Size {
				return i, refuse("a fingerprint in it is none")
			}
			i.CAs[name] = append(i.CAs[name], Fingerprint(raw))
		}
		if len(list) == 0 {
			i.CAs[name] = nil // which check refuses
		}
	}
	return i, i.check()
}

// isSeconds reports whether n is a time between 1970 and the year 9999.
func isSeconds(n int64) bool { return n > 0 && n < 253402300800 }

// Text returns the invitation as one line, without a line end. It is the secret.
func (s *Signed) Text() string { return s.text }

// Verify checks that the private half of pub has signed. Errors are those of [envelope.Envelope.Verify].
func (s *Signed) Verify(pub crypto.PublicKey) error { return s.envelope.Verify(pub) }

// Is reports whether text may be meant as an invitation, rather than as the name of a file that holds one.
func Is(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), Prefix) }

// Read finds the invitation in the content of a file, in which lines may stand that begin with #.
func Read(content []byte) (*Signed, error) {
	if len(content) > MaxText {
		return nil, refuse("longer than %d bytes", MaxText)
	}
	var text bytes.Buffer
	for line := range bytes.Lines(content) {
		if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			text.Write(line)
		}
	}
	if len(bytes.TrimSpace(text.Bytes())) == 0 {
		return nil, refuse("there is none")
	}
	return Parse(text.String())
}

// Errors of Verify that say that the key is another.
var errSignature = envelope.ErrBadSignature

// IsAltered reports whether an error of Verify says that the text is not what the key has signed.
func IsAltered(err error) bool { return errors.Is(err, errSignature) }
