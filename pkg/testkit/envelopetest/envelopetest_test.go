package envelopetest

import (
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

func TestMessages(t *testing.T) {
	from := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	ca := pkitest.NewCA(t, "CAS", from, from.AddDate(1, 0, 0))
	key := pkitest.Key(t)
	crt := ca.Issue(t, "host", key.Public())
	request := pkitest.NamedRequest(t, key, "host", "host.example")

	e := Parse(t, Renewal(t, crt, key, request))
	renewal, err := envelope.DecodeRenewal(e.Payload())
	if err != nil || renewal.RequestPEM != string(request) || renewal.CertificatePEM != string(pki.EncodeCertificatePEM(crt.Raw)) {
		t.Errorf("%+v, %v", renewal, err)
	}
	if e.Verify(key.Public()) != nil || e.Verify(ca.Key.Public()) == nil {
		t.Error("not signed with the key of the certificate")
	}
	e = Parse(t, Revocation(t, crt, key, 4))
	revocation, err := envelope.DecodeRevocation(e.Payload())
	if err != nil || revocation.Reason != 4 || e.Verify(key.Public()) != nil {
		t.Errorf("%+v, %v", revocation, err)
	}
	next := pkitest.NewCA(t, "CAS", from, from.AddDate(2, 0, 0))
	e = Parse(t, Link(t, ca.Key, pkitest.PEM(ca.Crt), pkitest.PEM(next.Crt)))
	if link, err := envelope.DecodeLink(e.Payload()); err != nil || link.NewPEM != string(pkitest.PEM(next.Crt)) || e.Verify(ca.Key.Public()) != nil {
		t.Errorf("%+v, %v", link, err)
	}
	if e := Parse(t, Unsigned(t, e.Payload())); !e.Null() || e.Verify(key.Public()) == nil {
		t.Error("signed")
	}
}
