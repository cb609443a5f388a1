package client

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cauase/pkg/pki"
)

// Why a certificate from the daemon is not taken.
var (
	ErrWrongKey   = errors.New("the certificate is for another key")
	ErrWrongNames = errors.New("the certificate has other names")
)

// CheckIssued decides whether a certificate that came over the network may be stored: it
// is for key (nil if the key is not known here), was issued by a trusted CA, and both
// are valid now. Errors are ErrWrongKey and those of [pki.VerifyIssued].
func CheckIssued(crt *x509.Certificate, key crypto.PublicKey, trusted []*x509.Certificate, now time.Time) error {
	if key != nil && !pki.SameKey(crt.PublicKey, key) {
		return ErrWrongKey
	}
	_, err := pki.VerifyIssued(crt, trusted, now)
	return err
}

// CheckRenewed does what CheckIssued does for the successor of a certificate, which has to have the same names.
func CheckRenewed(crt, old *x509.Certificate, key crypto.PublicKey, trusted []*x509.Certificate, now time.Time) error {
	if err := CheckIssued(crt, key, trusted, now); err != nil {
		return err
	}
	return checkSameNames(crt, old)
}

// checkSameNames compares subject and SANs by their bytes: a daemon copies them.
func checkSameNames(crt, old *x509.Certificate) error {
	if !bytes.Equal(crt.RawSubject, old.RawSubject) {
		return fmt.Errorf("%w: subject is %s instead of %s", ErrWrongNames,
			pki.SubjectString(crt.RawSubject), pki.SubjectString(old.RawSubject))
	}
	got, want := subjectAltName(crt.Extensions), subjectAltName(old.Extensions)
	if (got == nil) != (want == nil) || got != nil && !bytes.Equal(got.Value, want.Value) {
		return fmt.Errorf("%w: SANs are %s instead of %s", ErrWrongNames,
			joinNames(pki.SANStrings(crt.Extensions)), joinNames(pki.SANStrings(old.Extensions)))
	}
	return nil
}

// Differences says in words how the names in a certificate differ from those that were
// requested. A user who signs may change them, so this is news, not an error.
func Differences(crt *x509.Certificate, req *pki.Request) []string {
	var diffs []string
	if got := pki.SubjectString(crt.RawSubject); got != req.Subject {
		diffs = append(diffs, fmt.Sprintf("subject is %q, requested was %q", got, req.Subject))
	}
	if got := pki.SANStrings(crt.Extensions); !slices.Equal(got, req.SANs) {
		diffs = append(diffs, fmt.Sprintf("SANs are %s, requested were %s", joinNames(got), joinNames(req.SANs)))
	}
	return diffs
}

func joinNames(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
