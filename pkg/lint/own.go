package lint

import (
	"encoding/asn1"
	"fmt"

	zx509 "github.com/zmap/zcrypto/x509"
)

// ownRules are rules of RFC 5280 that zlint does not have, or files under another source.
var ownRules = []struct {
	name, description, citation string
	breaks                      func(*zx509.Certificate) (details string, bad bool)
}{
	{"validity", "a certificate must not end before it begins", "RFC 5280: 4.1.2.5", func(c *zx509.Certificate) (string, bool) {
		if !c.NotAfter.Before(c.NotBefore) {
			return "", false
		}
		return fmt.Sprintf("%s to %s", c.NotBefore.UTC(), c.NotAfter.UTC()), true
	}},
	{"country", "a country is a code of two letters", "RFC 5280: A.1", func(c *zx509.Certificate) (string, bool) {
		country := asn1.ObjectIdentifier{2, 5, 4, 6}
		for _, attribute := range c.Subject.Names {
			if value, ok := attribute.Value.(string); country.Equal(asn1.ObjectIdentifier(attribute.Type)) && (!ok || len(value) != 2) {
				return fmt.Sprintf("%.40q", value), true
			}
		}
		return "", false
	}},
	{"empty_attribute", "an attribute of the subject must not be empty", "RFC 5280: A.1", func(c *zx509.Certificate) (string, bool) {
		for _, attribute := range c.Subject.Names {
			if value, ok := attribute.Value.(string); ok && value == "" {
				return attribute.Type.String(), true
			}
		}
		return "", false
	}},
}
