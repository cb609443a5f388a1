package client

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
)

// CACertificate fetches over HTTPS what [Client.CACertificate] does over HTTP. It needs no
// user: the session may be one with an empty certificate.
func (s *Session) CACertificate(ctx context.Context) (*x509.Certificate, error) {
	const op = "get CA certificate over HTTPS"
	body, _, err := s.https.do(ctx, call{op: op, method: http.MethodGet, path: "/crt/ca.crt.pem", want: http.StatusOK})
	crt, err := parseCertificate(op, body, err)
	if err != nil {
		return nil, err
	}
	if err := checkCA(crt); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return crt, nil
}
