// Package pki turns bytes from outside into keys, requests, certificates and
// revocation lists, or refuses them. It is the one place where size, syntax and key
// strength are checked, so that nothing further in has to doubt what it holds.
//
// Every refusal of an input satisfies errors.Is(err, [ErrInvalid]) and has a message
// that is safe to print: whatever the input contributed is quoted and bounded.
package pki

import (
	"errors"
	"fmt"
)

// Limits on what is accepted. Sizes are in bytes.
const (
	// MaxCSRSize bounds a certificate signing request, counted as submitted (PEM).
	MaxCSRSize = 100 << 10
	// MaxCertificateSize bounds one certificate, PEM or DER.
	MaxCertificateSize = 100 << 10
	// MaxBundleSize bounds a file of certificates and keys.
	MaxBundleSize = 4 << 20
	// MaxCRLSize bounds revocation lists: about two million entries in PEM, or a
	// few rollovers' worth of a million.
	MaxCRLSize = 256 << 20
	// MaxPrivateKeySize bounds the PEM of a private key. RSA 8192 needs under 7 KiB.
	MaxPrivateKeySize = 64 << 10
	// MaxSANs bounds the names in one SubjectAltName extension.
	MaxSANs = 100
	// MaxRDNs bounds the attributes of a subject.
	MaxRDNs = 100
	// MaxNameValue bounds one attribute value of a subject, in encoded bytes.
	// RFC 5280 appendix A.1 allows less for most attributes (64 for a common name),
	// but enough deployed requests exceed those bounds.
	MaxNameValue = 1024
	// MaxSANValue bounds one name of a SubjectAltName extension.
	MaxSANValue = 2048
)

// ErrInvalid is what every refused input is, whatever the detail.
var ErrInvalid = errors.New("invalid input")

// An Error says which input was refused and why. It is an [ErrInvalid].
type Error struct {
	What string // "CSR", "certificate", "CRL", "private key", …
	Why  string // printable whatever the input was

	is error // what else it is, nil for nothing
}

func (e *Error) Error() string { return e.What + ": " + e.Why }

// Is makes errors.Is(err, ErrInvalid) hold.
func (e *Error) Is(target error) bool {
	return target == ErrInvalid || e.is != nil && target == e.is
}

// maxWhy bounds a message. Parsers below us may quote a whole modulus.
const maxWhy = 300

// refuse turns the reason for a refusal into an Error. Reasons may come from other
// libraries, so they are cleaned here once and for all.
func refuse(what string, why error) *Error {
	return &Error{What: what, Why: clip(EscapeText(why.Error()), maxWhy)}
}

func refusef(what, format string, args ...any) *Error {
	return refuse(what, fmt.Errorf(format, args...))
}
