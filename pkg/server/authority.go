package server

import (
	"context"
	"crypto/x509"
	"math/big"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// An Authority is what the routes need of a certificate authority. Package ca has it.
// Its errors are ca's and store's sentinels, see statusOf.
type Authority interface {
	Submit(ctx context.Context, actor audit.Actor, csrPEM []byte) (id int64, err error)
	Pending(ctx context.Context) ([]store.Request, error)
	Request(ctx context.Context, id int64) (pem []byte, err error)
	Reject(ctx context.Context, actor audit.Actor, id int64) error
	Sign(ctx context.Context, actor audit.Actor, id int64, template *pki.Request) error

	Certificate(ctx context.Context, id int64) (pem []byte, err error)
	Renew(ctx context.Context, actor audit.Actor, e *envelope.Envelope) (pem []byte, err error)
	RevokeByHolder(ctx context.Context, actor audit.Actor, e *envelope.Envelope) error
	RevokeByUser(ctx context.Context, actor audit.Actor, rev envelope.Revocation) error

	CRL(ctx context.Context, aki *big.Int) (ca.List, error)
	CRLs(ctx context.Context) (ca.List, error)
	Timeline(ctx context.Context) (ca.Timeline, error)
	CACertificate(ctx context.Context) (pem []byte, err error)
	CACertificates(ctx context.Context) ([]*x509.Certificate, error)
	Chain(ctx context.Context) (json []byte, err error)
}

// An Authenticator recognises the certificates of users. The user authority is one.
type Authenticator interface {
	// Authenticate returns actor with the identity that crt proves now, or
	// ca.ErrUnauthorized when it proves none.
	Authenticate(ctx context.Context, actor audit.Actor, crt *x509.Certificate) (audit.Actor, error)
}

// A Voucher returns the signed statement of one authority about the HTTPS authority, as
// JSON: what lets a client that trusts the former know the daemon over HTTPS.
type Voucher func(ctx context.Context) (json []byte, err error)
