package caucase

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// forgottenJSON says what the authority may have forgotten (docs/protocol.md, "After a restore").
type forgottenJSON struct {
	RestoredAt time.Time  `json:"restored_at"`
	BackupOf   *time.Time `json:"backup_of,omitempty"`
	Until      time.Time  `json:"until"`
	Number     int64      `json:"crl_number,string"`
	Next       int64      `json:"next_crl_number,string"`
}

// recalledJSON is what became of what a host has kept.
type recalledJSON struct {
	Recorded bool `json:"recorded"`
	Added    int  `json:"revocations_added"`
	Known    int  `json:"revocations_known"`
}

// getForgotten says whether hosts are asked for what they have kept.
func (f *FrontEnd) getForgotten(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		switch forgotten, err := a.Forgotten(ctx); {
		case err != nil:
			return err
		case forgotten == nil:
			return fmt.Errorf("%w: nothing has been forgotten", ca.ErrNotFound)
		default:
			return replyJSON(x, forgottenJSON(*forgotten))
		}
	}, nil
}

// putRecovery takes in what a holder has kept.
func (f *FrontEnd) putRecovery(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	e, err := readEnvelope(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		// One at a time: a list takes ten times its size while it is parsed.
		select {
		case f.recovering <- struct{}{}:
			defer func() { <-f.recovering }()
		case <-ctx.Done():
			return ctx.Err()
		}
		h, list, err := recovery(ctx, a, actor, e)
		if err != nil {
			return a.Refused(ctx, h, audit.Recover, err)
		}
		done, err := a.Recover(ctx, h, list)
		if err != nil {
			return err
		}
		return replyJSON(x, recalledJSON(done))
	}, nil
}

// recovery returns who has kept what. Nothing of the list is looked at before the holder is known.
func recovery(ctx context.Context, a Core, actor audit.Actor, e *envelope.Envelope) (h ca.Holder, list *x509.RevocationList, err error) {
	payload, err := envelope.DecodeRecovery(e.Payload())
	if err != nil {
		return h, nil, fmt.Errorf("%w: %w", ca.ErrInvalid, err)
	}
	crt, err := pki.ParseIssuedPEM([]byte(payload.CertificatePEM))
	if err != nil {
		return h, nil, fmt.Errorf("%w: crt_pem: %w", ca.ErrInvalid, err)
	}
	if h, err = holder(ctx, a, actor, crt, e); err != nil {
		return ca.Holder{}, nil, err
	}
	switch forgotten, err := a.Forgotten(ctx); {
	case err != nil:
		return h, nil, err
	case forgotten == nil:
		return h, nil, ca.ErrNothingForgotten
	case payload.ListPEM == "":
		return h, nil, nil
	}
	if list, err = pki.ParseCRLPEM([]byte(payload.ListPEM)); err != nil {
		return h, nil, fmt.Errorf("%w: crl_pem: %w", ca.ErrInvalid, err)
	}
	return h, list, nil
}
