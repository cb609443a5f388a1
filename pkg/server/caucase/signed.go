package caucase

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// Operations whose message itself proves who sends it.

// holder returns whoever has signed e as the holder of crt.
func holder(ctx context.Context, a Core, actor audit.Actor, crt *x509.Certificate, e *envelope.Envelope) (ca.Holder, error) {
	if e.Null() {
		return ca.Holder{}, fmt.Errorf("%w: the envelope is not signed", ca.ErrUnauthorized)
	}
	return a.Holder(ctx, actor, crt, e.Verify)
}

// sent is what a handler of signed messages does with one, once its form is known to be right.
type sent func(ctx context.Context, x *server.Exchange, a Core, actor audit.Actor, e *envelope.Envelope) error

// signed is a handler of signed messages: it reads one for an authority. what says what is done with it.
func (f *FrontEnd) signed(what func(x *server.Exchange, e *envelope.Envelope) sent) func(*server.Exchange) (server.Perform, error) {
	return func(x *server.Exchange) (server.Perform, error) {
		a, err := f.authority(x)
		if err != nil {
			return nil, err
		}
		e, err := readEnvelope(x)
		if err != nil {
			return nil, err
		}
		do := what(x, e)
		return func(ctx context.Context, actor audit.Actor) error { return do(ctx, x, a, actor, e) }, nil
	}
}

func ofRenewal(*server.Exchange, *envelope.Envelope) sent { return renew }

func renew(ctx context.Context, x *server.Exchange, a Core, actor audit.Actor, e *envelope.Envelope) error {
	h, req, err := renewal(ctx, a, actor, e)
	if err != nil {
		return err
	}
	issued, err := a.Renew(ctx, h, req)
	if err != nil {
		return err
	}
	return replyIssued(x, a, issued)
}

// renewal returns who asks for a renewal, and the request that goes with it.
func renewal(ctx context.Context, a Core, actor audit.Actor, e *envelope.Envelope) (h ca.Holder, req *pki.Request, err error) {
	payload, err := envelope.DecodeRenewal(e.Payload())
	if err != nil {
		return h, nil, a.Refused(ctx, h, audit.Renew, fmt.Errorf("%w: %w", ca.ErrInvalid, err))
	}
	old, err := pki.ParseIssuedPEM([]byte(payload.CertificatePEM))
	if err != nil {
		return h, nil, a.Refused(ctx, h, audit.Renew, fmt.Errorf("%w: crt_pem: %w", ca.ErrInvalid, err))
	}
	if h, err = holder(ctx, a, actor, old, e); err != nil {
		return h, nil, a.Refused(ctx, ca.Holder{}, audit.Renew, err)
	}
	if req, err = pki.ParseRenewalRequest([]byte(payload.RequestPEM)); err != nil {
		return h, nil, a.Refused(ctx, h, audit.Renew, fmt.Errorf("%w: renew_csr_pem: %w", ca.ErrInvalid, err))
	}
	return h, req, nil
}

func ofHolding(*server.Exchange, *envelope.Envelope) sent { return hold }

// hold takes the word of a holder that a CA certificate is on its host.
func hold(ctx context.Context, x *server.Exchange, a Core, actor audit.Actor, e *envelope.Envelope) error {
	h, keyID, err := holding(ctx, a, actor, e)
	if err != nil {
		return a.Refused(ctx, ca.Holder{}, audit.HoldCA, err)
	}
	if err := a.Confirm(ctx, h, keyID); err != nil {
		return err
	}
	return x.Empty(http.StatusNoContent)
}

// holding returns who confirms, and the key identifier of what.
func holding(ctx context.Context, a Core, actor audit.Actor, e *envelope.Envelope) (h ca.Holder, keyID []byte, err error) {
	payload, err := envelope.DecodeHolding(e.Payload())
	if err != nil {
		return h, nil, fmt.Errorf("%w: %w", ca.ErrInvalid, err)
	}
	crt, err := pki.ParseIssuedPEM([]byte(payload.CertificatePEM))
	if err != nil {
		return h, nil, fmt.Errorf("%w: crt_pem: %w", ca.ErrInvalid, err)
	}
	h, err = holder(ctx, a, actor, crt, e)
	return h, payload.KeyID, err
}

// ofRevocation revokes for a holder, who has signed, or for a user, who has not.
func ofRevocation(x *server.Exchange, e *envelope.Envelope) sent {
	revoke := revokeOwn
	if e.Null() {
		x.Narrow(server.User)
		revoke = revokeAny
	} else {
		x.Narrow(server.Holder)
	}
	return func(ctx context.Context, x *server.Exchange, a Core, actor audit.Actor, e *envelope.Envelope) error {
		if err := revoke(ctx, a, actor, e); err != nil {
			return err
		}
		return x.Empty(http.StatusNoContent)
	}
}

// revokeOwn revokes a certificate for whoever holds its key.
func revokeOwn(ctx context.Context, a Core, actor audit.Actor, e *envelope.Envelope) error {
	h, how, err := ownRevocation(ctx, a, actor, e)
	if err != nil {
		return a.Refused(ctx, ca.Holder{}, audit.Revoke, err)
	}
	return a.RevokeOwn(ctx, h, how)
}

func ownRevocation(ctx context.Context, a Core, actor audit.Actor, e *envelope.Envelope) (h ca.Holder, how ca.Revoking, err error) {
	payload, err := envelope.DecodeRevocation(e.Payload())
	if err != nil {
		return h, how, fmt.Errorf("%w: %w", ca.ErrInvalid, err)
	}
	if payload.Serial != nil {
		return h, how, fmt.Errorf("%w: revoking by serial takes an authenticated user", ca.ErrUnauthorized)
	}
	crt, err := pki.ParseIssuedPEM([]byte(payload.CertificatePEM))
	if err != nil {
		return h, how, fmt.Errorf("%w: revoke_crt_pem: %w", ca.ErrInvalid, err)
	}
	h, err = holder(ctx, a, actor, crt, e)
	return h, ca.Revoking{Reason: payload.Reason, OnlyThis: payload.OnlyThis}, err
}

// revokeAny revokes whatever a user has named.
func revokeAny(ctx context.Context, a Core, actor audit.Actor, e *envelope.Envelope) error {
	payload, err := envelope.DecodeRevocation(e.Payload())
	if err != nil {
		return err
	}
	if payload.Serial != nil {
		return a.RevokeSerial(ctx, actor, payload.Serial, ca.Revoking{Reason: payload.Reason, OnlyThis: payload.OnlyThis})
	}
	crt, err := pki.ParseIssuedPEM([]byte(payload.CertificatePEM))
	if err != nil {
		return a.Refused(ctx, ca.Holder{}, audit.Revoke, fmt.Errorf("%w: revoke_crt_pem: %w", ca.ErrInvalid, err))
	}
	return a.RevokeCertificate(ctx, actor, crt, ca.Revoking{Reason: payload.Reason, OnlyThis: payload.OnlyThis})
}
