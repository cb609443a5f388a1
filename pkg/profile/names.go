package profile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
)

var (
	oidAuthorityInfoAccess = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	oidNoCheck             = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5} // RFC 6960 4.2.2.2.1
)

// fields are the attributes of subjects that a profile may speak of, from the general to the particular.
var fields = [...]struct {
	label string
	id    asn1.ObjectIdentifier
}{
	{"C", asn1.ObjectIdentifier{2, 5, 4, 6}},
	{"DC", asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}},
	{"ST", asn1.ObjectIdentifier{2, 5, 4, 8}},
	{"L", asn1.ObjectIdentifier{2, 5, 4, 7}},
	{"O", asn1.ObjectIdentifier{2, 5, 4, 10}},
	{"OU", asn1.ObjectIdentifier{2, 5, 4, 11}},
	{"serialNumber", asn1.ObjectIdentifier{2, 5, 4, 5}},
	{"title", asn1.ObjectIdentifier{2, 5, 4, 12}},
	{"SN", asn1.ObjectIdentifier{2, 5, 4, 4}},
	{"GN", asn1.ObjectIdentifier{2, 5, 4, 42}},
	{"CN", asn1.ObjectIdentifier{2, 5, 4, 3}},
	{"UID", asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}},
	{"emailAddress", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}},
}

func fieldID(label string) (asn1.ObjectIdentifier, bool) {
	for _, f := range fields {
		if f.label == label {
			return f.id, true
		}
	}
	return nil, false
}

func fieldName(id asn1.ObjectIdentifier) string {
	for _, f := range fields {
		if f.id.Equal(id) {
			return f.label
		}
	}
	return id.String()
}

func fieldRank(label string) int {
	for i, f := range fields {
		if f.label == label {
			return i
		}
	}
	return len(fields)
}

func fieldNames() string {
	labels := make([]string, len(fields))
	for i, f := range fields {
		labels[i] = f.label
	}
	return strings.Join(labels, ", ")
}

// extKeyUsages are those that have a name (RFC 5280 4.2.1.12).
var extKeyUsages = [...]struct {
	name string
	id   asn1.ObjectIdentifier
}{
	{"serverAuth", asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}},
	{"clientAuth", asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}},
	{"codeSigning", asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}},
	{"emailProtection", asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 4}},
	{"timeStamping", asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}},
	{"OCSPSigning", oidOCSPSigning},
}

func extKeyUsageName(id asn1.ObjectIdentifier) string {
	for _, u := range extKeyUsages {
		if u.id.Equal(id) {
			return u.name
		}
	}
	return id.String()
}

func extKeyUsageOf(text string) (asn1.ObjectIdentifier, error) {
	for _, u := range extKeyUsages {
		if u.name == text {
			return u.id, nil
		}
	}
	return parseOID(text)
}

// keyUsages are the bits of RFC 5280 4.2.1.3 by their number. The empty ones are for CAs.
var keyUsages = [...]string{
	"digitalSignature", "contentCommitment", "keyEncipherment", "dataEncipherment", "keyAgreement",
	"", "", "encipherOnly", "decipherOnly",
}

// keyUsageOf returns the DER of these usages, nil for none.
func keyUsageOf(names []string) ([]byte, error) {
	bits, last := make([]byte, 2), -1
	for _, name := range names {
		found := -1
		for i, usage := range keyUsages {
			if name != "" && usage == name {
				found = i
			}
		}
		if found < 0 {
			return nil, fmt.Errorf("%q is not a key usage that a certificate may have", name)
		}
		bits[found/8] |= 0x80 >> (found % 8)
		last = max(last, found)
	}
	if last < 0 {
		return nil, nil
	}
	return asn1.Marshal(asn1.BitString{Bytes: bits[:last/8+1], BitLength: last + 1})
}

// noCheck says that a responder's own status need not be asked for.
var noCheck = pkix.Extension{Id: oidNoCheck, Value: []byte{asn1.TagNull, 0}}
