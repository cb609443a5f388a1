package pki

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrPartialCRL is a revocation list that does not list all that its CA has revoked. Many verifiers, OpenSSL among
// them, take the list with the newest date for all of it: what a partial one does not repeat would count as valid.
var ErrPartialCRL = errors.New("the revocation list does not list everything its CA has revoked")

var (
	oidDeltaCRL          = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingPoint      = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidCertificateIssuer = asn1.ObjectIdentifier{2, 5, 29, 29}
)

// CheckCRLScope refuses lists that are about less than all certificates of their issuer (delta CRLs, those with an
// issuing distribution point), about certificates of others (indirect CRLs), or that say something critical which is
// not understood (RFC 5280 5.2), with [ErrPartialCRL].
func CheckCRLScope(crl *x509.RevocationList) error {
	for _, e := range crl.Extensions {
		switch {
		case e.Id.Equal(oidDeltaCRL):
			return fmt.Errorf("%w: it lists only what has changed since another list (delta CRL)", ErrPartialCRL)
		case e.Id.Equal(oidIssuingPoint):
			return fmt.Errorf("%w: it is about %s (issuing distribution point)", ErrPartialCRL, issuingScope(e.Value))
		case e.Critical && !e.Id.Equal(oidCRLNumber) && !e.Id.Equal(oidAuthorityKeyID):
			return fmt.Errorf("%w, perhaps: it has a critical extension that is not known: %s", ErrPartialCRL, e.Id)
		}
	}
	for i := range crl.RevokedCertificateEntries {
		entry := &crl.RevokedCertificateEntries[i]
		for _, e := range entry.Extensions {
			switch {
			case e.Id.Equal(oidCertificateIssuer):
				return fmt.Errorf("%w: the entry of serial %#x is about a certificate of another issuer (indirect CRL)", ErrPartialCRL, entry.SerialNumber)
			case e.Critical && !e.Id.Equal(oidCRLReason):
				return fmt.Errorf("%w, perhaps: the entry of serial %#x has a critical extension that is not known: %s", ErrPartialCRL, entry.SerialNumber, e.Id)
			}
		}
	}
	return nil
}

// issuingScope says what a list with this issuing distribution point (RFC 5280 5.2.5) is about. Where it only has a
// name, that is the part of the certificates which point there.
func issuingScope(der []byte) string {
	scope := "a part of the certificates only"
	input, fields := cryptobyte.String(der), cryptobyte.String(nil)
	if !input.ReadASN1(&fields, cbasn1.SEQUENCE) {
		return scope
	}
	for !fields.Empty() {
		var value cryptobyte.String
		var tag cbasn1.Tag
		if !fields.ReadAnyASN1(&value, &tag) {
			return scope
		}
		if len(value) == 1 && value[0] == 0 {
			continue // FALSE
		}
		switch tag {
		case cbasn1.Tag(1).ContextSpecific():
			return scope + ", those that are not of CAs"
		case cbasn1.Tag(2).ContextSpecific():
			return scope + ", those of CAs"
		case cbasn1.Tag(3).ContextSpecific():
			return "some reasons of revocation only"
		case cbasn1.Tag(4).ContextSpecific():
			return "certificates of other issuers, too (indirect CRL)"
		case cbasn1.Tag(5).ContextSpecific():
			return scope + ", attribute certificates"
		}
	}
	return scope
}
