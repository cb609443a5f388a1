package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/pki"
)

// A stepCA is a running step-ca with a provisioner whose tokens we sign.
type stepCA struct {
	*process
	name        string
	database    database
	https       *endpoint
	issuer      *x509.Certificate
	provisioner *ecdsa.PrivateKey

	hosts []host
}

const provisionerName = "bench"

func (s *stepCA) label() string { return s.name }

func (s *stepCA) servers() []*process { return append([]*process{s.process}, s.database.servers()...) }

// startStepCA sets a step-ca up in dir, as its own initialisation would, with P-256 keys throughout, and starts it.
func (b *bench) startStepCA(ctx context.Context, dir string, db database) (*stepCA, error) {
	port, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	s := &stepCA{name: "step-ca " + db.engine, database: db, https: &endpoint{address: loopback(port), tls: trusting(nil)}}
	if s.provisioner, err = newP256(); err != nil {
		return nil, err
	}
	if err := s.configure(dir, db); err != nil {
		return nil, err
	}
	if s.process, err = start(dir, b.stepCA, []string{filepath.Join(dir, "ca.json")}, []string{"STEPPATH=" + dir}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	health := request("GET", "/health", s.https.address, "", nil)
	return s, s.await(ctx, func() error {
		_, err := s.https.once(ctx, health, http.StatusOK)
		return err
	})
}

func newP256() (*ecdsa.PrivateKey, error) {
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		return nil, err
	}
	return key.(*ecdsa.PrivateKey), nil
}

// configure writes a root, an intermediate and ca.json.
func (s *stepCA) configure(dir string, db database) error {
	root, rootKey, err := stepCertificate("bench root", 1, nil, nil)
	if err != nil {
		return err
	}
	issuer, issuerKey, err := stepCertificate("bench intermediate", 0, root, rootKey)
	if err != nil {
		return err
	}
	s.issuer = issuer
	keyDER, err := x509.MarshalPKCS8PrivateKey(issuerKey)
	if err != nil {
		return err
	}
	store := map[string]any{"type": "badgerv2", "dataSource": filepath.Join(dir, "db")}
	if db.engine == postgresEngine {
		address, err := url.Parse(db.dsn)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(address.Path, "/")
		address.Path = "/"
		store = map[string]any{"type": "postgresql", "dataSource": address.String(), "database": name}
	}
	x, y := coordinates(&s.provisioner.PublicKey)
	config, err := json.MarshalIndent(map[string]any{
		"root": filepath.Join(dir, "root.crt"), "crt": filepath.Join(dir, "issuer.crt"), "key": filepath.Join(dir, "issuer.key"),
		"address": s.https.address, "dnsNames": []string{"127.0.0.1"},
		"logger": map[string]any{"format": "text"}, "db": store,
		"authority": map[string]any{"provisioners": []any{map[string]any{
			"type": "JWK", "name": provisionerName,
			"key": map[string]any{"use": "sig", "kty": "EC", "kid": provisionerName, "crv": "P-256", "alg": "ES256", "x": x, "y": y},
		}}},
	}, "", "\t")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"root.crt":   pki.EncodeCertificatePEM(root.Raw),
		"issuer.crt": pki.EncodeCertificatePEM(issuer.Raw),
		"issuer.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		"ca.json":    config,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// stepCertificate makes the certificate of a CA, signed by a parent or by itself.
func stepCertificate(name string, pathLen int, parent *x509.Certificate, parentKey crypto.Signer) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := newP256()
	if err != nil {
		return nil, nil, err
	}
	now := clock.System().Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: pathLen, MaxPathLenZero: pathLen == 0,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, err
	}
	crt, err := x509.ParseCertificate(der)
	return crt, key, err
}

func coordinates(key *ecdsa.PublicKey) (x, y string) {
	point, err := key.Bytes()
	if err != nil || len(point) != 65 {
		panic("no point of P-256")
	}
	return rawURL(point[1:33]), rawURL(point[33:])
}

func rawURL(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// token is a JWT by which a provisioner lets somebody have one certificate (RFC 7515, ES256). A server accepts none that
// is older than itself.
func (s *stepCA) token(name string, now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": provisionerName, "aud": "https://" + s.https.address + "/1.0/sign", "sub": name, "sans": []string{name + ".example"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": rand.Text(),
	})
	if err != nil {
		return "", err
	}
	signed := rawURL([]byte(`{"alg":"ES256","kid":"`+provisionerName+`","typ":"JWT"}`)) + "." + rawURL(claims)
	digest := sha256.Sum256([]byte(signed))
	r, t, err := ecdsa.Sign(rand.Reader, s.provisioner, digest[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	t.FillBytes(signature[32:])
	return signed + "." + rawURL(signature[:]), nil
}

// stepAnswer is what there is to look at in an answer.
type stepAnswer struct {
	Certificate string `json:"crt"`
}

// issued checks what it has answered.
func (s *stepCA) issued(keys []crypto.Signer, answers [][]byte) ([]host, error) {
	certificates := make([][]byte, len(answers))
	for i, text := range answers {
		var a stepAnswer
		if err := json.Unmarshal(text, &a); err != nil {
			return nil, fmt.Errorf("answer %d: %w: %.200s", i, err, text)
		}
		certificates[i] = []byte(a.Certificate)
	}
	return checkIssued(s.issuer, keys, certificates)
}

// of is an endpoint where a host shows its certificate.
func (s *stepCA) of(h host) *endpoint {
	return &endpoint{address: s.https.address, tls: trusting(&tls.Certificate{
		Certificate: [][]byte{h.crt.Raw, s.issuer.Raw}, PrivateKey: h.key})}
}
