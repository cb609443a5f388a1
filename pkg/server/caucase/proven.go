package caucase

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/proof"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// keepProven is room for a request and what proves who asks, each at its limit and with its line ends escaped.
const keepProven = keepEnvelope

// putProven takes a request of somebody who proves who it is.
func (f *FrontEnd) putProven(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(x, "profile", "once")
	if err != nil {
		return nil, err
	}
	if err := x.ContentType(server.TypeJSON); err != nil {
		return nil, err
	}
	body, err := x.Body(keepProven)
	if err != nil {
		return nil, err
	}
	sent, err := proof.DecodePresentation(body)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		submission, err := f.submit(ctx, a, actor, submitting{text: []byte(sent.RequestPEM), choice: chosen, proofs: &proofs{sent: sent}})
		return replySubmitted(x, submission, err)
	}, nil
}

// replySubmitted says under which id a request is kept, or signed.
func replySubmitted(x *server.Exchange, submission ca.Submission, err error) error {
	if rejected := (*ca.Rejected)(nil); errors.As(err, &rejected) && x.Accepts(typeProblem) {
		return replyRejected(x, http.StatusConflict, rejected)
	}
	if err != nil {
		return err
	}
	x.Header().Set("Location", strconv.FormatInt(submission.ID, 10))
	return x.Empty(http.StatusCreated)
}

// Proofs of who asks, as they were sent and, once they were examined, as they are. At most four signatures are verified for them: one of an SSH host key,
// that of its certificate, one of a certificate's key, and that of this certificate if it is not on record.
type proofs struct {
	sent proof.Presentation
	ssh  *proof.SSHSignature
	held *proof.Held
	by   Core // that may have issued what is held
}

// examine refuses proofs that cannot count for a request, before anything is computed with a key.
func (f *FrontEnd) examine(ctx context.Context, a Core, p *proofs, request pki.Digest) error {
	cas, err := a.CACertificates(ctx)
	if err != nil {
		return err
	}
	purpose := proof.Purpose{Authority: string(a.Name()), CAs: cas, Request: request, Now: f.cfg.Clock.Now()}
	if sent := p.sent.SSH; sent != nil {
		if p.ssh, err = proof.ParseSSH(sent.Signature); err != nil {
			return fmt.Errorf("ssh: %w", err)
		}
		statement, err := proof.DecodeStatement([]byte(sent.Statement))
		if err == nil {
			err = purpose.Check(statement)
		}
		if err != nil {
			return fmt.Errorf("ssh: %w", err)
		}
	}
	if p.sent.Certificate != nil {
		if p.held, err = proof.ParseHeld(p.sent.Certificate); err == nil {
			err = purpose.Check(p.held.Statement)
		}
		if err == nil {
			p.by, err = f.issuerOf(ctx, p.held.Certificate)
		}
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	return nil
}

// issuerOf returns the authority that may have issued a certificate, by what that says itself. Users prove nothing about hosts: they
// sign requests.
func (f *FrontEnd) issuerOf(ctx context.Context, crt *x509.Certificate) (Core, error) {
	for _, a := range f.cfg.Authorities.All() {
		cas, err := a.CACertificates(ctx)
		if err != nil {
			continue // it has none that is valid
		}
		for _, issuer := range cas {
			if !pki.NamesIssuer(crt, issuer) {
				continue
			}
			if a.Row().Role != store.RoleServices {
				return nil, fmt.Errorf("%w: a certificate of %s proves nothing here: those of services do", proof.ErrRefused, a.Name())
			}
			return a, nil
		}
	}
	return nil, fmt.Errorf("%w: the certificate is of no authority of this daemon that is valid", proof.ErrRefused)
}

// asker is who asks by way of this front-end, before it has proved anything.
func asker() policy.Asker { return policy.Asker{FrontEnd: frontEnd} }

// prove finds out who asks, and refuses what proves nothing.
func (f *FrontEnd) prove(ctx context.Context, actor audit.Actor, p *proofs, req *pki.Request) (by policy.Asker, err error) {
	if by = asker(); p == nil {
		return by, nil
	}
	if p.ssh != nil {
		hosts := f.hosts()
		if hosts == nil {
			return by, fmt.Errorf("ssh: %w: this daemon knows no SSH host keys: its configuration has no table [ssh]", proof.ErrRefused)
		}
		host, err := hosts.Identify(f.cfg.Clock.Now(), p.ssh, []byte(p.sent.SSH.Statement), proof.Candidates(req.CSR))
		if err != nil {
			return by, fmt.Errorf("ssh: %w", err)
		}
		by.SSH = &host
	}
	if p.held != nil {
		holder, err := p.by.Holder(ctx, actor, p.held.Certificate, p.held.Verify)
		if err == nil {
			by.Certificate, err = p.by.Credential(ctx, holder)
		}
		if err != nil {
			return by, fmt.Errorf("certificate: %w", notProven(err))
		}
	}
	return by, nil
}

// notProven has a certificate that does not count be a proof that is refused, whatever the same would be in another request.
func notProven(err error) error {
	if errors.Is(err, ca.ErrInvalid) || errors.Is(err, ca.ErrUnauthorized) || errors.Is(err, ca.ErrConflict) {
		return fmt.Errorf("%w: %s", proof.ErrRefused, err)
	}
	return err
}

// hosts are the SSH host keys known now, nil for none.
func (f *FrontEnd) hosts() *proof.Hosts {
	if f.cfg.Hosts == nil {
		return nil
	}
	return f.cfg.Hosts()
}
