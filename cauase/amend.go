package main

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"

	"github.com/urfave/cli/v2"

	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// subjectTypes are the attributes of a subject that flags give (RFC 5280 appendix A.1).
var subjectTypes = map[string]asn1.ObjectIdentifier{
	"cn": {2, 5, 4, 3}, "country": {2, 5, 4, 6}, "org": {2, 5, 4, 10}, "ou": {2, 5, 4, 11},
}

// amended returns what is to be signed instead of the names and extensions of a request, as the flags and what was corrected
// say: a request with a key of its own, which counts for nothing. Nil: the request is to be signed as it is.
func (t *tool) amended(c *cli.Context, req *pki.Request, asked pki.Corrected) (*pki.Request, error) {
	given, err := template(c)
	if err != nil {
		return nil, err
	}
	made := &x509.CertificateRequest{
		RawSubject: asked.Subject,
		DNSNames:   asked.DNSNames, IPAddresses: asked.IPAddresses, EmailAddresses: asked.EmailAddresses, URIs: asked.URIs,
	}
	changed := req.Foreign || len(asked.Changes) > 0
	for name := range subjectTypes {
		if !c.IsSet(name) {
			continue
		}
		changed = true
		if made.RawSubject, err = amendedSubject(c, asked.Subject, given.Subject); err != nil {
			return nil, err
		}
	}
	for flag, replace := range map[string]func(){
		"dns":   func() { made.DNSNames = given.DNSNames },
		"ip":    func() { made.IPAddresses = given.IPAddresses },
		"email": func() { made.EmailAddresses = given.EmailAddresses },
		"uri":   func() { made.URIs = given.URIs },
	} {
		if c.IsSet(flag) {
			replace()
			changed = true
		}
	}
	// It is not made from this, but from RawSubject.
	if made.Subject.CommonName = asked.CommonName; c.IsSet("cn") {
		made.Subject.CommonName = given.Subject.CommonName
	}
	if added := t.addHost(c, made, nil); added != "" {
		t.note("signing for %s, too, as verifiers do not look for hosts in the common name; --no-san leaves it out", added)
		changed = true
	}
	for _, ext := range asked.Extensions {
		if ext.Id.String() != oidExtKeyUsage || !c.IsSet("eku") {
			made.ExtraExtensions = append(made.ExtraExtensions, ext)
		}
	}
	if c.IsSet("eku") {
		made.ExtraExtensions = append(made.ExtraExtensions, given.ExtraExtensions...)
		changed = true
	}
	if !changed {
		return nil, nil
	}
	key, err := pki.DefaultKeyType.Generate()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, made, key)
	if err != nil {
		return nil, err
	}
	changedTo, err := pki.ParseRequest(pki.EncodeCSRPEM(der))
	if err != nil {
		return nil, manners.WithHint(err, "%s", otherNames)
	}
	return changedTo, nil
}

// amendedSubject replaces those attributes of a subject that flags give, and leaves the others as and where they are.
func amendedSubject(c *cli.Context, raw []byte, given pkix.Name) ([]byte, error) {
	var old pkix.RDNSequence
	if _, err := asn1.Unmarshal(raw, &old); err != nil {
		return nil, err
	}
	var subject pkix.RDNSequence
	for _, rdn := range old {
		rdn = slices.DeleteFunc(slices.Clone(rdn), func(attr pkix.AttributeTypeAndValue) bool {
			return slices.ContainsFunc([]string{"cn", "country", "org", "ou"}, func(flag string) bool { return c.IsSet(flag) && subjectTypes[flag].Equal(attr.Type) })
		})
		if len(rdn) > 0 {
			subject = append(subject, rdn)
		}
	}
	return asn1.Marshal(append(subject, rdns(given)...))
}
