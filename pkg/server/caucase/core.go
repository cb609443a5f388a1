package caucase

import (
	"context"
	"crypto"
	"crypto/x509"
	"math/big"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/store"
)

// A Core is what the routes need of a certificate authority. Package ca implements it. Its errors
// are ca's and store's sentinels, see Problem.
type Core interface {
	Name() store.AuthorityName
	Row() store.Authority

	Foresee(ctx context.Context, actor audit.Actor, o pki.Outline, profile string) (*ca.Submission, error)
	Submit(ctx context.Context, actor audit.Actor, req *pki.Request, how ca.Asked) (ca.Submission, error)
	Pending(ctx context.Context) ([]store.Request, error)
	Request(ctx context.Context, id int64) (ca.Submitted, error)
	Preview(ctx context.Context, how ca.Approval, requests ...ca.Submitted) ([]ca.Preview, error)
	Reject(ctx context.Context, actor audit.Actor, id int64, shown ca.Shown, reason string) error
	Namesakes(ctx context.Context, requests []ca.Submitted) ([]ca.Namesakes, error)
	Standings(ctx context.Context, how ca.Approval, requests []ca.Submitted) ([]ca.Standing, error)
	SubjectOf(ctx context.Context, actor audit.Actor) string
	Rejection(ctx context.Context, id int64, digest pki.Digest) (*ca.Rejected, error)
	Approve(ctx context.Context, actor audit.Actor, id int64, how ca.Approval) (ca.Issued, error)
	Certificate(ctx context.Context, id int64) (ca.Issued, error)

	CheckInvitation(ctx context.Context, actor audit.Actor, inv ca.Invitation) error
	SubmitInvited(ctx context.Context, actor audit.Actor, req *pki.Request, inv ca.Invitation, how ca.Asked) (ca.Submission, error)
	RefusedInvitation(ctx context.Context, actor audit.Actor, why error) error
	Invitations(ctx context.Context) ([]store.Invitation, error)
	Void(ctx context.Context, actor audit.Actor, id string) error

	Holder(ctx context.Context, actor audit.Actor, crt *x509.Certificate, verify func(crypto.PublicKey) error) (ca.Holder, error)
	Confirm(ctx context.Context, h ca.Holder, keyID []byte) error
	Credential(ctx context.Context, h ca.Holder) (*policy.Certificate, error)
	Renew(ctx context.Context, h ca.Holder, req *pki.Request) (ca.Issued, error)
	RevokeOwn(ctx context.Context, h ca.Holder, how ca.Revoking) error
	Refused(ctx context.Context, h ca.Holder, action audit.Action, why error) error

	RevokeCertificate(ctx context.Context, actor audit.Actor, crt *x509.Certificate, how ca.Revoking) error
	RevokeSerial(ctx context.Context, actor audit.Actor, serial *big.Int, how ca.Revoking) error
	EndLineage(ctx context.Context, actor audit.Actor, id int64, reason int) error
	Lineages(ctx context.Context, after store.LineagePage, limit int) ([]store.Lineage, error)
	Lineage(ctx context.Context, id int64, limit int) (store.Lineage, []ca.LineageMember, error)
	LineageOf(ctx context.Context, serial *big.Int) (int64, error)
	Consents(ctx context.Context, user audit.Actor) ([]ca.Consent, error)
	Consent(ctx context.Context, user audit.Actor, origin string, allowed bool) error
	WithdrawConsents(ctx context.Context, user audit.Actor, origin string) error
	Authenticate(ctx context.Context, actor audit.Actor, crt *x509.Certificate) (audit.Actor, error)

	CRLs(ctx context.Context) ([]ca.List, error)
	CRL(ctx context.Context, keyID *big.Int) (ca.List, error)
	ListsChanged() <-chan struct{}
	Timeline(ctx context.Context) (ca.Timeline, error)
	CACertificates(ctx context.Context) ([]*x509.Certificate, error)
	Intermediates(ctx context.Context) ([]*x509.Certificate, error)
	ParentStatements(ctx context.Context) ([][]byte, error)
	Roots(ctx context.Context) ([]*x509.Certificate, error)
	Succession(ctx context.Context) ([][]byte, error)
	Withdrawals(ctx context.Context) ([][]byte, error)
	Forgotten(ctx context.Context) (*ca.Forgetting, error)
	Recover(ctx context.Context, h ca.Holder, list *x509.RevocationList) (ca.Recalled, error)
	NoteStrictFollower(holder bool)
	VouchLog(ctx context.Context, payload []byte) ([]byte, error)
	VouchHTTPS(ctx context.Context, cas []*x509.Certificate) ([]byte, error)
}
