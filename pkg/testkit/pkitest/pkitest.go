// Package pkitest makes keys, requests, certificates and revocation lists for tests. What cannot be
// made ends the test.
package pkitest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"

	"cauase/pkg/pki"
)

// Key makes a key of the default type.
func Key(t testing.TB) crypto.Signer {
	t.Helper()
	return KeyOf(t, pki.KeyECDSAP256)
}

// KeyOf makes a key of a type.
func KeyOf(t testing.TB, keyType pki.KeyType) crypto.Signer {
	t.Helper()
	key, err := keyType.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// shared holds the keys that all tests of a process have in common.
var shared sync.Map

type sharedName struct {
	keyType pki.KeyType
	owner   string
}

// SharedKey returns the key of an owner, always the same one for a type and name: large RSA keys take
// seconds to make.
func SharedKey(t testing.TB, keyType pki.KeyType, owner string) crypto.Signer {
	t.Helper()
	made, _ := shared.LoadOrStore(sharedName{keyType, owner}, sync.OnceValues(keyType.Generate))
	key, err := made.(func() (crypto.Signer, error))()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// KeyPEM returns a private key as files hold it.
func KeyPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	data, err := pki.EncodePrivateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// KeyID returns the identifier of a key (RFC 5280 4.2.1.2, method 1).
func KeyID(t testing.TB, pub crypto.PublicKey) []byte {
	t.Helper()
	id, err := pki.KeyID(pub)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Request signs a request with its own key and returns it in PEM.
func Request(t testing.TB, key crypto.Signer, template *x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCSRPEM(der)
}

// Named returns the template of a request for a common name and DNS names.
func Named(cn string, dns ...string) *x509.CertificateRequest {
	return &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}, DNSNames: dns}
}

// NamedRequest signs such a request with its own key and returns it in PEM.
func NamedRequest(t testing.TB, key crypto.Signer, cn string, dns ...string) []byte {
	t.Helper()
	return Request(t, key, Named(cn, dns...))
}

// HostRequest returns a request of a new key, which is not kept, for a host: its name is common name and DNS name.
func HostRequest(t testing.TB, name string) *pki.Request {
	t.Helper()
	return ParsedRequest(t, Key(t), Named(name, name))
}

// ParsedRequest returns a request as the daemon reads it.
func ParsedRequest(t testing.TB, key crypto.Signer, template *x509.CertificateRequest) *pki.Request {
	t.Helper()
	request, err := pki.ParseRequest(Request(t, key, template))
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// Certificate signs a certificate for pub; parent may be the template. It parses what it has made with
// the standard library, so that tests may make what we would refuse. A serial number that is
// missing is made.
func Certificate(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	if template.SerialNumber == nil {
		serial, err := pki.NewSerial()
		if err != nil {
			t.Fatal(err)
		}
		template.SerialNumber = serial
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return crt
}

// PEM returns certificates as files hold them, one after the other.
func PEM(crts ...*x509.Certificate) (all []byte) {
	for _, crt := range crts {
		all = append(all, pki.EncodeCertificatePEM(crt.Raw)...)
	}
	return all
}

// A CA is a certificate that may sign others, and its key.
type CA struct {
	Crt *x509.Certificate
	Key crypto.Signer
}

// SelfSigned makes a CA that signs its certificate itself, by a template.
func SelfSigned(t testing.TB, key crypto.Signer, template *x509.Certificate) CA {
	t.Helper()
	return CA{Certificate(t, template, template, key.Public(), key), key}
}

// NewCA makes a CA that signs itself, valid from one time to another.
func NewCA(t testing.TB, cn string, from, to time.Time, change ...func(*x509.Certificate)) CA {
	t.Helper()
	key := Key(t)
	id := KeyID(t, key.Public())
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, NotBefore: from, NotAfter: to, SubjectKeyId: id, AuthorityKeyId: id,
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, f := range change {
		f(template)
	}
	return SelfSigned(t, key, template)
}

// Issue makes a certificate of the CA for pub, valid as long as the CA unless a change says otherwise.
func (ca CA) Issue(t testing.TB, cn string, pub crypto.PublicKey, change ...func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, NotBefore: ca.Crt.NotBefore, NotAfter: ca.Crt.NotAfter, SubjectKeyId: KeyID(t, pub),
	}
	for _, f := range change {
		f(template)
	}
	return Certificate(t, template, ca.Crt, pub, ca.Key)
}

// CRL makes a revocation list of the CA, valid as long as the CA, on which crts are.
func (ca CA) CRL(t testing.TB, number int64, crts ...*x509.Certificate) *x509.RevocationList {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: ca.Crt.NotBefore, NextUpdate: ca.Crt.NotAfter}
	for _, crt := range crts {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: crt.SerialNumber, RevocationTime: ca.Crt.NotBefore})
	}
	return ca.SignCRL(t, template)
}

// SignCRL makes a revocation list of the CA by a template.
func (ca CA) SignCRL(t testing.TB, template *x509.RevocationList) *x509.RevocationList {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.Crt, ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return crl
}
