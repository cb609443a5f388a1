package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync/atomic"
)

// A Handshake is the TLS configuration of the running listeners. Set replaces it for
// connections to come, without a restart and without touching those that exist.
type Handshake struct {
	current atomic.Pointer[tls.Config]
}

// Set makes handshakes show certificate, and name the issuers of users' certificates to
// clients that have several to choose from.
func (h *Handshake) Set(certificate *tls.Certificate, users []*x509.Certificate) {
	pool := x509.NewCertPool()
	for _, ca := range users {
		pool.AddCert(ca)
	}
	c := baseTLS()
	c.Certificates = []tls.Certificate{*certificate}
	// Certificates are taken as they come and judged with the request (see authorize):
	// one that has expired leaves its holder the public routes, and gives a 401 that
	// says why on the others, where a failed handshake would explain nothing.
	c.ClientAuth = tls.RequestClientCert
	c.ClientCAs = pool
	h.current.Store(c)
}

// Config returns the configuration to listen with.
func (h *Handshake) Config() *tls.Config {
	c := baseTLS()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if current := h.current.Load(); current != nil {
			return current, nil
		}
		return nil, errors.New("server: no certificate yet")
	}
	return c
}

// baseTLS leaves cipher suites and curves to the standard library, which keeps them
// modern. There are no session tickets: a resumed session would carry over who its
// client was without proof that it still holds the key.
func baseTLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"h2", "http/1.1"},
	}
}
