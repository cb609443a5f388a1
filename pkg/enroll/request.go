package enroll

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// A Request is a certificate signing request on its way.
type Request struct {
	*pki.Request

	ID     client.ID // 0 before it is submitted
	Key    crypto.Signer
	Staged bool  // the key is the staged one, and not in place
	From   Files // what the files held when the attempt began
}

// NewRequest stages a key and makes a request for it, which is made durable in the engine's CSR
// file, by keep, or both, so that whatever comes of it can be fetched after a crash. If it cannot be,
// there is no request.
func (e *Engine) NewRequest(template *x509.CertificateRequest, from Files, keep func(*Request) error) (*Request, error) {
	if err := e.Paths.Check(); err != nil {
		return nil, err
	}
	keyType := e.KeyType
	if keyType == "" {
		keyType = pki.DefaultKeyType
	}
	key, err := e.stage(keyType, from.Pair.Key)
	if err != nil {
		return nil, err
	}
	r := &Request{Key: key, Staged: true, From: from}
	r.Request, err = sign(template, key)
	if err == nil && e.CSR != "" {
		err = exclusively(e.Paths, func() error {
			_, err := pemfile.Write(pemfile.File{Path: e.CSR, Content: r.PEM, Attributes: e.csrAttributes()})
			return err
		})
	}
	if err == nil && keep != nil {
		err = keep(r)
	}
	if err != nil {
		return nil, join(err, e.unstage(key))
	}
	return r, nil
}

// csrAttributes are those of the file with the request.
func (e *Engine) csrAttributes() pemfile.Attributes {
	return pemfile.Attributes{Guard: e.Paths.Attributes.Guard, Own: e.Paths.Attributes.Own, Step: e.Paths.Attributes.Step}
}

// CheckTemplate reports why nobody would sign a request like template, before anything is done
// for it.
func CheckTemplate(template *x509.CertificateRequest) error {
	key, err := pki.DefaultKeyType.Generate()
	if err == nil {
		_, err = sign(template, key)
	}
	return err
}

// sign makes a request and reads it as a daemon does.
func sign(template *x509.CertificateRequest, key crypto.Signer) (*pki.Request, error) {
	template, err := withKeyUsage(template, key.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, err
	}
	return pki.ParseRequest(pki.EncodeCSRPEM(der))
}

// Resume continues an earlier request, whose key is in place or staged. If it is neither,
// that is [ErrOtherKey].
func (e *Engine) Resume(csrPEM []byte, from Files) (*Request, error) {
	parsed, err := pki.ParseRequest(csrPEM)
	if err != nil {
		return nil, err
	}
	r := &Request{Request: parsed, From: from}
	if key := from.Pair.Key; key != nil && pki.SameKey(key.Public(), parsed.CSR.PublicKey) {
		r.Key = key
		return r, nil
	}
	key, err := pemfile.StagedKey(e.Paths)
	if err != nil || !pki.SameKey(key.Public(), parsed.CSR.PublicKey) {
		return nil, ErrOtherKey
	}
	r.Key, r.Staged = key, true
	return r, nil
}

// Place makes the staged key of a request the key of the pair, if there is nothing else in its
// files: whoever looks at them while the request is pending finds its key where it will be. A
// key that has got there since the attempt began is [ErrOvertaken].
func (e *Engine) Place(r *Request) error {
	if !r.Staged || !r.From.empty() {
		return nil
	}
	return exclusively(e.Paths, func() error {
		if !Look(e.Paths).same(r.From) {
			return ErrOvertaken
		}
		if err := pemfile.PlaceStagedKey(e.Paths); err != nil {
			return err
		}
		r.Staged, r.From = false, Look(e.Paths)
		return nil
	})
}

// Submit hands in a request, with the invitation if there is one, and sets its ID. The same request again gets the
// same one. One that was rejected before is [ErrRejected], unless it is to be submitted again.
func (e *Engine) Submit(ctx context.Context, r *Request) error {
	var id client.ID
	var err error
	how := client.Submission{Profile: e.Profile, Once: !e.Again}
	switch {
	case e.Invitation != nil:
		id, err = e.Client.SubmitInvited(ctx, r.PEM, e.Profile, e.Invitation, e.InvitedCAs)
	case e.Proving != nil:
		id, err = e.Client.SubmitProven(ctx, r.PEM, how, *e.Proving)
	case e.User != nil:
		id, err = e.User.Submit(ctx, r.PEM, how)
	default:
		id, err = e.Client.SubmitFor(ctx, r.PEM, how)
	}
	if why := (*client.Rejection)(nil); errors.As(err, &why) {
		return fmt.Errorf("submit request: %w", why)
	}
	if err == nil {
		r.ID = id
	}
	return err
}

// Refused reports whether an error of Submit says that the request will never be signed, rather
// than that nobody knows whether it arrived.
func Refused(err error) bool {
	var status *client.StatusError
	return refused(err) && errors.As(err, &status) && status.Status < 500
}

// Withdraw forgets the staged key of a request that has come to nothing.
func (e *Engine) Withdraw(r *Request) error {
	if !r.Staged {
		return nil
	}
	return e.unstage(r.Key)
}

// Collect fetches the certificate of a request, once, and verifies it. While nobody has decided
// the error is [client.ErrPending]; if somebody has decided against it, [ErrRejected]. One of a CA that was withdrawn since is exchanged; if
// the daemon does not do that, the error is a [client.ErrIssuerWithdrawn] that is Refused, and only another request, with another key, can help.
func (e *Engine) Collect(ctx context.Context, r *Request, trust Trust) (*Issue, error) {
	issued, err := e.FetchFor(ctx, r.ID, r.Digest, trust)
	if withdrawn := errors.Is(err, client.ErrIssuerWithdrawn); err != nil && !withdrawn {
		return nil, err
	} else if !pki.SameKey(issued.Certificate.PublicKey, r.Key.Public()) {
		return nil, fmt.Errorf("certificate %s: %w", r.ID, client.ErrWrongKey)
	} else if withdrawn {
		if issued, err = e.exchange(ctx, issued, r.Key, trust, err); err != nil {
			return nil, err
		}
	}
	return &Issue{
		Pair: pairOf(r.Key, issued), Staged: r.Staged, Before: r.From,
		Differences: client.Differences(issued.Certificate, r.Request),
	}, nil
}

// exchange gets another certificate, of a CA that counts, for one of a CA that was withdrawn, as why says. The key stays: nobody else ever had
// it, and it is on disk. Whoever stole the key of the CA and answers in the daemon's place gains nothing by it, as what comes is verified.
func (e *Engine) exchange(ctx context.Context, old client.Issued, key crypto.Signer, trust Trust, why error) (issued client.Issued, err error) {
	if e.Chain {
		issued, err = e.Client.RenewChain(ctx, old.Certificate, key, key, trust.CAs)
	} else {
		issued.Certificate, err = e.Client.Renew(ctx, old.Certificate, key, key, trust.CAs)
	}
	if err == nil {
		err = e.checkChain(ctx, issued, trust, nil)
	}
	if err != nil {
		return client.Issued{}, fmt.Errorf("%w; it cannot be exchanged: %w", why, err)
	}
	return issued, nil
}

// FetchFor is Fetch for a request of which more than the id is known. If the daemon does not have it any more, the error is
// [ErrRejected].
func (e *Engine) FetchFor(ctx context.Context, id client.ID, digest pki.Digest, trust Trust) (client.Issued, error) {
	issued, err := e.Fetch(ctx, id, trust)
	if !errors.Is(err, client.ErrUnknown) {
		return issued, err
	}
	switch rejection, err := e.Client.Rejection(ctx, id, digest); {
	case err != nil:
		return client.Issued{}, err
	case rejection != nil:
		return client.Issued{}, fmt.Errorf("request %s: %w", id, rejection)
	}
	return client.Issued{}, fmt.Errorf("request %s: %w", id, ErrRejected)
}

// Fetch fetches a certificate, with its chain if Chain says so, and verifies it, but for its key,
// which need not be known here. Errors are those of [client.Client.Certificate] and of
// [client.CheckIssued], and [client.ErrIssuerWithdrawn], with which the certificate is returned that is not to be used.
func (e *Engine) Fetch(ctx context.Context, id client.ID, trust Trust) (issued client.Issued, err error) {
	if e.Chain {
		issued, err = e.Client.CertificateChain(ctx, id)
	} else {
		issued.Certificate, err = e.Client.Certificate(ctx, id)
	}
	if err != nil {
		return client.Issued{}, err
	}
	if err = client.CheckIssued(issued.Certificate, nil, trust.CAs, e.Clock.Now()); err == nil {
		err = e.checkChain(ctx, issued, trust, nil)
	}
	if errors.Is(err, pki.ErrUnknownIssuer) {
		if withdrawn, failed := e.Client.IssuerWithdrawn(ctx, issued.Certificate, trust.CAs); failed == nil && withdrawn {
			return issued, fmt.Errorf("certificate %s: %w (%w)", id, client.ErrIssuerWithdrawn, err)
		}
	}
	if err != nil {
		return client.Issued{}, fmt.Errorf("certificate %s: %w", id, err)
	}
	return issued, nil
}
