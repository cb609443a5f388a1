package caucase

import (
	"bytes"
	"context"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"

	"cauase/pkg/audit"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// What lets others verify an authority's certificates. All of it is public.

const (
	typeCACRT = "application/x-x509-ca-cert"
	typePEM   = "application/x-pem-file"
)

// readCached makes a handler of something small that rarely changes.
func (f *FrontEnd) readCached(x *server.Exchange, contentType string, get func(context.Context, Core) ([]byte, error)) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		body, err := get(ctx, a)
		if err != nil {
			return err
		}
		return x.ReplyCached(contentType, body)
	}, nil
}

// getCACertificate answers with the oldest CA certificate that is still valid: what every holder of
// a certificate knows, and from which the chain leads to the newer ones.
func (f *FrontEnd) getCACertificate(x *server.Exchange) (server.Perform, error) {
	return f.readCached(x, typeCACRT, func(ctx context.Context, a Core) ([]byte, error) {
		crts, err := a.CACertificates(ctx)
		if err != nil {
			return nil, err
		}
		return pki.EncodeCertificatePEM(crts[0].Raw), nil
	})
}

// getChain answers with the signed succession of the authority's CA certificates: a JSON list of
// envelopes, oldest first, in each of which a CA vouches for its successor.
func (f *FrontEnd) getChain(x *server.Exchange) (server.Perform, error) {
	strict := strictFollower(x.Request.UserAgent())
	return f.readCached(x, server.TypeJSON, func(ctx context.Context, a Core) ([]byte, error) {
		if strict {
			a.NoteStrictFollower(false)
		}
		statements, err := a.Succession(ctx)
		if err != nil {
			return nil, err
		}
		// No client takes more: with spans of an hour that many are made in three months.
		if extra := len(statements) - envelope.MaxList; extra > 0 {
			statements = statements[extra:]
		}
		return jsonList(statements), nil
	})
}

// strictFollower reports whether a client is one of ours, and of a version that follows only to CA certificates of
// the same subject. Those of caucase compare no subjects, and what else there is cannot be known.
func strictFollower(userAgent string) bool {
	product, _, _ := strings.Cut(userAgent, "/")
	return slices.Contains([]string{"cauase", "cauase-updater", "cauase-probe"}, product) &&
		!strings.Contains(userAgent, envelope.FollowsGenerations)
}

// getParentStatements answers with the signed statements of the authority's CA certificates about those for the
// same keys that its parent has signed: a JSON list of envelopes, oldest first.
func (f *FrontEnd) getParentStatements(x *server.Exchange) (server.Perform, error) {
	return f.readCached(x, server.TypeJSON, func(ctx context.Context, a Core) ([]byte, error) {
		statements, err := a.ParentStatements(ctx)
		return jsonList(statements), err
	})
}

// getWithdrawals answers with the signed statements of the authority's newest CA certificate about earlier ones that are to be
// trusted no longer: a JSON list of envelopes, oldest first.
func (f *FrontEnd) getWithdrawals(x *server.Exchange) (server.Perform, error) {
	return f.readCached(x, server.TypeJSON, func(ctx context.Context, a Core) ([]byte, error) {
		statements, err := a.Withdrawals(ctx)
		return jsonList(statements), err
	})
}

func jsonList(elements [][]byte) []byte {
	return append(append([]byte{'['}, bytes.Join(elements, []byte(", "))...), ']')
}

// getVoucher answers with the authority's signed statement about the daemon's own CA certificates.
func (f *FrontEnd) getVoucher(x *server.Exchange) (server.Perform, error) {
	return f.readCached(x, server.TypeJSON, func(ctx context.Context, a Core) ([]byte, error) {
		cas, err := f.cfg.ServerCAs(ctx)
		if err != nil {
			return nil, err
		}
		return a.VouchHTTPS(ctx, cas)
	})
}

// getRoots answers with what to trust in order to verify whatever the authority signs.
func (f *FrontEnd) getRoots(x *server.Exchange) (server.Perform, error) {
	return f.readCached(x, typePEM, func(ctx context.Context, a Core) ([]byte, error) {
		crts, err := a.Roots(ctx)
		if err != nil {
			return nil, err
		}
		var bundle []byte
		for _, crt := range crts {
			bundle = append(bundle, pki.EncodeCertificatePEM(crt.Raw)...)
		}
		return bundle, nil
	})
}

// getIssuer answers with one CA certificate, DER: where certificates say that their issuer's is
// (RFC 5280 4.2.2.1, caIssuers).
func (f *FrontEnd) getIssuer(x *server.Exchange) (server.Perform, error) {
	keyID, err := pathKeyID(x)
	if err != nil {
		return nil, err
	}
	return f.readCached(x, typeCRT, func(ctx context.Context, a Core) ([]byte, error) {
		crts, err := a.Intermediates(ctx)
		if err != nil {
			return nil, err
		}
		for _, crt := range crts {
			if hasKeyID(crt, keyID) {
				return crt.Raw, nil
			}
		}
		return nil, server.ErrNotFound
	})
}

func hasKeyID(crt *x509.Certificate, keyID *big.Int) bool {
	return new(big.Int).SetBytes(crt.SubjectKeyId).Cmp(keyID) == 0
}
