package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// OfIssuer reports whether an extension of a CA certificate says who has signed it, or whose key it is, and
// nothing of what the CA may do: such differ where a key has one certificate that is self-signed and one by a parent.
func OfIssuer(id asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(ofIssuer, id.Equal)
}

var ofIssuer = []asn1.ObjectIdentifier{
	{2, 5, 29, 14},              // subjectKeyIdentifier
	{2, 5, 29, 35},              // authorityKeyIdentifier
	{2, 5, 29, 31},              // cRLDistributionPoints
	{1, 3, 6, 1, 5, 5, 7, 1, 1}, // authorityInfoAccess
}

// CheckAnchorOf decides whether self, which is self-signed, is crt, which another CA has signed, in all but who has
// signed: of the same name, key, key identifier and dates, and under the same limits. Whoever has the key can make any
// self-signed certificate for it, one that never ends and may do anything among them.
func CheckAnchorOf(self, crt *x509.Certificate) error {
	switch {
	case !SameKey(self.PublicKey, crt.PublicKey), !bytes.Equal(self.RawSubject, crt.RawSubject), !bytes.Equal(self.SubjectKeyId, crt.SubjectKeyId):
		return errors.New("the self-signed certificate has another name, key or key identifier")
	case !self.NotBefore.Equal(crt.NotBefore), !self.NotAfter.Equal(crt.NotAfter):
		return fmt.Errorf("the self-signed certificate is valid from %s to %s, and the one by the parent from %s to %s",
			utc(self.NotBefore), utc(self.NotAfter), utc(crt.NotBefore), utc(crt.NotAfter))
	case !slices.EqualFunc(limits(self), limits(crt), sameExtension):
		return errors.New("the self-signed certificate has other limits than the one by the parent")
	}
	return nil
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// limits are the extensions that say what a CA may do, in an order that depends on them alone.
func limits(crt *x509.Certificate) []pkix.Extension {
	of := slices.DeleteFunc(slices.Clone(crt.Extensions), func(e pkix.Extension) bool { return OfIssuer(e.Id) })
	slices.SortFunc(of, func(a, b pkix.Extension) int { return slices.Compare(a.Id, b.Id) })
	return of
}

func sameExtension(a, b pkix.Extension) bool {
	return a.Id.Equal(b.Id) && a.Critical == b.Critical && bytes.Equal(a.Value, b.Value)
}
