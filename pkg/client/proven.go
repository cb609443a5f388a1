package client

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/proof"
)

// ErrNoProofs says that the daemon is none that can be proved anything to.
var ErrNoProofs = errors.New("the daemon takes no proofs of who asks: it is of an earlier version, or a reference caucased")

// A Proving is what somebody can prove with who it is. At least one of the two is there.
type Proving struct {
	SSH *proof.SSHKey // of this host; nil: none

	Certificate *x509.Certificate // of any authority of services of the daemon; nil: none
	Key         crypto.Signer     // of that

	// CAs are the CA certificates of the authority that are trusted here. A proof is of no use to another one.
	CAs []*x509.Certificate
}

const opProve = "submit request with proof"

// IsUnproven reports whether err is a daemon's answer that a proof does not count, or that who has proved it is may not have what it asks for.
func IsUnproven(err error) bool {
	var refused *StatusError
	return errors.As(err, &refused) && refused.Op == opProve && refused.Status == http.StatusForbidden
}

// SubmitProven hands in a request of somebody who proves who it is, and returns its ID. What is signed is good for this request, this
// authority and a few minutes, so that it is no secret.
func (c *Client) SubmitProven(ctx context.Context, csrPEM []byte, how Submission, who Proving) (ID, error) {
	request, err := pki.CanonicalRequest(csrPEM)
	if err != nil {
		return 0, err
	}
	sent, err := c.prove(request, who)
	if err != nil {
		return 0, err
	}
	body, err := sent.Encode()
	if err != nil {
		return 0, err
	}
	_, header, err := c.http.do(ctx, call{
		op: opProve, method: http.MethodPut, path: "/prove", query: how.query(), accept: acceptProblem, body: body, typ: typeJSON, want: http.StatusCreated,
	})
	if IsStatus(err, http.StatusNotFound, http.StatusMethodNotAllowed) {
		return 0, fmt.Errorf("%w (%w)", ErrNoProofs, err)
	}
	if err != nil {
		return 0, err
	}
	return located(opProve, header)
}

// prove signs what proves who asks with a request.
func (c *Client) prove(request []byte, who Proving) (sent proof.Presentation, err error) {
	now := c.options.Clock.Now()
	to, err := newestOf(who.CAs, now)
	if err != nil {
		return sent, err
	}
	digest, err := pki.DigestOf(request)
	if err != nil {
		return sent, err
	}
	statement := proof.Statement{Authority: string(c.options.Authority), CA: proof.Fingerprint(to), Request: digest, Made: now}
	sent.RequestPEM = string(request)
	if who.SSH != nil {
		text, err := statement.Encode()
		if err != nil {
			return sent, err
		}
		signature, err := proof.SignSSH(who.SSH.Signer, who.SSH.Certificate, text)
		if err != nil {
			return sent, err
		}
		sent.SSH = &proof.Signed{Statement: string(text), Signature: signature}
	}
	if who.Certificate != nil {
		sent.Certificate, err = proof.SignHeld(who.Key, who.Certificate, statement)
	}
	return sent, err
}

// newestOf returns the newest CA certificate that is valid.
func newestOf(cas []*x509.Certificate, now time.Time) (*x509.Certificate, error) {
	newest := newestValid(cas, now)
	if newest == nil {
		return nil, fmt.Errorf("%s: no CA certificate of the authority is trusted and valid", opProve)
	}
	return newest, nil
}
