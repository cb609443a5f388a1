package profile

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// isDER walks through bytes by the rules of DER (X.690 10, 11), with encoding/asn1, which shares no code with the checks of
// requests.
func isDER(der []byte) error {
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return err
		}
		again, err := asn1.Marshal(asn1.RawValue{Class: v.Class, Tag: v.Tag, IsCompound: v.IsCompound, Bytes: v.Bytes})
		if err != nil || !bytes.Equal(again, v.FullBytes) {
			return fmt.Errorf("%x has another length in DER", v.FullBytes)
		}
		if err := isDERValue(v); err != nil {
			return fmt.Errorf("%x: %w", v.FullBytes, err)
		}
		der = rest
	}
	return nil
}

func isDERValue(v asn1.RawValue) error {
	if v.IsCompound {
		if v.Class == asn1.ClassUniversal && v.Tag == asn1.TagSet {
			var last []byte
			for rest := v.Bytes; len(rest) > 0; {
				var element asn1.RawValue
				next, err := asn1.Unmarshal(rest, &element)
				if err != nil {
					return err
				}
				if bytes.Compare(last, element.FullBytes) > 0 {
					return errors.New("a SET that is not sorted")
				}
				last, rest = element.FullBytes, next
			}
		}
		return isDER(v.Bytes)
	}
	if v.Class != asn1.ClassUniversal {
		return nil
	}
	var into any
	switch v.Tag {
	case asn1.TagBoolean:
		into = new(bool)
	case asn1.TagInteger:
		into = new(*big.Int)
	case asn1.TagBitString:
		into = new(asn1.BitString)
	case asn1.TagOID:
		var id x509.OID
		return id.UnmarshalBinary(v.Bytes)
	case asn1.TagUTCTime, asn1.TagGeneralizedTime:
		into = new(time.Time)
	case asn1.TagUTF8String, asn1.TagNumericString, asn1.TagIA5String, asn1.TagBMPString:
		into = new(string)
	case asn1.TagPrintableString:
		if bytes.ContainsAny(v.Bytes, "*&") { // which encoding/asn1 lets pass
			return errors.New("a PrintableString with * or &")
		}
		into = new(string)
	case asn1.TagNull:
		if len(v.Bytes) > 0 {
			return errors.New("a NULL with something in it")
		}
		return nil
	default:
		return nil
	}
	_, err := asn1.Unmarshal(v.FullBytes, into)
	return err
}

// requestFor is a request of these bytes, whatever they are, signed.
func requestFor(t *testing.T, key crypto.Signer, subject []byte, extensions []pkix.Extension) []byte {
	t.Helper()
	value, err := asn1.Marshal(extensions)
	if err != nil {
		t.Skip(err)
	}
	attribute, err := asn1.Marshal(struct {
		ID     asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}, []asn1.RawValue{{FullBytes: value}}})
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	info, err := asn1.Marshal(struct {
		Version             int
		Subject, Key, Attrs asn1.RawValue
	}{0, asn1.RawValue{FullBytes: subject}, asn1.RawValue{FullBytes: spki}, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: attribute}})
	if err != nil {
		t.Skip(err)
	}
	sum := sha256.Sum256(info)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := asn1.Marshal(struct {
		Info      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: info}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCSRPEM(csr)
}

// FuzzIssuedIsDER: whatever request is accepted, what is issued for it is DER down to its strings and sets, and read
// by both parsers.
func FuzzIssuedIsDER(f *testing.F) {
	f.Add(subjectOf(f, "2.5.4.3=host"), sanOf(f, "DNS:a.example.org").Value, unhex(f, "300a06082b06010505070301"), policySequence(f, "2a0304"))
	f.Add([]byte("\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x13\x05*.a.x"), []byte{}, []byte{}, []byte{})
	f.Add([]byte("\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x13\x05a_b.x"), []byte("\x30\x05\xa2\x03\x0c\x01a"), []byte{}, []byte{})
	f.Add([]byte("\x30\x1a\x31\x18\x30\x0a\x06\x03\x55\x04\x0b\x0c\x03abc\x30\x0a\x06\x03\x55\x04\x03\x0c\x03abc"), []byte{}, []byte{}, []byte("\x30\x19\x30\x17\x06\x02\x2a\x03\x30\x11\x30\x0f\x06\x08\x2b\x06\x01\x05\x05\x07\x02\x01\x16\x03a\xe9b"))
	key := pkitest.Key(f)
	issuer := pkitest.SelfSigned(f, pkitest.Key(f), &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(3e9, 0),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	})
	f.Fuzz(func(t *testing.T, subject, names, purposes, policies []byte) {
		var extensions []pkix.Extension
		for _, e := range []pkix.Extension{{Id: oidSubjectAltName, Value: names}, {Id: oidExtKeyUsage, Value: purposes}, {Id: oidCertificatePolicies, Value: policies}} {
			if len(e.Value) > 0 {
				extensions = append(extensions, e)
			}
		}
		req, err := pki.ParseRequest(requestFor(t, key, subject, extensions))
		if err != nil {
			return
		}
		d := draftOf(t, key.Public())
		d.Subject, d.Extensions = req.CSR.RawSubject, req.CSR.Extensions
		template, err := AsRequested().Template(d)
		if err != nil {
			return
		}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer.Crt, key.Public(), issuer.Key)
		if err != nil {
			t.Fatalf("accepted, and cannot be issued: %v", err)
		}
		if err := isDER(der); err != nil {
			t.Errorf("what is issued is not DER: %v", err)
		}
		crt, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatalf("what is issued cannot be read: %v", err)
		}
		for _, e := range crt.Extensions {
			if err := isDER(e.Value); err != nil {
				t.Errorf("extension %v is not DER: %v", e.Id, err)
			}
		}
	})
}

// TestWalkFindsWhatIsNotDER has the walk notice what it is there for.
func TestWalkFindsWhatIsNotDER(t *testing.T) {
	for name, der := range map[string]string{
		"star": "\x13\x01*", "underscore": "\x13\x01_", "8-bit IA5": "\x16\x01\xe9", "UTF-8": "\x0c\x01\xff", "odd BMP": "\x1e\x01a",
		"not sorted": "\x31\x06\x02\x01\x02\x02\x01\x01", "long length": "\x04\x81\x01a", "padded": "\x02\x02\x00\x01", "boolean": "\x01\x01\x01",
		"nested": "\x30\x03\x13\x01*",
	} {
		if isDER([]byte(der)) == nil {
			t.Errorf("%s passes", name)
		}
	}
}
