// Package lint finds what is broken in a certificate before the key of a CA signs it.
//
// The final content, with a signature that nobody has made, is judged by the
// lints of zlint that come from RFCs: RFC 5280 and its updates, and those on algorithms that it refers
// to. Rules of the CA/Browser Forum and of browsers are for public web sites and not looked at.
package lint

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	zx509 "github.com/zmap/zcrypto/x509"
	zlint "github.com/zmap/zlint/v3/lint"
	_ "github.com/zmap/zlint/v3/lints/rfc" // registers its lints; importing zlint itself would add all others

	"cauase/pkg/pki"
)

// sources are the documents whose rules count.
var sources = zlint.SourceList{
	zlint.RFC3279, zlint.RFC5280, zlint.RFC5480, zlint.RFC5891, zlint.RFC6960, zlint.RFC8813,
}

// A Finding is a rule that a certificate breaks.
type Finding struct {
	Lint        string // name of the rule: zlint's, "e_…", or ours
	Description string // the rule
	Citation    string // where it stands: "RFC 5280: 4.1.2.6"
	Details     string // what is wrong, if zlint says
}

func (f Finding) String() string {
	text := strings.TrimSuffix(f.Description, ".")
	if f.Details != "" {
		text += " (" + f.Details + ")"
	}
	return fmt.Sprintf("%s [%s, %s]", text, f.Lint, f.Citation)
}

// An Error is content that must not be signed. Its message is safe to print.
type Error struct{ Findings []Finding } // at least one

func (e *Error) Error() string {
	shown := make([]string, 0, len(e.Findings))
	for _, f := range e.Findings {
		shown = append(shown, f.String())
	}
	return "the certificate would be broken: " + pki.EscapeText(strings.Join(shown, "; "))
}

// A Linter checks certificates. It may be used by many at once.
type Linter struct {
	lints []*zlint.CertificateLint
}

// New returns a Linter. It fails only if zlint knows none of the rules it is to check.
func New() (*Linter, error) { return excusing(excuses) }

// excusing returns a Linter of all rules but some.
func excusing(excuses map[string]string) (*Linter, error) {
	registry, err := zlint.GlobalRegistry().Filter(zlint.FilterOptions{IncludeSources: sources})
	if err != nil {
		return nil, fmt.Errorf("lints: %w", err)
	}
	l := &Linter{}
	for _, rule := range registry.CertificateLints().Lints() {
		if _, excused := excuses[rule.Name]; !excused {
			l.lints = append(l.lints, rule)
		}
	}
	if len(l.lints) == 0 {
		return nil, errors.New("lints: there are none")
	}
	slices.SortFunc(l.lints, func(a, b *zlint.CertificateLint) int { return strings.Compare(a.Name, b.Name) })
	return l, nil
}

// Check returns an [Error] if the certificate that issuer would sign for template and pub is broken. It
// does not change template. Other errors mean that there would be no certificate at all.
//
// Only the signature differs from what would be issued: nobody has made it.
func (l *Linter) Check(template, issuer *x509.Certificate, pub crypto.PublicKey) error {
	der, err := pki.DraftCertificate(template, issuer, pub)
	if err != nil {
		return fmt.Errorf("lint: %w", err)
	}
	return l.judge(der)
}

// judge applies the lints to the DER of a certificate.
func (l *Linter) judge(der []byte) error {
	crt, err := read(der)
	if err != nil {
		return unreadable(der, err)
	}
	var found []Finding
	for _, rule := range l.lints {
		if details, bad := breaks(rule, crt); bad {
			found = append(found, Finding{rule.Name, rule.Description, rule.Citation, details})
		}
	}
	for _, rule := range ownRules {
		if details, bad := rule.breaks(crt); bad {
			found = append(found, Finding{rule.name, rule.description, rule.citation, details})
		}
	}
	if len(found) > 0 {
		return &Error{found}
	}
	return nil
}

// read has zlint's parser read a certificate. Like a rule, it may panic.
func read(der []byte) (crt *zx509.Certificate, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser fails: %v", r)
		}
	}()
	return zx509.ParseCertificate(der)
}

// breaks reports whether crt breaks a rule. One that panics has met what its authors had not thought of, in
// bytes that a stranger chose: that is no reason to sign them, nor to fall over.
func breaks(rule *zlint.CertificateLint, crt *zx509.Certificate) (details string, bad bool) {
	defer func() {
		if r := recover(); r != nil {
			details, bad = fmt.Sprintf("the check fails: %v", r), true
		}
	}()
	// What Execute of the rule does, but for sources that are not ours and for configuration, which none of these rules has.
	check := rule.Lint()
	if !check.CheckApplies(crt) || !rule.CheckEffective(crt) {
		return "", false
	}
	result := check.Execute(crt)
	return result.Details, result.Status >= zlint.Error
}

// unreadable judges what zlint's parser cannot read. It is written apart from the standard library's: where
// either of two parsers gives up, a verifier may, too, so that such a certificate counts as broken.
func unreadable(der []byte, why error) error {
	f := Finding{Lint: "parse", Description: "a certificate can be read", Citation: "RFC 5280: 4.1", Details: why.Error()}
	if _, err := x509.ParseCertificate(der); err != nil {
		f.Details = err.Error()
	}
	return &Error{[]Finding{f}}
}
