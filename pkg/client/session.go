package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

var (
	// ErrUnverifiedHTTPS says that nobody vouches for the daemon's HTTPS certificate: it
	// is a reference daemon, which has no voucher, or somebody keeps the voucher back.
	ErrUnverifiedHTTPS = errors.New("the daemon does not vouch for its HTTPS certificate")

	// ErrVouchedBefore is an ErrUnverifiedHTTPS of a daemon that cannot be a reference
	// daemon, as there was a voucher once.
	ErrVouchedBefore = fmt.Errorf("%w, and has done so before", ErrUnverifiedHTTPS)

	// ErrNoReference is an ErrUnverifiedHTTPS of a daemon that cannot be a reference
	// daemon, as these have RSA keys only.
	ErrNoReference = fmt.Errorf("%w, and is no reference caucased, as its CA key is not RSA", ErrUnverifiedHTTPS)

	// ErrUnfitForTLS says that a user's certificate cannot be shown to the daemon, although it is fine otherwise: the
	// TLS of Go, which reads it, refuses what others have put into it.
	ErrUnfitForTLS = errors.New("the daemon's TLS cannot read the user's certificate")

	// ErrVoucher is a word of the daemon on its HTTPS CA that none of the trusted CAs
	// has given.
	ErrVoucher = errors.New("the daemon's HTTPS CA is not vouched for by a trusted CA")
)

// Caucase says whether a daemon that vouches for nothing may be a reference daemon, whose HTTPS
// certificate nobody can verify. The zero Caucase is: no, it may not. To whoever can come between
// this host and the daemon a voucher is as easy to suppress as it is impossible to forge.
type Caucase struct {
	Allowed bool // the operator says so
	Vouched bool // the daemon was seen to have a voucher before, which no reference daemon has
}

// refuses returns why a daemon without a voucher is not to be talked to, nil if it may be.
func (c Caucase) refuses(trusted []*x509.Certificate) error {
	switch {
	case c.Vouched:
		return ErrVouchedBefore
	case !c.Allowed:
		return ErrUnverifiedHTTPS
	case len(trusted) == 0 || slices.ContainsFunc(trusted, func(ca *x509.Certificate) bool { return ca.PublicKeyAlgorithm != x509.RSA }):
		return ErrNoReference
	}
	return nil
}

// A Session does what only users may, over HTTPS and with a user's certificate.
type Session struct {
	https    *endpoint
	verified bool
}

// Connect prepares a session for a user. Before anything is sent it learns from the
// daemon, in a message signed by one of the trusted CAs of this authority, which CA the
// daemon's HTTPS certificate must be from; host name and validity are then verified as
// for any HTTPS server.
//
// Without such a message that is [ErrUnverifiedHTTPS], unless the daemon may be a reference
// daemon: then the session works, [Session.Verified] is false, and what it answers is as
// trustworthy as the network. Any other answer than that there is none is an error in every case.
// The user's key is always safe: TLS proves it without revealing it.
//
// No connection is opened yet, so a certificate the daemon does not like, or one of the
// daemon we do not like, shows at the first operation.
func (c *Client) Connect(ctx context.Context, user tls.Certificate, trusted []*x509.Certificate, reference Caucase) (*Session, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		Time:       c.options.Clock.Now,
		// Handed over whatever CAs the daemon names: its list may lag behind.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &user, nil },
	}
	roots, err := c.serverCAs(ctx, trusted)
	verified := err == nil
	if errors.Is(err, errNoVoucher) {
		err = reference.refuses(trusted)
	}
	if err != nil {
		return nil, err
	}
	if verified {
		// Not so with a reference daemon, which has another TLS.
		for _, der := range user.Certificate {
			if _, err := pki.ParseCertificateDER(der); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnfitForTLS, err)
			}
		}
		config.RootCAs, config.ServerName = roots, c.host
	} else {
		config.InsecureSkipVerify = true //nolint:gosec // see above; the caller is told
	}
	return &Session{https: c.endpoint(c.https, config), verified: verified}, nil
}

// Verified reports whether the daemon's HTTPS certificate is checked, by what a CA trusted here has
// vouched for.
func (s *Session) Verified() bool { return s.verified }

// Close drops idle connections.
func (s *Session) Close() { s.https.http.CloseIdleConnections() }

var errNoVoucher = errors.New("no voucher")

// serverCAs fetches the CA certificates of the daemon's HTTPS certificate, or says that there is no
// word of the daemon on them with errNoVoucher.
func (c *Client) serverCAs(ctx context.Context, trusted []*x509.Certificate) (*x509.CertPool, error) {
	const op = "get HTTPS CA"
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodGet, path: "/crt/https-ca.json", want: http.StatusOK})
	switch {
	case IsStatus(err, http.StatusNotFound, http.StatusBadRequest):
		// To a reference daemon the name is an id that is not a number.
		return nil, errNoVoucher
	case err != nil:
		return nil, err
	}
	pool, err := readVoucher(body, trusted, c.options.Clock.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return pool, nil
}

func readVoucher(body []byte, trusted []*x509.Certificate, now time.Time) (*x509.CertPool, error) {
	message, err := envelope.Parse(body)
	if err != nil {
		return nil, err
	}
	if !vouched(message, trusted, now) {
		return nil, ErrVoucher
	}
	voucher, err := envelope.DecodeServerCA(message.Payload())
	if err != nil {
		return nil, err
	}
	crts, err := pki.ParseCertificatesPEM([]byte(voucher.PEM))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, crt := range crts {
		pool.AddCert(crt)
	}
	return pool, nil
}

func vouched(message *envelope.Envelope, trusted []*x509.Certificate, now time.Time) bool {
	for _, ca := range trusted {
		if pki.CheckValidity(ca, now) == nil && message.Verify(ca.PublicKey) == nil {
			return true
		}
	}
	return false
}

// Revoke revokes a certificate whose key need not be at hand.
func (s *Session) Revoke(ctx context.Context, crt *x509.Certificate, how Revoking) error {
	return s.revoke(ctx, envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Raw)), Reason: how.Reason, OnlyThis: how.OnlyThis})
}

// RevokeSerial revokes a certificate that is not at hand either. The daemon cannot
// notice a wrong serial, and keeps the entry until its newest CA has expired.
func (s *Session) RevokeSerial(ctx context.Context, serial *big.Int, how Revoking) error {
	return s.revoke(ctx, envelope.Revocation{Serial: serial, Reason: how.Reason, OnlyThis: how.OnlyThis})
}

func (s *Session) revoke(ctx context.Context, what envelope.Revocation) error {
	payload, err := envelope.EncodeRevocation(what)
	if err != nil {
		return err
	}
	message, err := envelope.Unsigned(payload)
	if err != nil {
		return err
	}
	return revoke(ctx, s.https, message)
}
