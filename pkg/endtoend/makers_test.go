package endtoend

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// makers make files that no tool at hand would: requests that are to be refused, for one
// reason each, and certificates from another time.
var makers = map[string]func() ([]byte, error){
	"good":       func() ([]byte, error) { return csr(named("good"), nil) },
	"two-blocks": func() ([]byte, error) { one, err := csr(named("twice"), nil); return append(one, one...), err },
	"junk-before": func() ([]byte, error) {
		one, err := csr(named("junk"), nil)
		return append([]byte("hello\n"), one...), err
	},
	"bad-sig":    badSignature,
	"sha1":       sha1CSR,
	"rsa-1024":   func() ([]byte, error) { return bigRSA(1024, 65537) },
	"rsa-2047":   func() ([]byte, error) { return bigRSA(2047, 65537) },
	"rsa-262144": func() ([]byte, error) { return bigRSA(262144, 65537) },
	"rsa-e3":     func() ([]byte, error) { return bigRSA(2048, 3) },
	"p224":       p224CSR,
	"sans-101":   manySANs,
	"nul":        func() ([]byte, error) { return csr(named("a\x00b"), nil) },
	"esc":        func() ([]byte, error) { return csr(named("a\x1b[2Jb"), nil) },
	"newline":    func() ([]byte, error) { return csr(named("a\nb"), nil) },
	"rtl":        func() ([]byte, error) { return csr(named("a\u202eb"), nil) },
	"nobody":     func() ([]byte, error) { return csr(&x509.CertificateRequest{}, nil) },
	"duplicate":  duplicateExtension,
	"too-long":   func() ([]byte, error) { return bytes.Repeat([]byte("\n"), 100<<10+1), nil },
	"garbage": func() ([]byte, error) {
		return []byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"), nil
	},
	"expired-ca":   func() ([]byte, error) { return selfSigned(-48*time.Hour, -24*time.Hour, true) },
	"foreign-ca":   func() ([]byte, error) { return selfSigned(-time.Hour, 24*time.Hour, true) },
	"foreign-user": foreignUser,
	"p224-key":     p224Key,
}

func named(cn string) *x509.CertificateRequest {
	return &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}}
}

func block(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

func csr(template *x509.CertificateRequest, key crypto.Signer) ([]byte, error) {
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	return block("CERTIFICATE REQUEST", der), err
}

// badSignature changes one bit of the subject after signing.
func badSignature() ([]byte, error) {
	good, err := csr(named("mallory"), nil)
	if err != nil {
		return nil, err
	}
	der, _ := pem.Decode(good)
	return block("CERTIFICATE REQUEST", bytes.Replace(der.Bytes, []byte("mallory"), []byte("mallorx"), 1)), nil
}

// A request is cut into the parts that crypto/x509 will not combine for us.
type certificationRequest struct {
	Info      asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

type certificationRequestInfo struct {
	Version    int
	Subject    asn1.RawValue
	PublicKey  asn1.RawValue
	Attributes asn1.RawValue
}

var noAttributes = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true}

// assemble makes a request with any key, signed by sign.
func assemble(cn string, spki []byte, algorithm asn1.ObjectIdentifier, attributes asn1.RawValue, sign func(info []byte) ([]byte, error)) ([]byte, error) {
	subject, err := asn1.Marshal(pkix.Name{CommonName: cn}.ToRDNSequence())
	if err != nil {
		return nil, err
	}
	info, err := asn1.Marshal(certificationRequestInfo{
		Subject: asn1.RawValue{FullBytes: subject}, PublicKey: asn1.RawValue{FullBytes: spki}, Attributes: attributes,
	})
	if err != nil {
		return nil, err
	}
	signature, err := sign(info)
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(certificationRequest{
		Info:      asn1.RawValue{FullBytes: info},
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: algorithm},
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	return block("CERTIFICATE REQUEST", der), err
}

var (
	oidECDSAWithSHA1   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidSHA256WithRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
)

func sha1CSR() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return assemble("old", spki, oidECDSAWithSHA1, noAttributes, func(info []byte) ([]byte, error) {
		sum := sha1.Sum(info)
		return ecdsa.SignASN1(rand.Reader, key, sum[:])
	})
}

// bigRSA makes a request for a key of so many bits that nobody holds. It has to be refused
// before its signature is looked at.
func bigRSA(bits, e int) ([]byte, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		return nil, err
	}
	n.SetBit(n, bits-1, 1).SetBit(n, 0, 1)
	spki, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: e})
	if err != nil {
		return nil, err
	}
	return assemble("large", spki, oidSHA256WithRSA, noAttributes, func([]byte) ([]byte, error) {
		return make([]byte, bits/8), nil
	})
}

func p224CSR() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return csr(named("small"), key)
}

func p224Key() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return block("PRIVATE KEY", der), err
}

func manySANs() ([]byte, error) {
	request := named("many")
	for i := range 101 {
		request.DNSNames = append(request.DNSNames, fmt.Sprintf("n%d.example", i))
	}
	return csr(request, nil)
}

func duplicateExtension() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	usage := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{3, 2, 7, 0x80}}
	extensions, err := asn1.Marshal([]pkix.Extension{usage, usage})
	if err != nil {
		return nil, err
	}
	attribute, err := asn1.Marshal(struct {
		ID     asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}, []asn1.RawValue{{FullBytes: extensions}}})
	if err != nil {
		return nil, err
	}
	attributes := noAttributes
	attributes.Bytes = attribute
	return assemble("double", spki, oidECDSAWithSHA256, attributes, func(info []byte) ([]byte, error) {
		sum := crypto.SHA256.New()
		sum.Write(info)
		return ecdsa.SignASN1(rand.Reader, key, sum.Sum(nil))
	})
}

// selfSigned makes a certificate valid between two times counted from now.
func selfSigned(from, to time.Duration, ca bool) ([]byte, error) {
	crt, _, err := selfSignedPair(from, to, ca)
	return crt, err
}

func selfSignedPair(from, to time.Duration, ca bool) (crt, key []byte, err error) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "someone else"},
		NotBefore: now.Add(from), NotAfter: now.Add(to),
		BasicConstraintsValid: true, IsCA: ca, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: []byte{1, 2, 3},
	}
	if !ca {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(signer)
	return block("CERTIFICATE", der), block("PRIVATE KEY", keyDER), err
}

func foreignUser() ([]byte, error) {
	crt, key, err := selfSignedPair(-time.Hour, time.Hour, false)
	return append(key, crt...), err
}
