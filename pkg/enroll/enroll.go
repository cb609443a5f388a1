// Package enroll gets and renews one certificate with its key on this host. It is the one
// way from a key to a certificate on disk, for commands that run once and for agents.
//
// The order is what makes it safe. A key is staged on disk before anybody hears of it; a
// request is durable before it is submitted; what comes is verified before it is stored; and
// key and certificate are installed together or not at all. So whatever ends the process
// leaves the old pair, the new one, or what [Engine.Recover] and the next attempt make one of
// them from: no key of a certificate that was issued is lost, and no leftover stays for good.
package enroll

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"net/http"

	"cauase/pkg/client"
	"cauase/pkg/clock"
	"cauase/pkg/invite"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

var (
	// ErrOvertaken says that somebody else has put another key or certificate in place since
	// an attempt began. What is there stays, and so does the staged key.
	ErrOvertaken = errors.New("key or certificate were changed meanwhile by somebody else")

	// ErrRejected says that somebody has decided against a request. The error may be a [client.Rejection], which
	// says why.
	ErrRejected = client.ErrRejected

	// ErrOtherKey is a request whose key is neither in place nor staged.
	ErrOtherKey = errors.New("the request is for a key that is not here")
)

// An Engine gets and renews the certificate at Paths. It keeps nothing in memory between two
// calls, so several may work on the same files: their steps on disk exclude each other, and a
// staged key is shared.
type Engine struct {
	Client *client.Client
	Clock  clock.Clock
	Paths  pemfile.PairPaths

	// CSR is the file that requests are kept in, "" if the caller of NewRequest keeps them.
	CSR string

	KeyType pki.KeyType // of new keys, "" for that of the key replaced
	Profile string      // of requests, "" for the authority's default
	Again   bool        // submits what was rejected before once more

	// User, if it is not nil, is in whose name requests are submitted.
	User *client.Session

	// Invitation, if it is not nil, goes with requests, to a daemon for which one of InvitedCAs vouches.
	Invitation *invite.Signed
	InvitedCAs []*x509.Certificate

	// Proving, if it is not nil, is what requests are submitted with to prove who asks.
	Proving *client.Proving

	// Chain stores the CA certificates between a certificate and its root behind it. Renewals
	// do so, too, if there are some behind the certificate renewed.
	Chain bool
}

// Trust is what certificates are verified by when they come.
type Trust struct {
	CAs []*x509.Certificate // of the authority

	// Roots are asked for when a chain has to be verified.
	Roots func(context.Context) ([]*x509.Certificate, error)
}

// An Issue is a certificate that has been verified and is to be installed.
type Issue struct {
	Pair   pemfile.Pair
	Staged bool  // the key is the staged one, and not in place yet
	Before Files // what the attempt began with

	// Differences are names that were requested and are others in the certificate, in words.
	Differences []string
}

// refused reports whether the daemon itself has said no, so that nothing was issued. Answers of
// a proxy say nothing about what lies behind it.
func refused(err error) bool {
	var status *client.StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return status.Status >= 400 && status.Status <= 500
}

// Renew gets a successor of the certificate in from, which has a complete pair, for a new key.
// It changes nothing on disk but the staged key, see [Engine.Install].
func (e *Engine) Renew(ctx context.Context, from Files, trust Trust) (*Issue, error) {
	old := from.Pair
	if err := e.Paths.Check(); err != nil {
		return nil, err
	}
	keyType, err := e.keyType(old.Key.Public())
	if err != nil {
		return nil, err
	}
	key, err := e.stage(keyType, old.Key)
	if err != nil {
		return nil, err
	}
	if issued, found := e.issuedBefore(ctx, key, old, trust); found {
		return &Issue{Pair: pairOf(key, issued), Staged: true, Before: from}, nil
	}
	issued := client.Issued{}
	if e.Chain || len(old.Chain) > 0 {
		issued, err = e.Client.RenewChain(ctx, old.Crt, old.Key, key, trust.CAs)
	} else {
		issued.Certificate, err = e.Client.Renew(ctx, old.Crt, old.Key, key, trust.CAs)
	}
	if err != nil {
		if refused(err) || errors.Is(err, client.ErrWrongKey) {
			err = join(err, e.unstage(key))
		}
		return nil, err
	}
	if err := e.checkChain(ctx, issued, trust, old.Chain); err != nil {
		return nil, err
	}
	issue := &Issue{Pair: pairOf(key, issued), Staged: true, Before: from}
	// If it cannot be installed, nobody has to issue another one. Where it cannot be kept either, that is said then.
	_ = exclusively(e.Paths, func() error { return pemfile.StageCertificate(e.Paths, issue.Pair) })
	return issue, nil
}

// issuedBefore returns what an attempt has got for the staged key that could not install it, if that can still be
// used.
func (e *Engine) issuedBefore(ctx context.Context, key crypto.Signer, old pemfile.Pair, trust Trust) (client.Issued, bool) {
	crt, chain, err := pemfile.StagedCertificate(e.Paths)
	if err != nil || crt.NotAfter.Before(old.Crt.NotAfter) || crt.Equal(old.Crt) {
		return client.Issued{}, false
	}
	issued := client.Issued{Certificate: crt, Chain: chain}
	if err := client.CheckRenewed(crt, old.Crt, key.Public(), trust.CAs, e.Clock.Now()); err != nil {
		return client.Issued{}, false
	}
	return issued, e.checkChain(ctx, issued, trust, old.Chain) == nil
}

func pairOf(key crypto.Signer, issued client.Issued) pemfile.Pair {
	return pemfile.Pair{Key: key, Crt: issued.Certificate, Chain: issued.Chain}
}

// checkChain verifies the chain of a certificate, where one is wanted. Where the authority itself is the root
// it is empty.
func (e *Engine) checkChain(ctx context.Context, issued client.Issued, trust Trust, before []*x509.Certificate) error {
	wanted := e.Chain || len(before) > 0
	if !wanted {
		return nil
	}
	if trust.Roots == nil {
		return client.ErrIncompleteChain
	}
	roots, err := trust.Roots(ctx)
	if err != nil {
		return err
	}
	return client.CheckChain(issued, trust.CAs, roots, e.Clock.Now())
}
