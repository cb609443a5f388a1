package client_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"

	"cauase/pkg/client"
)

// TestSubjectOfGenerations: clients follow to a CA certificate with the authority's name and what tells generations apart,
// whether or not the ones before had that, and to no other name.
func TestSubjectOfGenerations(t *testing.T) {
	d, c := start(t)
	local := []*x509.Certificate{d.CAS.Newest().Crt}
	for _, one := range []bool{true, false, false, true} {
		d.Clock.Advance(span / 4)
		d.CAS.OneSubject = one
		d.CAS.Rollover()
	}
	trust, err := c.UpdateTrust(context.Background(), local, nil)
	if err != nil || len(trust.CAs) != 5 {
		t.Fatalf("%s: %v", names(trust.CAs), err)
	}
	list, err := c.UpdateCRLs(context.Background(), trust.CAs, nil)
	if err != nil || len(list) != 5 {
		t.Errorf("%d lists: %v", len(list), err)
	}

	serial := func(value string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 5}, Value: value}
	}
	for name, change := range map[string]func(*x509.Certificate){
		"another name": func(c *x509.Certificate) { c.Subject.CommonName = "Evil"; c.RawSubject = nil },
		"another name with a number": func(c *x509.Certificate) {
			c.Subject.CommonName, c.Subject.SerialNumber = "Evil", "20260102-0123456789abcdef"
		},
		"a number of its own": func(c *x509.Certificate) { c.Subject.SerialNumber = "2" },
		"more than a number": func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{serial("20260102-0123456789abcdef"), serial("20260102-0123456789abcdef")}
		},
		"an organisation in front of it": func(c *x509.Certificate) { c.Subject.Organization = []string{"Evil"} },
	} {
		t.Run(name, func(t *testing.T) {
			d, c := start(t)
			first := d.CAS.Newest()
			d.Clock.Advance(span)
			d.CAS.Adopt(d.CAS.NewCA(first.Crt.Subject.CommonName, change))
			if _, err := c.UpdateTrust(context.Background(), []*x509.Certificate{first.Crt}, nil); !errors.Is(err, client.ErrChain) {
				t.Errorf("followed: %v", err)
			}
		})
	}
}
