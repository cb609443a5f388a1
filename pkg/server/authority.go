package server

import (
	"context"
	"crypto"
	"crypto/x509"
	"math/big"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// An Authority is what the routes need of a certificate authority. Package ca has it.
// Its errors are ca's and store's sentinels, see statusOf.
type Authority interface {
	Submit(ctx context.Context, actor audit.Actor, req *pki.Request, profile string) (ca.Submission, error)
	Pending(ctx context.Context) ([]store.Request, error)
	Request(ctx context.Context, id int64) (ca.Submitted, error)
	Reject(ctx context.Context, actor audit.Actor, id int64) error
	Approve(ctx context.Context, actor audit.Actor, id int64, how ca.Approval) (ca.Issued, error)

	Certificate(ctx context.Context, id int64) (ca.Issued, error)
	Holder(ctx context.Context, actor audit.Actor, crt *x509.Certificate, verify func(crypto.PublicKey) error) (ca.Holder, error)
	Refused(ctx context.Context, h ca.Holder, action audit.Action, why error) error
	Renew(ctx context.Context, h ca.Holder, req *pki.Request) (ca.Issued, error)
	RevokeOwn(ctx context.Context, h ca.Holder, reason int) error
	RevokeCertificate(ctx context.Context, actor audit.Actor, crt *x509.Certificate, reason int) error
	RevokeSerial(ctx context.Context, actor audit.Actor, serial *big.Int, reason int) error

	CRL(ctx context.Context, keyID *big.Int) (ca.List, error)
	CRLs(ctx context.Context) ([]ca.List, error)
	Timeline(ctx context.Context) (ca.Timeline, error)
	CACertificates(ctx context.Context) ([]*x509.Certificate, error)
	Succession(ctx context.Context) ([][]byte, error)
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
