package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what key identifiers are made of
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"cauase/pkg/pki"
)

// A mould makes certificates like one that the daemon has issued, for other keys and names, with the key of the CA: millions
// of them, at the price of a signature each. They are what the daemon would have issued, byte for byte.
type mould struct {
	ca  crypto.Signer
	tbs []byte
	end []byte // the algorithm of the signature

	// Where in tbs is what changes.
	serial, point, keyID, names []int
	serialLen, nameLen          int
}

const pointLen = 65 // of a P-256 key, uncompressed

func newMould(crt *x509.Certificate, ca crypto.Signer) (*mould, error) {
	public, ok := crt.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("only certificates for P-256 keys can be multiplied")
	}
	point, err := public.Bytes()
	if err != nil {
		return nil, err
	}
	m := &mould{ca: ca, tbs: crt.RawTBSCertificate, serialLen: len(crt.SerialNumber.Bytes()), nameLen: len(crt.Subject.CommonName)}
	m.serial = occurrences(m.tbs, crt.SerialNumber.Bytes())
	m.point = occurrences(m.tbs, point)
	m.keyID = occurrences(m.tbs, crt.SubjectKeyId)
	m.names = occurrences(m.tbs, []byte(crt.Subject.CommonName))
	if len(m.serial) != 1 || len(m.point) != 1 || len(m.keyID) != 1 || len(m.names) < 1 || len(point) != pointLen {
		return nil, errors.New("the certificate to be multiplied is not as expected")
	}
	var whole, algorithm cryptobyte.String
	der := cryptobyte.String(crt.Raw)
	if !der.ReadASN1(&whole, asn1.SEQUENCE) || !whole.SkipASN1(asn1.SEQUENCE) || !whole.ReadASN1Element(&algorithm, asn1.SEQUENCE) {
		return nil, errors.New("the certificate to be multiplied cannot be parsed")
	}
	m.end = algorithm
	return m, nil
}

func occurrences(data, part []byte) (at []int) {
	for from := 0; ; {
		i := bytes.Index(data[from:], part)
		if i < 0 {
			return at
		}
		at = append(at, from+i)
		from += i + len(part)
	}
}

// A casting is a certificate that was made in a mould.
type casting struct {
	der    []byte
	serial *big.Int
	keyID  []byte
}

// cast makes a certificate for a key and a name of the same length.
func (m *mould) cast(key *ecdsa.PublicKey, name string, issued time.Time) (casting, error) {
	point, err := key.Bytes()
	if err != nil || len(name) != m.nameLen {
		return casting{}, errors.Join(err, errors.New("another kind of key or name"))
	}
	serial := pki.NewSerialAt(issued).Bytes()
	if len(serial) != m.serialLen {
		return casting{}, errors.New("another kind of serial number")
	}
	keyID := sha1.Sum(point) //nolint:gosec // RFC 5280 4.2.1.2
	tbs := bytes.Clone(m.tbs)
	copy(tbs[m.serial[0]:], serial)
	copy(tbs[m.point[0]:], point)
	copy(tbs[m.keyID[0]:], keyID[:])
	for _, at := range m.names {
		copy(tbs[at:], name)
	}
	digest := sha256.Sum256(tbs)
	signature, err := m.ca.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return casting{}, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(m.end)
		b.AddASN1BitString(signature)
	})
	der, err := b.Bytes()
	return casting{der, new(big.Int).SetBytes(serial), keyID[:]}, err
}
