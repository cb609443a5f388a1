package enroll

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
)

var (
	oidKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidServerAuth  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	oidAnyUsage    = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
)

// Bits of a key usage in their first byte, RFC 5280 4.2.1.3.
const (
	digitalSignature = 0x80
	keyEncipherment  = 0x20
	dataEncipherment = 0x10
)

// withKeyUsage returns a template that asks for what a key like this is used for: signatures and, for servers with RSA
// keys, which TLS 1.2 can have decrypt (RFC 5246 7.4.2), key encipherment. A usage that is asked for already
// stays, as far as the key can do it.
func withKeyUsage(template *x509.CertificateRequest, key crypto.PublicKey) (*x509.CertificateRequest, error) {
	_, isRSA := key.(*rsa.PublicKey)
	usage := byte(digitalSignature)
	if isRSA && forServers(template) {
		usage |= keyEncipherment
	}
	ext, err := keyUsage(usage)
	if err != nil {
		return nil, err
	}
	with := *template
	with.ExtraExtensions = slices.Clone(template.ExtraExtensions)
	i := slices.IndexFunc(with.ExtraExtensions, func(e pkix.Extension) bool { return e.Id.Equal(oidKeyUsage) })
	switch {
	case i < 0:
		with.ExtraExtensions = append(with.ExtraExtensions, ext)
	case !isRSA:
		with.ExtraExtensions[i] = withoutEncipherment(with.ExtraExtensions[i], ext)
	}
	return &with, nil
}

func keyUsage(bits byte) (pkix.Extension, error) {
	length := 8
	for bits != 0 && bits>>(8-length)&1 == 0 {
		length-- // DER has no zeros at the end
	}
	value, err := asn1.Marshal(asn1.BitString{Bytes: []byte{bits}, BitLength: length})
	return pkix.Extension{Id: oidKeyUsage, Critical: true, Value: value}, err
}

// withoutEncipherment takes from a usage, that of a request for an RSA key, what other keys cannot do.
func withoutEncipherment(asked, otherwise pkix.Extension) pkix.Extension {
	var bits asn1.BitString
	rest, err := asn1.Unmarshal(asked.Value, &bits)
	if err != nil || len(rest) > 0 || len(bits.Bytes) != 1 || bits.Bytes[0]&(keyEncipherment|dataEncipherment) == 0 {
		return asked
	}
	ext, err := keyUsage(bits.Bytes[0] &^ (keyEncipherment | dataEncipherment))
	if err != nil || bits.Bytes[0]&^(keyEncipherment|dataEncipherment) == 0 {
		return otherwise
	}
	ext.Critical = asked.Critical
	return ext
}

// forServers reports whether a request is for a server: it says so or, where it does not say what for, has the names of
// hosts.
func forServers(template *x509.CertificateRequest) bool {
	for _, ext := range template.ExtraExtensions {
		if !ext.Id.Equal(oidExtKeyUsage) {
			continue
		}
		var usages []asn1.ObjectIdentifier
		_, err := asn1.Unmarshal(ext.Value, &usages)
		return err == nil && slices.ContainsFunc(usages, func(oid asn1.ObjectIdentifier) bool { return oid.Equal(oidServerAuth) || oid.Equal(oidAnyUsage) })
	}
	return len(template.DNSNames)+len(template.IPAddresses) > 0 || hasHosts(template.ExtraExtensions)
}

// hasHosts reports whether there are DNS names or IP addresses in the encoded names of a request, RFC 5280 4.2.1.6.
func hasHosts(extensions []pkix.Extension) bool {
	for _, ext := range extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var names []asn1.RawValue
		_, err := asn1.Unmarshal(ext.Value, &names)
		return err == nil && slices.ContainsFunc(names, func(name asn1.RawValue) bool {
			return name.Class == asn1.ClassContextSpecific && (name.Tag == 2 || name.Tag == 7)
		})
	}
	return false
}
