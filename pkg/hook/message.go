package hook

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // it names keys; nothing depends on its being hard to find another
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/pki"
	"cauase/pkg/policy"
)

// A Key names a public key.
type Key struct {
	Type string `json:"type"` // such as "ecdsa-p256"
	// SHA1 and SHA256 are of the SubjectPublicKeyInfo, in lower-case hexadecimal digits.
	SHA1   string `json:"sha1"`
	SHA256 string `json:"sha256"`
}

// keyOf names a key.
func keyOf(pub crypto.PublicKey, typ string) (Key, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return Key{}, err
	}
	short, long := sha1.Sum(spki), sha256.Sum256(spki) //nolint:gosec // see above
	return Key{typ, hex.EncodeToString(short[:]), hex.EncodeToString(long[:])}, nil
}

// A Request is what was asked for.
type Request struct {
	PEM     string `json:"pem"`
	Digest  string `json:"digest"` // "sha256:" of its DER
	Subject string `json:"subject"`
}

// An AuthorizeInput is what an authorize hook is told.
type AuthorizeInput struct {
	Version   int           `json:"version"`
	Hook      Event         `json:"hook"`
	Time      time.Time     `json:"time"`
	Authority string        `json:"authority"`
	Profile   string        `json:"profile"`
	Address   string        `json:"address"`
	Client    string        `json:"client"`
	Names     []policy.Name `json:"names"`
	Key       Key           `json:"key"`
	Seconds   int64         `json:"validity_seconds"`
	Request   Request       `json:"request"`
	Asker     policy.Asker  `json:"asker"`
	Policy    PolicyVerdict `json:"policy"`
}

// A PolicyVerdict is what the rules of the configuration have decided.
type PolicyVerdict struct {
	Decision policy.Decision `json:"decision"`
	Rule     string          `json:"rule,omitzero"`
	Reason   string          `json:"reason,omitzero"`
}

// An AuthorizeAnswer is what it answers.
type AuthorizeAnswer struct {
	Decision string `json:"decision"` // allow, hold or refuse
	Reason   string `json:"reason,omitzero"`
}

// authorizeInput is what a hook is told of a case and of what rules have decided.
func authorizeInput(c policy.Case, v policy.Verdict) ([]byte, error) {
	req, err := pki.ParseStored(c.PEM)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(req.CSR.PublicKey, c.Key)
	if err != nil {
		return nil, err
	}
	names := c.Names
	if names == nil {
		names = []policy.Name{}
	}
	return marshal(AuthorizeInput{
		Version: Version, Hook: Authorize, Time: c.Time.UTC(), Authority: c.Authority, Profile: c.Profile,
		Address: c.Asker.Address, Client: c.Asker.Client, Names: names, Key: key, Seconds: int64(c.Validity / time.Second),
		Request: requestOf(req), Asker: c.Asker, Policy: PolicyVerdict{v.Decision, v.Rule, v.Reason},
	})
}

func requestOf(req *pki.Request) Request {
	return Request{PEM: string(req.PEM), Digest: "sha256:" + hex.EncodeToString(req.Digest[:]), Subject: req.Subject}
}

// marshal writes a message, which ends with its line.
func marshal(v any) ([]byte, error) {
	text, err := json.Marshal(v, json.Deterministic(true))
	return append(text, '\n'), err
}

// unmarshal reads an answer strictly: one object, whose members are all known and there once.
func unmarshal(text []byte, v any) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return fmt.Errorf("%w: it has answered nothing", ErrAnswer)
	}
	if jsontext.Value(bytes.TrimSpace(text)).Kind() != '{' {
		return fmt.Errorf("%w: it is no JSON object", ErrAnswer)
	}
	if err := json.Unmarshal(text, v, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil
}

// maxReason bounds a reason, in bytes.
const maxReason = 300

// reasonOf is a hook's reason as it may be shown and recorded.
func reasonOf(text string) string {
	shown := pki.EscapeText(text)
	if len(shown) <= maxReason {
		return shown
	}
	cut := maxReason
	for !utf8.RuneStart(shown[cut]) {
		cut--
	}
	return shown[:cut] + "…"
}

// decision is what an answer means.
func (a AuthorizeAnswer) decision() (policy.Decision, error) {
	switch a.Decision {
	case "allow":
		return policy.Approve, nil
	case "hold":
		return policy.Hold, nil
	case "refuse":
		return policy.Refuse, nil
	}
	return "", fmt.Errorf("%w: its decision is %.40q, which is none of allow, hold and refuse", ErrAnswer, a.Decision)
}
