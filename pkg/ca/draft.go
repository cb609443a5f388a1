package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cauase/pkg/lint"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// A Linter finds what is broken in a certificate that issuer is going to sign for template and pub.
// It says so by a [lint.Error]; other errors mean that it could not look.
type Linter interface {
	Check(template, issuer *x509.Certificate, pub crypto.PublicKey) error
}

// A lazyLinter costs nothing until something is approved.
type lazyLinter struct {
	once   sync.Once
	linter *lint.Linter
	err    error
}

func (l *lazyLinter) Check(template, issuer *x509.Certificate, pub crypto.PublicKey) error {
	l.once.Do(func() { l.linter, l.err = lint.New() })
	if l.err != nil {
		return l.err
	}
	return l.linter.Check(template, issuer, pub)
}

// defaultProfile names the profile of requests that name none.
func (a *Authority) defaultProfile() string {
	if a.row.Profile == "" {
		return profile.NameAsRequested
	}
	return a.row.Profile
}

// profileNamed returns the profile of that name, the authority's default for the empty one, if the
// authority offers it.
func (a *Authority) profileNamed(name string) (*profile.Profile, error) {
	if name == "" {
		name = a.defaultProfile()
	}
	p, err := a.cfg.Profiles.Lookup(name)
	switch {
	case !a.offers(name, p):
		return nil, fmt.Errorf("%w: %w: authority %s offers %s, and not %.40q",
			ErrInvalid, profile.ErrUnknown, a.name, strings.Join(a.offered(), ", "), name)
	case err != nil:
		return nil, fmt.Errorf("%w: %w: authority %s offers %s, which this daemon's configuration does not have",
			ErrInvalid, profile.ErrUnknown, a.name, name)
	}
	return p, nil
}

// offers reports whether requests may ask for the profile of a name; p is nil when there is none. It is the
// authority's default, or one of its row. An authority whose row has no list and whose default is to give what is requested
// offers what only narrows that: whoever may ask for a certificate with any name and usage may
// as well have it checked.
func (a *Authority) offers(name string, p *profile.Profile) bool {
	usual := a.defaultProfile()
	switch {
	case name == usual:
		return true
	case len(a.row.Profiles) > 0:
		return slices.Contains(a.row.Profiles, name)
	default:
		return usual == profile.NameAsRequested && p != nil && !p.GrantsMore(a.spans.Leaf)
	}
}

// offered lists the profiles that requests may ask for, the default first.
func (a *Authority) offered() []string {
	names := []string{a.defaultProfile()}
	candidates := a.row.Profiles
	if len(candidates) == 0 {
		candidates = a.cfg.Profiles.Names()
	}
	for _, name := range candidates {
		p, _ := a.cfg.Profiles.Lookup(name)
		if a.offers(name, p) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// warnOfProfiles logs which of the authority's profiles the daemon does not have. The authority does without
// them: what else it issues, and its revocation lists, must not depend on a file being complete.
func (a *Authority) warnOfProfiles(ctx context.Context) {
	for _, name := range append([]string{a.defaultProfile()}, a.row.Profiles...) {
		if _, err := a.cfg.Profiles.Lookup(name); err != nil {
			a.log.WarnContext(ctx, "a profile of this authority is not in the configuration: requests for it are refused", "profile", name)
		}
	}
}

// draft describes the certificate for in, without its serial number, and says how long it is to be
// valid, unless its CA ends before that.
func (a *Authority) draft(now time.Time, st state, in issuance) (profile.Draft, time.Duration, error) {
	content := in.request.CSR
	d := profile.Draft{
		Subject:    content.RawSubject,
		Extensions: content.Extensions,
		PublicKey:  content.PublicKey,
		IssuerKey:  st.signer.crt.SubjectKeyId,
		CRLURL:     a.crlURL(st.signer.crt.SubjectKeyId),
		AutoSigned: in.method == store.AutoSigned,
		Renewal:    in.renews != nil,
	}
	if !bytes.Equal(st.signer.crt.RawIssuer, st.signer.crt.RawSubject) {
		// Whoever trusts only the root has to find what is between.
		_, d.IssuerURL = pointers(a.base(), a.name, st.signer.crt.SubjectKeyId)
	}
	if t := in.template; t != nil {
		d.Subject, d.Extensions = t.CSR.RawSubject, t.CSR.Extensions
	}
	if r := in.renews; r != nil {
		d.Subject, d.Extensions = r.RawSubject, r.Extensions
	}
	var validity time.Duration
	if in.renews != nil {
		validity = in.profile.RenewalValidity(in.validity, a.spans.Leaf)
	} else {
		var err error
		if validity, err = in.profile.Validity(in.validity, a.spans.Leaf); err != nil {
			return d, 0, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	// Not by more than a part of its own validity: what lives for a minute would have half its life behind it, and be due for renewal.
	d.NotBefore = later(now.Add(-min(a.cfg.Backdate, validity/maxBackdate)), st.signer.times.NotBefore)
	d.NotAfter = earlier(now.Add(validity), st.signer.times.NotAfter)
	return d, validity, nil
}

// check refuses a request of which its profile makes no certificate, whoever approves it, so that whoever asks
// hears of it at once.
func (a *Authority) check(now time.Time, st state, req *pki.Request, asked *profile.Profile) error {
	in := issuance{request: req, method: store.Signed, profile: asked}
	d, _, err := a.draft(now, st, in)
	if err != nil {
		return err
	}
	_, err = in.shape(d, st)
	return err
}

// shape has the profile make of a draft what is going to be signed, and refuses what could be mistaken for the
// authority. Of a renewal that was decided when its first certificate was issued.
func (in issuance) shape(d profile.Draft, st state) (*x509.Certificate, error) {
	template, err := in.profile.Template(d)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if in.renews == nil {
		err = st.acceptable(template.RawSubject)
	}
	return template, err
}

// lint refuses content that breaks the rules of certificates, or that names whom the CA may not certify. A renewal
// has what was approved once, and the daemon's own certificate is the same every time: neither is to fail,
// unattended, over a rule that is new.
func (a *Authority) lint(template *x509.Certificate, st state, in issuance) error {
	if in.renews != nil || in.method == store.Internal {
		return nil
	}
	if err := profile.CheckNames(st.signer.crt, pki.SANStrings(template.ExtraExtensions)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	err := a.cfg.Linter.Check(template, st.signer.crt, in.request.CSR.PublicKey)
	var broken *lint.Error
	if errors.As(err, &broken) {
		return fmt.Errorf("%w: %w", ErrInvalid, broken)
	}
	return err
}

// inherited returns with which profile and for how long crt was issued, for its renewal. One without a record
// was issued as requested.
func (a *Authority) inherited(ctx context.Context, crt *x509.Certificate) (*profile.Profile, time.Duration, error) {
	var row store.Certificate
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		row, err = r.CertificateBySerial(ctx, a.name, crt.SerialNumber)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, 0, err
	}
	return a.cfg.Profiles.ForRenewal(row.Profile), row.Validity, nil
}
