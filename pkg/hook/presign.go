package hook

import (
	"context"
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/policy"
)

// A Proposal is a certificate that is about to be signed, as far as hooks are told of it.
type Proposal struct {
	Time       time.Time
	Authority  string
	Profile    string
	Method     string // why it is issued
	Asker      policy.Asker
	Request    *pki.Request
	PublicKey  crypto.PublicKey
	KeyType    string
	Subject    []byte // DER
	Extensions []pkix.Extension
	NotBefore  time.Time
	NotAfter   time.Time
}

// An Amendment is what hooks have changed of a Proposal. What is nil or zero stays.
type Amendment struct {
	By         []string // hooks that have changed anything
	Subject    []byte   // DER
	Names      []string // as pki.SANStrings writes them; not nil and empty: none
	Validity   time.Duration
	Extensions []pkix.Extension // beside the others, or in place of those with the same identifier
}

// A Refusal is what a hook has decided: there is to be no such certificate.
type Refusal struct {
	Hook   string // as the audit log names it
	Reason string // for whoever asks
}

func (r *Refusal) Error() string {
	if r.Reason == "" {
		return "refused by the " + r.Hook
	}
	return "refused by the " + r.Hook + ": " + r.Reason
}

// A PresignInput is what a presign hook is told.
type PresignInput struct {
	Version     int          `json:"version"`
	Hook        Event        `json:"hook"`
	Time        time.Time    `json:"time"`
	Authority   string       `json:"authority"`
	Profile     string       `json:"profile"`
	Method      string       `json:"method"`
	Address     string       `json:"address"`
	Client      string       `json:"client"`
	Key         Key          `json:"key"`
	Request     Request      `json:"request"`
	Asker       policy.Asker `json:"asker"`
	Certificate Draft        `json:"certificate"`
}

// A Draft describes a certificate that is not signed yet.
type Draft struct {
	Subject    string      `json:"subject"`
	Names      []string    `json:"names"`
	NotBefore  time.Time   `json:"not_before"`
	NotAfter   time.Time   `json:"not_after"`
	Seconds    int64       `json:"validity_seconds"`
	Extensions []Extension `json:"extensions"`
}

// An Extension is one of a certificate.
type Extension struct {
	OID      string `json:"oid"`
	Critical bool   `json:"critical"`
	Value    string `json:"value"` // DER, in base64
}

// A PresignAnswer is what a presign hook answers. What is left out stays as it is.
type PresignAnswer struct {
	Decision   string      `json:"decision"` // allow, as when it is left out, or refuse
	Reason     string      `json:"reason"`
	Subject    *string     `json:"subject"`
	Names      *[]string   `json:"names"`
	Validity   string      `json:"validity"`
	Extensions []Extension `json:"extensions"`
}

// Ask asks the presign hooks in turn, each about what those before it have made. An error is a [Refusal].
func (s *Set) Ask(ctx context.Context, p Proposal) (all Amendment, err error) {
	for _, program := range s.Presign {
		one, err := program.presign(ctx, p)
		if gone := ctx.Err(); gone != nil {
			return all, gone // which is no decision
		}
		if err != nil {
			return all, err
		}
		if one.empty() {
			continue
		}
		all.By = append(all.By, NameOf(Presign, program.path))
		all.merge(one)
		p = p.with(one)
	}
	return all, nil
}

func (a Amendment) empty() bool {
	return a.Subject == nil && a.Names == nil && a.Validity == 0 && len(a.Extensions) == 0
}

// merge adds what another hook has changed later.
func (a *Amendment) merge(later Amendment) {
	if later.Subject != nil {
		a.Subject = later.Subject
	}
	if later.Names != nil {
		a.Names = later.Names
	}
	if later.Validity != 0 {
		a.Validity = later.Validity
	}
	a.Extensions = replaced(a.Extensions, later.Extensions)
}

// replaced returns extensions with others in the place of those with the same identifiers, or behind them.
func replaced(extensions, others []pkix.Extension) []pkix.Extension {
	out := slices.DeleteFunc(slices.Clone(extensions), func(e pkix.Extension) bool {
		return slices.ContainsFunc(others, func(o pkix.Extension) bool { return o.Id.Equal(e.Id) })
	})
	return append(out, others...)
}

// oidSubjectAltName is the extension that Names is about.
var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// Amend returns the extensions with what the amendment says of them.
func (a Amendment) Amend(extensions []pkix.Extension) ([]pkix.Extension, error) {
	out := replaced(extensions, a.Extensions)
	if a.Names == nil {
		return out, nil
	}
	out = slices.DeleteFunc(out, func(e pkix.Extension) bool { return e.Id.Equal(oidSubjectAltName) })
	if len(a.Names) == 0 {
		return out, nil
	}
	names, err := pki.SANExtension(a.Names)
	return append(out, names), err
}

// with is the proposal as a hook has changed it. Of its names the next one is told, checked or not.
func (p Proposal) with(a Amendment) Proposal {
	if a.Subject != nil {
		p.Subject = a.Subject
	}
	if extensions, err := a.Amend(p.Extensions); err == nil {
		p.Extensions = extensions
	}
	if a.Validity != 0 {
		p.NotAfter = p.Time.Add(a.Validity)
	}
	return p
}

// presign asks one hook, and checks the form of what it answers.
func (p *Program) presign(ctx context.Context, about Proposal) (Amendment, error) {
	refusal := &Refusal{Hook: NameOf(Presign, p.path)}
	input, err := about.input()
	if err != nil {
		return Amendment{}, err
	}
	var answer PresignAnswer
	var out Amendment
	if err = p.ask(ctx, about.Asker.Address, input, &answer); err == nil {
		switch answer.Decision {
		case "", "allow":
			if out, err = answer.amendment(); err != nil {
				err = p.note(ctx, fmt.Errorf("%w: %w", ErrAnswer, err))
			}
		case "refuse":
			refusal.Reason = reasonOf(answer.Reason)
			return Amendment{}, refusal
		default:
			err = p.note(ctx, fmt.Errorf("%w: its decision is %.40q, which is neither allow nor refuse", ErrAnswer, answer.Decision))
		}
	}
	if err != nil {
		refusal.Reason = publicReason(Presign, err)
		return Amendment{}, refusal
	}
	return out, nil
}

// publicReason is what whoever has asked is told of a hook's failure.
func publicReason(event Event, err error) string {
	failure := &Failure{Event: event}
	_ = errors.As(err, &failure)
	return failure.Public()
}

func (p Proposal) input() ([]byte, error) {
	key, err := keyOf(p.PublicKey, p.KeyType)
	if err != nil {
		return nil, err
	}
	draft := Draft{
		Subject: pki.SubjectString(p.Subject), Names: pki.SANStrings(p.Extensions), NotBefore: p.NotBefore.UTC(), NotAfter: p.NotAfter.UTC(),
		Seconds: int64(p.NotAfter.Sub(p.Time) / time.Second), Extensions: []Extension{},
	}
	if draft.Names == nil {
		draft.Names = []string{}
	}
	for _, e := range p.Extensions {
		draft.Extensions = append(draft.Extensions, Extension{e.Id.String(), e.Critical, base64.StdEncoding.EncodeToString(e.Value)})
	}
	return marshal(PresignInput{
		Version: Version, Hook: Presign, Time: p.Time.UTC(), Authority: p.Authority, Profile: p.Profile, Method: p.Method,
		Address: p.Asker.Address, Client: p.Asker.Client, Key: key, Request: requestOf(p.Request), Asker: p.Asker, Certificate: draft,
	})
}

// maxExtensions bounds the extensions of one answer.
const maxExtensions = 20

// amendment reads what a hook wants to change.
func (a PresignAnswer) amendment() (out Amendment, err error) {
	if a.Subject != nil {
		if out.Subject, err = pki.ParseSubject(*a.Subject); err != nil {
			return out, err
		}
	}
	if a.Names != nil {
		out.Names = append([]string{}, *a.Names...)
		if len(out.Names) > 0 {
			if _, err := pki.SANExtension(out.Names); err != nil {
				return out, err
			}
		}
	}
	if a.Validity != "" {
		if out.Validity, err = pki.ParseDuration(a.Validity); err != nil {
			return out, err
		}
		if out.Validity <= 0 {
			return out, fmt.Errorf("a validity of %s is none", a.Validity)
		}
	}
	if len(a.Extensions) > maxExtensions {
		return out, fmt.Errorf("%d extensions, at most %d are accepted", len(a.Extensions), maxExtensions)
	}
	for _, e := range a.Extensions {
		one, err := e.parse()
		if err != nil {
			return out, err
		}
		if slices.ContainsFunc(out.Extensions, func(o pkix.Extension) bool { return o.Id.Equal(one.Id) }) {
			return out, fmt.Errorf("extension %s is there twice", e.OID)
		}
		out.Extensions = append(out.Extensions, one)
	}
	return out, nil
}

func (e Extension) parse() (out pkix.Extension, err error) {
	out.Critical = e.Critical
	for part := range strings.SplitSeq(e.OID, ".") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return out, fmt.Errorf("extension %.40q: no object identifier", e.OID)
		}
		out.Id = append(out.Id, int(n))
	}
	if len(out.Id) < 2 {
		return out, fmt.Errorf("extension %.40q: no object identifier", e.OID)
	}
	if out.Id.Equal(oidSubjectAltName) {
		return out, errors.New("alternative names are not among the extensions of an answer, but in names")
	}
	if out.Value, err = base64.StdEncoding.DecodeString(e.Value); err != nil || len(out.Value) == 0 {
		return out, fmt.Errorf("extension %s: its value is no DER in base64", e.OID)
	}
	return out, nil
}
