package main

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"runtime"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// A host has a certificate.
type host struct {
	key crypto.Signer
	crt *x509.Certificate
}

// rsaKeys is how many keys the requests of one run share if they are RSA: each takes longer to make than a thousand
// certificates do, and to the authority all are alike.
const rsaKeys = 16

// makeKeys makes the keys of so many hosts.
func makeKeys(keyType pki.KeyType, count int) ([]crypto.Signer, error) {
	distinct := count
	if keyType != pki.KeyECDSAP256 {
		distinct = min(count, rsaKeys)
	}
	keys := make([]crypto.Signer, count)
	err := inParallel(distinct, runtime.GOMAXPROCS(0), func(i int) (err error) {
		keys[i], err = keyType.Generate()
		return err
	})
	for i := distinct; i < count; i++ {
		keys[i] = keys[i%distinct]
	}
	return keys, err
}

// makeCSR makes a request for a host name, in PEM.
func makeCSR(key crypto.Signer, name string) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example"},
	}, key)
	if err != nil {
		return nil, err
	}
	return pki.EncodeCSRPEM(der), nil
}

// makeRenewal makes the message by which a host asks for a certificate with another key.
func makeRenewal(h host, next crypto.Signer) ([]byte, error) {
	csr, err := makeCSR(next, h.crt.Subject.CommonName)
	if err != nil {
		return nil, err
	}
	payload, err := envelope.EncodeRenewal(envelope.Renewal{
		CertificatePEM: string(pki.EncodeCertificatePEM(h.crt.Raw)), RequestPEM: string(csr)})
	if err != nil {
		return nil, err
	}
	return envelope.Sign(h.key, payload)
}

// checkIssued checks that what an authority has answered are certificates for the keys, signed by its CA, each another.
func checkIssued(ca *x509.Certificate, keys []crypto.Signer, answers [][]byte) ([]host, error) {
	hosts := make([]host, len(answers))
	err := inParallel(len(answers), runtime.GOMAXPROCS(0), func(i int) error {
		crt, err := pki.ParseCertificatePEM(answers[i])
		if err != nil {
			return fmt.Errorf("certificate %d: %w", i, err)
		}
		public, ok := crt.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !public.Equal(keys[i].Public()) {
			return fmt.Errorf("certificate %d is for another key", i)
		}
		hosts[i] = host{keys[i], crt}
		return crt.CheckSignatureFrom(ca)
	})
	if err != nil {
		return nil, err
	}
	serials := map[string]bool{}
	for _, h := range hosts {
		serials[string(h.crt.SerialNumber.Bytes())] = true
	}
	if len(serials) != len(hosts) {
		return nil, errors.New("several requests got the same certificate")
	}
	return hosts, nil
}
