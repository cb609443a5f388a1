package client

import (
	"context"
	"crypto/x509"
)

// CACertificate fetches over HTTPS what [Client.CACertificate] does over HTTP. It needs no
// user: the session may be one with an empty certificate.
func (s *Session) CACertificate(ctx context.Context) (*x509.Certificate, error) {
	return oldestCA(ctx, s.https, "get CA certificate over HTTPS")
}
