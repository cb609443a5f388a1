package inviter_test

import (
	"testing"

	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// Whoever was a user cannot invite with the key of an older certificate of the same lineage.
func TestAnInvitationEndsWithTheLineageOfItsInviter(t *testing.T) {
	s := newSite(t)
	old := sign(t, s.aliceKey, s.invitation("cn:*"))
	key := pkitest.Key(t)
	data, err := catest.Wired(s.cau).Renew(s.ctx, stranger, envelopetest.Parse(t, envelopetest.Renewal(t, s.alice, s.aliceKey, pkitest.NamedRequest(t, key, "alice"))))
	if err != nil {
		t.Fatal(err)
	}
	newest, err := pki.ParseCertificatePEM(data)
	if err != nil {
		t.Fatal(err)
	}
	s.mustUse(s.cas, old, request(t, pkitest.Key(t), "a")) // a renewal ends nothing
	if err := s.cau.RevokeSerial(s.ctx, operator, newest.SerialNumber, ca.Revoking{}); err != nil {
		t.Fatal(err)
	}
	i := s.invitation("cn:*")
	_, err = s.use(s.cas, sign(t, s.aliceKey, i), request(t, pkitest.Key(t), "b"))
	s.refused(err, "the user who has signed it")
	i.By = newest.SerialNumber
	_, err = s.use(s.cas, sign(t, key, i), request(t, pkitest.Key(t), "c"))
	s.refused(err, "is revoked")
}
