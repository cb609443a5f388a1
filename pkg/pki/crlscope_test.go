package pki_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// TestCRLScope: a list counts only if it is about everything its CA has revoked.
func TestCRLScope(t *testing.T) {
	ca := pkitest.NewCA(t, "Scope", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	extension := func(critical bool, value string, id ...int) []pkix.Extension {
		return []pkix.Extension{{Id: id, Critical: critical, Value: []byte(value)}}
	}
	for _, c := range []struct {
		name       string
		extensions []pkix.Extension
		entry      []pkix.Extension
		says       string // "" if it is complete
	}{
		{name: "complete"},
		{name: "freshest list elsewhere", extensions: extension(false, "\x30\x00", 2, 5, 29, 46)},
		{name: "entry with a date of invalidity", entry: extension(false, "\x18\x0f20260101000000Z", 2, 5, 29, 24)},
		{name: "delta", extensions: extension(true, "\x02\x01\x01", 2, 5, 29, 27), says: "delta CRL"},
		{name: "delta, not critical", extensions: extension(false, "\x02\x01\x01", 2, 5, 29, 27), says: "delta CRL"},
		{name: "only of users", extensions: extension(true, "\x30\x03\x81\x01\xff", 2, 5, 29, 28), says: "not of CAs"},
		{name: "only of CAs", extensions: extension(true, "\x30\x03\x82\x01\xff", 2, 5, 29, 28), says: "those of CAs"},
		{name: "some reasons", extensions: extension(true, "\x30\x04\x83\x02\x06\x40", 2, 5, 29, 28), says: "some reasons"},
		{name: "indirect", extensions: extension(true, "\x30\x06\x82\x01\x00\x84\x01\xff", 2, 5, 29, 28), says: "indirect CRL"},
		{name: "attribute certificates", extensions: extension(false, "\x30\x03\x85\x01\xff", 2, 5, 29, 28), says: "attribute certificates"},
		{name: "one of several points", extensions: extension(true, "\x30\x08\xa0\x06\xa0\x04\x86\x02x:", 2, 5, 29, 28), says: "a part of the certificates only"},
		{name: "nonsense", extensions: extension(true, "junk", 2, 5, 29, 28), says: "a part of the certificates only"},
		{name: "unknown and critical", extensions: extension(true, "\x05\x00", 1, 2, 3), says: "1.2.3"},
		{name: "entry of another issuer", entry: extension(false, "\x30\x00", 2, 5, 29, 29), says: "another issuer"},
		{name: "critical entry", entry: extension(true, "\x05\x00", 1, 2, 3), says: "serial 0x5"},
	} {
		now := time.Now().Truncate(time.Second)
		crl := ca.SignCRL(t, &x509.RevocationList{
			Number: big.NewInt(2), ThisUpdate: now, NextUpdate: now.Add(time.Hour), ExtraExtensions: c.extensions,
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(5), RevocationTime: now, ExtraExtensions: c.entry, ReasonCode: 1}},
		})
		err := pki.CheckCRLScope(crl)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if !errors.Is(err, pki.ErrPartialCRL) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, wanted %q", c.name, err, c.says)
		}
	}
}
