package ca

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// A Proposal is a certificate that is about to be signed, for whoever may change it within its profile.
type Proposal struct {
	Authority  store.AuthorityName
	Profile    string
	Method     store.Method
	Request    *pki.Request
	Asker      policy.Asker
	Time       time.Time
	Subject    []byte           // DER
	Extensions []pkix.Extension // as they were asked for, and as the profile has made them
	NotBefore  time.Time
	NotAfter   time.Time
}

// An Amendment is what is to be changed of a Proposal. What is nil or zero stays.
type Amendment struct {
	By         string // whoever wants it changed; empty: nobody does, and the rest counts for nothing
	Subject    []byte // DER
	Validity   time.Duration
	Extensions []pkix.Extension // that are asked for from now on, all of them; nil: those of before
}

// A Presigner is asked before a certificate with new content is signed.
type Presigner interface {
	// Presigns reports whether it wants to be asked. It returns at once.
	Presigns() bool
	// Presign says what is to be changed. An error refuses the certificate: a *Denied says who does.
	Presign(ctx context.Context, p Proposal) (Amendment, error)
}

// An Announcer records what has to be told of a certificate.
type Announcer interface {
	// Announces reports whether certificates are told of, renewals or others. It returns at once.
	Announces(renewal bool) bool
	// Announce records it within the transaction that records the certificate.
	Announce(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, crt store.Certificate) error
}

// amend has the presigner change a draft with new content, of which the profile has made template, and returns what the profile makes of
// the changed one. It can grant nothing that a request could not have asked for.
func (a *Authority) amend(ctx context.Context, now time.Time, st state, in *issuance, d *profile.Draft, validity *time.Duration, template *x509.Certificate) (*x509.Certificate, error) {
	by := a.cfg.Presign
	if by == nil || in.renews != nil || in.method == store.Internal || !by.Presigns() {
		return template, nil
	}
	asker, err := policy.ParseAsker(in.asker)
	if err != nil {
		return nil, fmt.Errorf("%w: whoever has asked cannot be read: %w", ErrDamaged, err)
	}
	change, err := by.Presign(ctx, Proposal{
		Authority: a.name, Profile: in.profile.Name(), Method: in.method, Request: in.request, Asker: asker, Time: now,
		Subject: template.RawSubject, Extensions: slices.Clone(template.ExtraExtensions), NotBefore: d.NotBefore, NotAfter: d.NotAfter,
	})
	if err != nil || change.By == "" {
		return template, err
	}
	changed, err := a.changed(now, st, in, d, validity, change)
	if err != nil {
		// It is the operator's mistake, and not that of whoever asks.
		return nil, &Denied{change.By, "it wants what is not possible: " + pki.EscapeText(err.Error())}
	}
	if err := a.stillPermitted(now, in, d, asker); err != nil {
		return nil, err
	}
	in.amendedBy, in.amended = change.By, change.By+" changed"+differences(template, changed)
	return changed, nil
}

// stillPermitted refuses what a rule refuses of a draft that was changed: what is signed counts, and what was asked for is in it in part.
func (a *Authority) stillPermitted(now time.Time, in *issuance, d *profile.Draft, asker policy.Asker) error {
	rules := a.cfg.Rules
	if rules == nil || rules.Set().Len() == 0 {
		return nil
	}
	content := Content{Subject: d.Subject, Extensions: d.Extensions, PublicKey: d.PublicKey, Profile: in.profile, Validity: in.validity}
	v := rules.Set().Judge(CaseOf(a.row, a.own(), content, asker, now))
	return denied(&v)
}

// changed is the template of a draft with a change. What the profile does not let through is refused, and not left out.
func (a *Authority) changed(now time.Time, st state, in *issuance, d *profile.Draft, validity *time.Duration, change Amendment) (*x509.Certificate, error) {
	if change.Validity > 0 {
		granted, err := in.profile.Validity(change.Validity, a.spans.Leaf)
		if err != nil {
			return nil, err
		}
		if in.longest > 0 && granted > in.longest {
			return nil, fmt.Errorf("a validity of %s is too long: the rule that has approved it allows at most %s", pki.FormatDuration(granted), pki.FormatDuration(in.longest))
		}
		in.validity, *validity = granted, granted
		d.NotAfter = earlier(now.Add(granted), st.signer.times.NotAfter)
	}
	if change.Subject != nil {
		d.Subject = change.Subject
	}
	if change.Extensions != nil {
		d.Extensions = change.Extensions
	}
	template, err := in.shape(*d, st)
	if err != nil {
		return nil, err
	}
	if change.Subject != nil && string(template.RawSubject) != string(change.Subject) {
		return nil, fmt.Errorf("profile %s does not leave the subject open", in.profile.Name())
	}
	for _, e := range change.Extensions {
		if !slices.ContainsFunc(template.ExtraExtensions, func(made pkix.Extension) bool { return made.Id.Equal(e.Id) && string(made.Value) == string(e.Value) }) {
			return nil, fmt.Errorf("profile %s does not leave extension %s open, or not with that value", in.profile.Name(), e.Id)
		}
	}
	return template, nil
}

// differences says what is new in a template.
func differences(before, after *x509.Certificate) (text string) {
	if string(before.RawSubject) != string(after.RawSubject) {
		text += " subject to " + pki.SubjectString(after.RawSubject)
	}
	names := pki.SANStrings(after.ExtraExtensions)
	if !slices.Equal(pki.SANStrings(before.ExtraExtensions), names) {
		text += " names to [" + strings.Join(names, ", ") + "]"
	}
	if !before.NotAfter.Equal(after.NotAfter) {
		text += " validity to " + after.NotAfter.UTC().Format(time.RFC3339)
	}
	for _, e := range after.ExtraExtensions {
		same := func(o pkix.Extension) bool {
			return o.Id.Equal(e.Id) && o.Critical == e.Critical && string(o.Value) == string(e.Value)
		}
		if !slices.ContainsFunc(before.ExtraExtensions, same) && !e.Id.Equal(oidSubjectAltName) {
			text += " extension " + e.Id.String()
		}
	}
	for _, e := range before.ExtraExtensions {
		if !slices.ContainsFunc(after.ExtraExtensions, func(o pkix.Extension) bool { return o.Id.Equal(e.Id) }) && !e.Id.Equal(oidSubjectAltName) {
			text += " extension " + e.Id.String() + " away"
		}
	}
	if text == "" {
		text = " nothing"
	}
	return text
}

// announce records what has to be told of a certificate, in the transaction that records it.
func (a *Authority) announce(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, crt store.Certificate) error {
	by := a.cfg.Announce
	if by == nil || crt.Method == store.Internal || !by.Announces(crt.Renews != nil) {
		return nil
	}
	return by.Announce(ctx, tx, now, actor, crt)
}

// blame makes an error about what whoever has changed a certificate wants of one that seems to be about the request.
func (in issuance) blame(err error) error {
	if in.amendedBy == "" || !errors.Is(err, ErrInvalid) {
		return err
	}
	return &Denied{in.amendedBy, "what it makes of the request is not possible: " + pki.EscapeText(err.Error())}
}

// asksOthers reports whether somebody decides about requests beside the rules.
func (a *Authority) asksOthers() bool {
	if p, ok := a.cfg.Policy.(interface{ Decides() bool }); ok {
		return p.Decides()
	}
	return a.cfg.Policy != nil
}

// oidSubjectAltName is the extension of the names (RFC 5280 4.2.1.6).
var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
