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
	return readList(x, x.authority().CRLs)
}

func getCRL(x *exchange) (perform, error) {
	aki, err := x.keyID()
	if err != nil {
		return nil, err
	}
	return readList(x, func(ctx context.Context) (ca.List, error) {
		return x.authority().CRL(ctx, aki)
	})
}

func getCACertificate(x *exchange) (perform, error) {
	return readCached(x, typeCACRT, x.authority().CACertificate)
}

func getChain(x *exchange) (perform, error) {
	return readCached(x, typeJSON, x.authority().Chain)
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
		id, err := x.authority().Submit(ctx, actor, csr)
		if err != nil {
			return err
		}
		x.w.Header().Set("Location", strconv.FormatInt(id, 10))
		return x.empty(http.StatusCreated)
	}, nil
}

func getRequest(x *exchange) (perform, error) {
	id, err := x.id()
	if err != nil {
		return nil, err
	}
	return read(x, typeCSR, func(ctx context.Context) ([]byte, error) {
		return x.authority().Request(ctx, id)
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
		return x.authority().Certificate(ctx, id)
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
		if err := x.authority().Sign(ctx, actor, id, template); err != nil {
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
		crt, err := x.authority().Renew(ctx, actor, e)
		if err != nil {
			return err
		}
		return x.reply(http.StatusOK, typeCRT, crt)
	}, nil
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
			if err := x.authority().RevokeByHolder(ctx, actor, e); err != nil {
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
		if err := x.authority().RevokeByUser(ctx, actor, revocation); err != nil {
			return err
		}
		return x.empty(http.StatusNoContent)
	}, nil
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
