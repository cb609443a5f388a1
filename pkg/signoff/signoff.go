// Package signoff is what an authority and its parent tell each other by file when the parent's
// key is kept offline: the request for CA certificates, and the answer with them. The files are
// JSON with PEM in it, so that whoever carries them can read what is asked for.
//
// Neither file is secret. What makes an answer trustworthy are the signatures in it, which whoever
// installs it verifies against what is known of the parent; a request is worth what its carrier knows
// of where it comes from, so both sides show its Fingerprint.
package signoff

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/pki"
)

const (
	// MaxSize bounds a file, in bytes.
	MaxSize = 4 << 20
	// MaxGenerations bounds what is asked for at once.
	MaxGenerations = 100
	// maxOthers bounds certificates, statements and lists of the parent.
	maxOthers = 1000
)

const (
	formatRequest = "cauase-signoff-request"
	formatAnswer  = "cauase-signoff"
	version       = 1
)

// ErrInvalid is what every refused file is.
var ErrInvalid = errors.New("sign-off: invalid file")

// A Request asks a parent to certify generations of an authority.
type Request struct {
	Authority string
	Parent    string
	Created   time.Time

	// Base is the address, without a path, at which verifiers find the parent's lists and
	// certificates: http://HOST[:PORT].
	Base string
	// Permitted are the names that certificates of the authority may be for, see
	// profile.ParsePermitted; empty: any.
	Permitted []string

	Generations []Wanted
}

// Wanted is one generation that is asked for.
type Wanted struct {
	CSR       *pki.Request
	NotBefore time.Time // whole seconds
	NotAfter  time.Time
}

// An Answer holds what a parent has certified.
type Answer struct {
	Authority string
	Parent    string
	Created   time.Time

	Certificates []*x509.Certificate // of the generations, in the order of the request
	Parents      []*x509.Certificate // CA certificates of the parent, valid ones, oldest first
	Succession   []string            // statements by which these vouch for each other, oldest first
	Lists        [][]byte            // revocation lists of the parent, DER
}

type requestWire struct {
	Format      string       `json:"format"`
	Version     int          `json:"version"`
	Authority   string       `json:"authority"`
	Parent      string       `json:"parent"`
	Created     time.Time    `json:"created"`
	Base        string       `json:"base"`
	Permitted   []string     `json:"permitted,omitempty"`
	Generations []wantedWire `json:"generations"`
}

type wantedWire struct {
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	CSR       string    `json:"csr"`
}

type answerWire struct {
	Format       string    `json:"format"`
	Version      int       `json:"version"`
	Authority    string    `json:"authority"`
	Parent       string    `json:"parent"`
	Created      time.Time `json:"created"`
	Certificates []string  `json:"certificates"`
	Parents      []string  `json:"parent_certificates"`
	Succession   []string  `json:"succession,omitempty"`
	Lists        []string  `json:"crls,omitempty"`
}

// Encode returns the file.
func (r Request) Encode() ([]byte, error) {
	w := requestWire{formatRequest, version, r.Authority, r.Parent, seconds(r.Created), r.Base, r.Permitted, nil}
	for _, g := range r.Generations {
		w.Generations = append(w.Generations, wantedWire{seconds(g.NotBefore), seconds(g.NotAfter), string(g.CSR.PEM)})
	}
	return encode(w)
}

// ParseRequest reads what Encode has written. The signatures of the requests in it are verified.
func ParseRequest(data []byte) (Request, error) {
	var w requestWire
	if err := decode(data, &w, formatRequest); err != nil {
		return Request{}, err
	}
	if n := len(w.Generations); n == 0 || n > MaxGenerations {
		return Request{}, refuse("generations", fmt.Errorf("%d of them, not 1 to %d", n, MaxGenerations))
	}
	r := Request{w.Authority, w.Parent, w.Created, w.Base, w.Permitted, nil}
	for i, g := range w.Generations {
		at := fmt.Sprintf("generations/%d", i)
		csr, err := pki.ParseRequest([]byte(g.CSR))
		if err != nil {
			return Request{}, refuse(at, err)
		}
		if !g.NotAfter.After(g.NotBefore) {
			return Request{}, refuse(at, errors.New("not_after does not lie after not_before"))
		}
		for j, other := range r.Generations {
			if pki.SameKey(other.CSR.CSR.PublicKey, csr.CSR.PublicKey) {
				return Request{}, refuse(at, fmt.Errorf("has the key of generations/%d", j))
			}
		}
		r.Generations = append(r.Generations, Wanted{csr, g.NotBefore, g.NotAfter})
	}
	return r, nil
}

// Encode returns the file.
func (a Answer) Encode() ([]byte, error) {
	w := answerWire{
		Format: formatAnswer, Version: version, Authority: a.Authority, Parent: a.Parent, Created: seconds(a.Created),
		Certificates: pems(a.Certificates), Parents: pems(a.Parents), Succession: a.Succession,
	}
	for _, der := range a.Lists {
		w.Lists = append(w.Lists, string(pki.EncodeCRLPEM(der)))
	}
	return encode(w)
}

// ParseAnswer reads what Encode has written. It verifies nothing: that takes what is known of the parent.
func ParseAnswer(data []byte) (Answer, error) {
	var w answerWire
	if err := decode(data, &w, formatAnswer); err != nil {
		return Answer{}, err
	}
	a := Answer{Authority: w.Authority, Parent: w.Parent, Created: w.Created, Succession: w.Succession}
	if n := len(w.Certificates); n == 0 || n > MaxGenerations {
		return Answer{}, refuse("certificates", fmt.Errorf("%d of them, not 1 to %d", n, MaxGenerations))
	}
	if n := max(len(w.Parents), len(w.Succession), len(w.Lists)); n > maxOthers {
		return Answer{}, refuse("parent_certificates, succession or crls", fmt.Errorf("%d of them, at most %d fit", n, maxOthers))
	}
	var err error
	if a.Certificates, err = parseAll("certificates", w.Certificates); err != nil {
		return Answer{}, err
	}
	if a.Parents, err = parseAll("parent_certificates", w.Parents); err != nil {
		return Answer{}, err
	}
	for i, text := range w.Lists {
		lists, err := pki.ParseCRLsPEM([]byte(text))
		if err != nil {
			return Answer{}, refuse(fmt.Sprintf("crls/%d", i), err)
		}
		for _, list := range lists {
			a.Lists = append(a.Lists, list.Raw)
		}
	}
	return a, nil
}

// Fingerprint identifies a file for people, who compare it by eye or telephone: the first 128 bits of
// its SHA-256, in groups.
func Fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	digits := hex.EncodeToString(sum[:16])
	var groups []string
	for i := 0; i < len(digits); i += 4 {
		groups = append(groups, digits[i:i+4])
	}
	return strings.Join(groups, "-")
}

func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func pems(crts []*x509.Certificate) []string {
	all := make([]string, len(crts))
	for i, crt := range crts {
		all[i] = string(pki.EncodeCertificatePEM(crt.Raw))
	}
	return all
}

func parseAll(member string, texts []string) ([]*x509.Certificate, error) {
	var crts []*x509.Certificate
	for i, text := range texts {
		crt, err := pki.ParseCertificatePEM([]byte(text))
		if err != nil {
			return nil, refuse(fmt.Sprintf("%s/%d", member, i), err)
		}
		crts = append(crts, crt)
	}
	return crts, nil
}

func encode(w any) ([]byte, error) {
	data, err := json.Marshal(w, jsontext.WithIndent("  "))
	return append(data, '\n'), err
}

// decode reads a file of one format. Members that are not known, or there twice, are refused: a
// reader of another version could understand them differently.
func decode(data []byte, w any, format string) error {
	if len(data) > MaxSize {
		return refuse("it", fmt.Errorf("is longer than %d bytes", MaxSize))
	}
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return refuse("it", fmt.Errorf("is not JSON of a sign-off: %w", jsonError(err)))
	}
	switch {
	case head.Format == formatRequest && format == formatAnswer:
		return refuse("it", errors.New("is a request for a sign-off, not the answer"))
	case head.Format == formatAnswer && format == formatRequest:
		return refuse("it", errors.New("is the answer to a request, not the request"))
	case head.Format != format:
		return refuse("it", errors.New("is none of a sign-off"))
	case head.Version != version:
		return refuse("it", fmt.Errorf("is of version %d of the format, and this program knows %d", head.Version, version))
	}
	if err := json.Unmarshal(data, w, json.RejectUnknownMembers(true)); err != nil {
		return refuse("it", jsonError(err))
	}
	return nil
}

// jsonError leaves Go's types out of what people read.
func jsonError(err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		switch {
		case semantic.Err != nil:
			return fmt.Errorf("%s: %w", pki.EscapeText(string(semantic.JSONPointer)), semantic.Err)
		default:
			return fmt.Errorf("%s cannot be a JSON %s", pki.EscapeText(string(semantic.JSONPointer)), semantic.JSONKind)
		}
	}
	return err
}

func refuse(where string, why error) error { return fmt.Errorf("%w: %s: %w", ErrInvalid, where, why) }
