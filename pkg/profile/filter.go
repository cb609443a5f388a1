package profile

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// A filter decides what becomes of the extensions that came with a draft.
type filter struct {
	named bool // the certificate has a subject
	auto  bool // it is signed without a user's approval

	// The extensions are those of a certificate that we made, with the same profile.
	renewal bool
	// Those of a renewal that only a configured profile can have put there stay.
	extra bool
	// The profile is the one of OCSP responders, and this a renewal.
	ocsp bool
}

// extensions returns what becomes of asked, in the same order.
func (f filter) extensions(asked []pkix.Extension) ([]pkix.Extension, error) {
	var kept []pkix.Extension
	policies := false
	for i, e := range asked {
		if f.renewal && has(asked[:i], e.Id) {
			continue // others have issued such; RFC 5280 4.2 has each once
		}
		value, err := f.value(e)
		if err != nil {
			return nil, fmt.Errorf("extension %v: %w", e.Id, err)
		}
		if value == nil {
			continue
		}
		out := pkix.Extension{Id: e.Id, Critical: e.Critical, Value: value}
		switch {
		case e.Id.Equal(oidSubjectAltName):
			// RFC 5280 4.2.1.6: critical when the subject is empty.
			out.Critical = e.Critical || !f.named
		case e.Id.Equal(oidCertificatePolicies):
			policies = true
		}
		kept = append(kept, out)
	}
	if f.auto && !policies {
		value, err := filterPolicies(nil, policyRules{add: true})
		if err != nil {
			return nil, err
		}
		kept = append(kept, pkix.Extension{Id: oidCertificatePolicies, Value: value})
	}
	return kept, nil
}

// value returns the value that an extension is issued with, nil when it is dropped.
func (f filter) value(e pkix.Extension) ([]byte, error) {
	switch {
	case e.Id.Equal(oidKeyUsage):
		return filterKeyUsage(e.Value)
	case e.Id.Equal(oidExtKeyUsage):
		return filterExtKeyUsage(e.Value, f.ocsp)
	case e.Id.Equal(oidSubjectAltName):
		return e.Value, nil
	case e.Id.Equal(oidCertificatePolicies):
		return filterPolicies(e.Value, policyRules{keepOwn: f.renewal, add: f.auto})
	case f.ocsp && e.Id.Equal(oidOCSPNoCheck):
		return e.Value, nil
	case f.extra && reserved(e.Id) == "":
		return e.Value, nil
	}
	return nil, nil
}

// filterKeyUsage clears what only a CA may do (keyCertSign, cRLSign), and encipherOnly and
// decipherOnly where they mean nothing, without keyAgreement (RFC 5280 4.2.1.3). It returns nil
// when no usage is left: the extension must not be empty.
func filterKeyUsage(der []byte) ([]byte, error) {
	var bits asn1.BitString
	if rest, err := asn1.Unmarshal(der, &bits); err != nil {
		return nil, err
	} else if len(rest) > 0 {
		return nil, errors.New("data after the key usage")
	}
	const keyAgreement, encipherOnly, decipherOnly = 4, 7, 8
	kept := make([]byte, 2)
	last := -1
	for i := 0; i <= decipherOnly; i++ {
		if bits.At(i) == 0 || 1<<i == int(x509.KeyUsageCertSign) || 1<<i == int(x509.KeyUsageCRLSign) {
			continue
		}
		if (i == encipherOnly || i == decipherOnly) && bits.At(keyAgreement) == 0 {
			continue
		}
		kept[i/8] |= 0x80 >> (i % 8)
		last = i
	}
	if last < 0 {
		return nil, nil
	}
	return asn1.Marshal(asn1.BitString{Bytes: kept[:last/8+1], BitLength: last + 1})
}

// filterExtKeyUsage removes OCSPSigning, unless the profile is the one for it: who holds it can say
// "not revoked" in the CA's name. It returns nil when no usage is left.
func filterExtKeyUsage(der []byte, keepOCSP bool) ([]byte, error) {
	var usages []asn1.RawValue // identifiers may have more bits than asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(der, &usages); err != nil {
		return nil, err
	} else if len(rest) > 0 {
		return nil, errors.New("data after the extended key usage")
	}
	ocsp, err := asn1.Marshal(oidOCSPSigning)
	if err != nil {
		return nil, err
	}
	kept := usages[:0]
	for _, u := range usages {
		if u.Class != asn1.ClassUniversal || u.Tag != asn1.TagOID {
			return nil, errors.New("a purpose is not an object identifier")
		}
		if keepOCSP || !bytes.Equal(u.FullBytes, ocsp) {
			kept = append(kept, u)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return asn1.Marshal(kept)
}

func emptyName(der []byte) bool {
	var seq []asn1.RawValue
	_, err := asn1.Unmarshal(der, &seq)
	return err != nil || len(seq) == 0
}

func has(extensions []pkix.Extension, id asn1.ObjectIdentifier) bool {
	for _, e := range extensions {
		if e.Id.Equal(id) {
			return true
		}
	}
	return false
}
