package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// read makes the route of something that is public and looked up by nothing.
func read(x *exchange, contentType string, get func(context.Context) ([]byte, error)) (perform, error) {
	return func(ctx context.Context, _ audit.Actor) error {
		data, err := get(ctx)
		if err != nil {
			return err
		}
		return x.reply(http.StatusOK, contentType, data)
	}, nil
}

func getCRLs(x *exchange) (perform, error) {
	return readLists(x, x.authority().CRLs)
}

func getCRL(x *exchange) (perform, error) {
	aki, err := x.keyID()
	if err != nil {
		return nil, err
	}
	return readLists(x, func(ctx context.Context) ([]ca.List, error) {
		list, err := x.authority().CRL(ctx, aki)
		return []ca.List{list}, err
	})
}

func getCACertificate(x *exchange) (perform, error) {
	// The oldest that is still valid: what every holder of a certificate knows, and from which the
	// chain leads to the newer ones.
	return readCached(x, typeCACRT, func(ctx context.Context) ([]byte, error) {
		crts, err := x.authority().CACertificates(ctx)
		if err != nil {
			return nil, err
		}
		return pki.EncodeCertificatePEM(crts[0].Raw), nil
	})
}

func getChain(x *exchange) (perform, error) {
	return readCached(x, typeJSON, func(ctx context.Context) ([]byte, error) {
		links, err := x.authority().Succession(ctx)
		if err != nil {
			return nil, err
		}
		// No client takes more: with spans of an hour that many are made in three months.
		if extra := len(links) - envelope.MaxList; extra > 0 {
			links = links[extra:]
		}
		out := append([]byte{'['}, bytes.Join(links, []byte(", "))...)
		return append(out, ']'), nil
	})
}

func getVoucher(x *exchange) (perform, error) {
	return readCached(x, typeJSON, x.route.voucher)
}

// getPending lists what waits for a decision. Ids are strings: they have 63 bits, and
// JSON numbers in a browser 53.
func getPending(x *exchange) (perform, error) {
	type item struct {
		ID  string `json:"id"`
		CSR string `json:"csr"`
	}
	return read(x, typeJSON, func(ctx context.Context) ([]byte, error) {
		pending, err := x.authority().Pending(ctx)
		if err != nil {
			return nil, err
		}
		list := make([]item, len(pending))
		for i, r := range pending {
			list[i] = item{ID: strconv.FormatInt(r.ID, 10), CSR: string(r.PEM)}
		}
		return encodeJSON(list)
	})
}

func putRequest(x *exchange) (perform, error) {
	csr, err := x.body(keepCSR)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		req, err := pki.ParseRequest(csr)
		if err != nil {
			return x.refused(ctx, ca.Holder{}, audit.Submit, "", err)
		}
		made, err := x.authority().Submit(ctx, actor, req, "")
		if err != nil {
			return err
		}
		x.w.Header().Set("Location", strconv.FormatInt(made.ID, 10))
		return x.empty(http.StatusCreated)
	}, nil
}

func getRequest(x *exchange) (perform, error) {
	id, err := x.id()
	if err != nil {
		return nil, err
	}
	return read(x, typeCSR, func(ctx context.Context) ([]byte, error) {
		submitted, err := x.authority().Request(ctx, id)
		return submitted.Text, err
	})
}

func deleteRequest(x *exchange) (perform, error) {
	id, err := x.id()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		if err := x.authority().Reject(ctx, actor, id); err != nil {
			return err
		}
		return x.empty(http.StatusNoContent)
	}, nil
}

func getCertificate(x *exchange) (perform, error) {
	id, err := x.id()
	if err != nil {
		return nil, err
	}
	return read(x, typeCRT, func(ctx context.Context) ([]byte, error) {
		issued, err := x.authority().Certificate(ctx, id)
		if err != nil {
			return nil, err
		}
		return pki.EncodeCertificatePEM(issued.Certificate.Raw), nil
	})
}

// putCertificate signs a request, as it is or with what a template has instead.
func putCertificate(x *exchange) (perform, error) {
	id, err := x.id()
	if err != nil {
		return nil, err
	}
	body, err := x.body(keepCSR)
	if err != nil {
		return nil, err
	}
	var template *pki.Request
	if len(body) > 0 {
		if err := x.contentType(typeCSR); err != nil {
			return nil, err
		}
		if template, err = pki.ParseRequest(body); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, actor audit.Actor) error {
		if _, err := x.authority().Approve(ctx, actor, id, ca.Approval{Template: template}); err != nil {
			return err
		}
		return x.empty(http.StatusNoContent)
	}, nil
}

// envelope reads a body that is a JSON envelope.
func (x *exchange) envelope() (*envelope.Envelope, error) {
	if err := x.contentType(typeJSON); err != nil {
		return nil, err
	}
	body, err := x.body(keepEnvelope)
	if err != nil {
		return nil, err
	}
	return envelope.Parse(body)
}

func putRenewal(x *exchange) (perform, error) {
	e, err := x.envelope()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, actor audit.Actor) error {
		renewal, err := envelope.DecodeRenewal(e.Payload())
		if err != nil {
			return x.refused(ctx, ca.Holder{}, audit.Renew, "", err)
		}
		holder, err := x.holder(ctx, actor, audit.Renew, "crt_pem", renewal.CertificatePEM, e)
		if err != nil {
			return err
		}
		req, err := pki.ParseRequest([]byte(renewal.RequestPEM))
		if err != nil {
			return x.refused(ctx, holder, audit.Renew, "renew_csr_pem: ", err)
		}
		issued, err := x.authority().Renew(ctx, holder, req)
		if err != nil {
			return err
		}
		return x.reply(http.StatusOK, typeCRT, pki.EncodeCertificatePEM(issued.Certificate.Raw))
	}, nil
}

// holder returns whoever has signed e with the key of the certificate in one of its members.
func (x *exchange) holder(ctx context.Context, actor audit.Actor, action audit.Action, member, crtPEM string, e *envelope.Envelope) (ca.Holder, error) {
	crt, err := pki.ParseCertificatePEM([]byte(crtPEM))
	if err != nil {
		return ca.Holder{}, x.refused(ctx, ca.Holder{}, action, member+": ", err)
	}
	if e.Null() {
		return ca.Holder{}, x.authority().Refused(ctx, ca.Holder{}, action, fmt.Errorf("%w: the envelope is not signed", ca.ErrUnauthorized))
	}
	holder, err := x.authority().Holder(ctx, actor, crt, e.Verify)
	if err != nil {
		return ca.Holder{}, x.authority().Refused(ctx, ca.Holder{}, action, err)
	}
	return holder, nil
}

// refused is the answer to what cannot be read.
func (x *exchange) refused(ctx context.Context, h ca.Holder, action audit.Action, where string, err error) error {
	return x.authority().Refused(ctx, h, action, fmt.Errorf("%w: %s%w", ca.ErrInvalid, where, err))
}

// putRevocation revokes for a holder, who has signed, or for a user, who has not.
func putRevocation(x *exchange) (perform, error) {
	e, err := x.envelope()
	if err != nil {
		return nil, err
	}
	if !e.Null() {
		x.access = holder
		return func(ctx context.Context, actor audit.Actor) error {
			rev, err := envelope.DecodeRevocation(e.Payload())
			if err != nil {
				return x.refused(ctx, ca.Holder{}, audit.Revoke, "", err)
			}
			if rev.Serial != nil {
				return x.authority().Refused(ctx, ca.Holder{}, audit.Revoke,
					fmt.Errorf("%w: revoking by serial takes an authenticated user", ca.ErrUnauthorized))
			}
			holder, err := x.holder(ctx, actor, audit.Revoke, "revoke_crt_pem", rev.CertificatePEM, e)
			if err != nil {
				return err
			}
			if err := x.authority().RevokeOwn(ctx, holder, rev.Reason); err != nil {
				return err
			}
			return x.empty(http.StatusNoContent)
		}, nil
	}
	x.access = user
	return func(ctx context.Context, actor audit.Actor) error {
		revocation, err := envelope.DecodeRevocation(e.Payload())
		if err != nil {
			return err
		}
		if err := x.revokeByUser(ctx, actor, revocation); err != nil {
			return err
		}
		return x.empty(http.StatusNoContent)
	}, nil
}

func (x *exchange) revokeByUser(ctx context.Context, actor audit.Actor, rev envelope.Revocation) error {
	if rev.Serial != nil {
		return x.authority().RevokeSerial(ctx, actor, rev.Serial, rev.Reason)
	}
	crt, err := pki.ParseCertificatePEM([]byte(rev.CertificatePEM))
	if err != nil {
		return x.refused(ctx, ca.Holder{}, audit.Revoke, "revoke_crt_pem: ", err)
	}
	return x.authority().RevokeCertificate(ctx, actor, crt, rev.Reason)
}

// encodeJSON writes v without escaping what only HTML minds, and without a line end.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
