package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

const (
	typePKCS10 = "application/pkcs10"
	typeJSON   = "application/json"
	typeChain  = "application/pem-certificate-chain" // RFC 8555 9.1
)

// An ID names a request, and the certificate issued for it.
type ID uint64

func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// ParseID reads a decimal ID.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is not the id of a request: a decimal number is", s)
	}
	return ID(n), nil
}

// A Submission says how a request is handed in. A reference daemon takes no notice of it.
type Submission struct {
	Profile string // "" for the authority's default

	// Once has a request that a user has rejected before be refused with a [Rejection], instead of waiting for a
	// decision once more.
	Once bool

	// Foreign has a request be taken of which only the key can be certified, with a template: see [pki.ParseForeign]. Only
	// for users.
	Foreign bool
}

func (s Submission) query() url.Values {
	query := profileQuery(s.Profile)
	for name, set := range map[string]bool{"once": s.Once, "foreign": s.Foreign} {
		if !set {
			continue
		}
		if query == nil {
			query = url.Values{}
		}
		query.Set(name, "true")
	}
	return query
}

// Submit hands in a certificate signing request and returns its ID. The same request
// again has the same ID for as long as the daemon remembers it.
func (c *Client) Submit(ctx context.Context, csrPEM []byte) (ID, error) {
	return c.SubmitFor(ctx, csrPEM, Submission{})
}

// SubmitFor is Submit in a certain way. Whatever is not a request stays here.
func (c *Client) SubmitFor(ctx context.Context, csrPEM []byte, how Submission) (ID, error) {
	return submit(ctx, c.http, csrPEM, how)
}

func submit(ctx context.Context, e *endpoint, csrPEM []byte, how Submission) (ID, error) {
	const op = "submit request"
	body, err := pki.CanonicalRequest(csrPEM)
	if err != nil {
		return 0, err
	}
	_, header, err := e.do(ctx, call{
		op: op, method: http.MethodPut, path: "/csr", query: how.query(), accept: acceptProblem, body: body, typ: typePKCS10, want: http.StatusCreated,
	})
	if err != nil {
		return 0, err
	}
	return located(op, header)
}

// located returns the ID that an answer says a request has.
func located(op string, header http.Header) (ID, error) {
	location := header.Get("Location")
	id, err := ParseID(location[strings.LastIndexByte(location, '/')+1:])
	if err != nil {
		return 0, fmt.Errorf("%s: %w: Location is %.100q", op, ErrNotCA, location)
	}
	return id, nil
}

// Request returns a submitted request as PEM, byte for byte. Daemons keep requests for
// some time after they are signed.
//
// Nothing vouches for the answer: the names in a request are signed by its own key
// only. Who decides by it asks in a [Session].
func (c *Client) Request(ctx context.Context, id ID) ([]byte, error) {
	return request(ctx, c.http, id)
}

func request(ctx context.Context, e *endpoint, id ID) ([]byte, error) {
	body, _, err := e.do(ctx, call{
		op: "get request " + id.String(), method: http.MethodGet, path: "/csr/" + id.String(), want: http.StatusOK,
	})
	return body, err
}

// Why there is no certificate for an ID.
var (
	// ErrPending says that the request is known and nobody has decided on it.
	ErrPending = errors.New("the request is still pending")
	// ErrUnknown says that there is neither request nor certificate.
	ErrUnknown = errors.New("the daemon knows no such request: it was rejected, or is long gone")
)

func profileQuery(profile string) url.Values {
	if profile == "" {
		return nil
	}
	return url.Values{"profile": {profile}}
}

// Certificate returns the certificate issued for a request, or [ErrPending] or
// [ErrUnknown]. Nothing is checked but that it is a certificate, see [CheckIssued].
func (c *Client) Certificate(ctx context.Context, id ID) (*x509.Certificate, error) {
	issued, err := c.certificate(ctx, id, "", parseLeaf)
	return issued.Certificate, err
}

// CertificateChain is Certificate with the CA certificates between it and its root. They are
// to be checked, too, see [CheckChain].
func (c *Client) CertificateChain(ctx context.Context, id ID) (Issued, error) {
	return c.certificate(ctx, id, typeChain, parseIssued)
}

func (c *Client) certificate(ctx context.Context, id ID, accept string, parse func(op string, body []byte) (Issued, error)) (Issued, error) {
	op := "get certificate " + id.String()
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodGet, path: "/crt/" + id.String(), accept: accept, want: http.StatusOK})
	if err == nil {
		return parse(op, body)
	}
	if !IsStatus(err, http.StatusNotFound) {
		return Issued{}, err
	}
	// A daemon that signs between the two questions makes the request look pending
	// for one more round, which is harmless.
	switch _, err := c.Request(ctx, id); {
	case err == nil:
		return Issued{}, fmt.Errorf("%s: %w", id, ErrPending)
	case IsStatus(err, http.StatusNotFound):
		return Issued{}, fmt.Errorf("%s: %w", id, ErrUnknown)
	default:
		return Issued{}, err
	}
}

func parseCertificate(op string, body []byte, err error) (*x509.Certificate, error) {
	if err != nil {
		return nil, err
	}
	crt, err := pki.ParseIssuedPEM(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return crt, nil
}

// Renew asks for a successor of crt, with the same names, for key, a new one. It proves
// to hold crt by signing with its key, old. The successor is checked by [CheckIssued]
// and to have the same names.
func (c *Client) Renew(ctx context.Context, crt *x509.Certificate, old, key crypto.Signer, trusted []*x509.Certificate) (*x509.Certificate, error) {
	issued, err := c.renew(ctx, crt, old, key, trusted, "", parseLeaf)
	return issued.Certificate, err
}

// RenewChain is Renew with the CA certificates between the successor and its root, which are
// still to be checked, see [CheckChain].
func (c *Client) RenewChain(ctx context.Context, crt *x509.Certificate, old, key crypto.Signer, trusted []*x509.Certificate) (Issued, error) {
	return c.renew(ctx, crt, old, key, trusted, typeChain, parseIssued)
}

func (c *Client) renew(ctx context.Context, crt *x509.Certificate, old, key crypto.Signer, trusted []*x509.Certificate,
	accept string, parse func(op string, body []byte) (Issued, error),
) (Issued, error) {
	const op = "renew certificate"
	csr, err := renewalRequest(key)
	if err != nil {
		return Issued{}, fmt.Errorf("%s: %w", op, err)
	}
	payload, err := envelope.EncodeRenewal(envelope.Renewal{
		CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)),
		RequestPEM:     string(csr),
	})
	if err != nil {
		return Issued{}, err
	}
	signed, err := envelope.Sign(old, payload)
	if err != nil {
		return Issued{}, err
	}
	body, _, err := c.http.do(ctx, call{
		op: op, method: http.MethodPut, path: "/crt/renew", accept: accept, body: signed, typ: typeJSON, want: http.StatusOK,
	})
	if err != nil {
		return Issued{}, err
	}
	renewed, err := parse(op, body)
	if err != nil {
		return Issued{}, err
	}
	if err := CheckRenewed(renewed.Certificate, crt, key.Public(), trusted, c.options.Clock.Now()); err != nil {
		return Issued{}, fmt.Errorf("%s: %w", op, err)
	}
	return renewed, nil
}

// renewalRequest carries the new key. The daemon takes all else from the certificate, of which a daemon may refuse
// to be asked for the names anew; this one is there because a request has to have some. The same key asks with the same request each time, as far
// as it can sign without a random number (RFC 6979), so that a daemon of which the answer was lost gives it once more, and takes it for no fork.
func renewalRequest(key crypto.Signer) ([]byte, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "renewal"}}
	random := rand.Reader
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		random = nil
	}
	der, err := x509.CreateCertificateRequest(random, template, key)
	if err != nil {
		return nil, err
	}
	return pki.EncodeCSRPEM(der), nil
}

func subjectAltName(extensions []pkix.Extension) *pkix.Extension {
	for _, ext := range extensions {
		if ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			return &ext
		}
	}
	return nil
}

// A Revoking says how a certificate is to be revoked. A reference daemon takes no notice of it, and revokes the one
// certificate.
type Revoking struct {
	Reason   int  // CRLReason (RFC 5280 5.3.1), 0 for none
	OnlyThis bool // and not what has renewed it, or what it has renewed
}

// Revoke revokes crt in the name of its holder, who signs with its key.
func (c *Client) Revoke(ctx context.Context, crt *x509.Certificate, key crypto.Signer, how Revoking) error {
	payload, err := envelope.EncodeRevocation(envelope.Revocation{
		CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), Reason: how.Reason, OnlyThis: how.OnlyThis,
	})
	if err != nil {
		return err
	}
	signed, err := envelope.Sign(key, payload)
	if err != nil {
		return err
	}
	return revoke(ctx, c.http, signed)
}

func revoke(ctx context.Context, e *endpoint, message []byte) error {
	_, _, err := e.do(ctx, call{
		op: "revoke certificate", method: http.MethodPut, path: "/crt/revoke",
		body: message, typ: typeJSON, want: http.StatusNoContent,
	})
	return err
}
