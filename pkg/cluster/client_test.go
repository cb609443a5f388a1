package cluster

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// A client speaks the protocol to whichever daemon it is told to.
type client struct {
	t    testing.TB
	http *http.Client
}

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func newClient(t testing.TB, user *tls.Certificate) *client {
	//nolint:gosec // who answers is checked in a test of its own
	config := &tls.Config{InsecureSkipVerify: true}
	if user != nil {
		config.Certificates = []tls.Certificate{*user}
	}
	transport := &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 50}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, http: &http.Client{Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// do sends a request; an error means that there was no answer.
func (c *client) do(method, url, contentType string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, data}, err
}

// must is do where an answer of a certain status is expected.
func (c *client) must(want int, method, url, contentType string, body []byte) answer {
	c.t.Helper()
	a, err := c.do(method, url, contentType, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if a.status != want {
		c.t.Fatalf("%s %s: %d %s, want %d", method, url, a.status, a.body, want)
	}
	return a
}

// becomeUser makes a user out of a request that a daemon approves by itself, and returns its client.
func becomeUser(t testing.TB, d *daemon) (*client, *x509.Certificate) {
	t.Helper()
	key := newKey(t)
	c := newClient(t, nil)
	id := c.must(http.StatusCreated, "PUT", d.http()+"/cau/csr", "application/pkcs10", newCSR(t, key, "user")).header.Get("Location")
	crt := parse(t, c.must(http.StatusOK, "GET", d.http()+"/cau/crt/"+id, "", nil).body)
	return newClient(t, &tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key}), crt
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newCSR(t testing.TB, key crypto.Signer, cn string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCSRPEM(der)
}

func parse(t testing.TB, pem []byte) *x509.Certificate {
	t.Helper()
	crt, err := pki.ParseCertificatePEM(pem)
	if err != nil {
		t.Fatal(err)
	}
	return crt
}

// sign makes the envelope of a holder's message.
func sign(t testing.TB, key crypto.Signer, payload []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	e, err := envelope.Sign(key, payload)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func renewal(t testing.TB, crt *x509.Certificate, key crypto.Signer, csr []byte) []byte {
	t.Helper()
	payload, err := envelope.EncodeRenewal(envelope.Renewal{
		CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), RequestPEM: string(csr)})
	return sign(t, key, payload, err)
}

func revocation(t testing.TB, crt *x509.Certificate, key crypto.Signer) []byte {
	t.Helper()
	payload, err := envelope.EncodeRevocation(envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw))})
	return sign(t, key, payload, err)
}

// revokeSerial is what an authenticated user sends.
func revokeSerial(serial *big.Int) []byte {
	return fmt.Appendf(nil, `{"payload": "{\"revoke_serial\": %s}", "digest": null}`, serial)
}

// crl fetches and reads an authority's list, which may be old but not outdated.
func (c *client) crl(d *daemon, authority string) ([]byte, *x509.RevocationList, error) {
	a, err := c.do("GET", d.http()+"/"+authority+"/crl", "", nil)
	if err != nil {
		return nil, nil, err
	}
	if a.status != http.StatusOK {
		return nil, nil, fmt.Errorf("GET crl: %d %s", a.status, a.body)
	}
	list, err := pki.ParseCRLPEM(a.body)
	if err == nil && time.Now().After(list.NextUpdate) {
		err = fmt.Errorf("a list that has expired at %v", list.NextUpdate)
	}
	return a.body, list, err
}
