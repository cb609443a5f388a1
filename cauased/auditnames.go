package main

import (
	"cmp"
	"context"
	"errors"
	"math/big"
	"strconv"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A holder is whom a certificate names.
type holder struct {
	name    string // the common name, or all of the subject where there is none
	subject string
}

// subjects knows whom certificates on record name, for what the log has by serial or by id.
type subjects struct {
	r     store.Reader
	users []store.AuthorityName
	known map[string]holder
}

// maxKnown is how many of them are kept at a time.
const maxKnown = 10_000

// of returns whose certificate an actor has shown, and whom an entry is about, empty where they are not on record.
func (s *subjects) of(ctx context.Context, e audit.Entry) (by, of holder, err error) {
	if s.users == nil {
		authorities, err := s.r.Authorities(ctx)
		if err != nil {
			return by, of, err
		}
		s.users = []store.AuthorityName{}
		for _, a := range authorities {
			if a.Role == store.RoleUsers {
				s.users = append(s.users, a.Name)
			}
		}
	}
	own := []store.AuthorityName{store.AuthorityName(e.Authority)}
	if e.Object.Serial != nil {
		of, err = s.withSerial(ctx, own, e.Object.Serial)
	} else {
		of, err = s.withID(ctx, own[0], e.Object)
	}
	if err != nil {
		return by, of, err
	}
	from := own
	if e.Actor.Kind != audit.Holder {
		from = s.users
	}
	by, err = s.withSerial(ctx, from, e.Actor.Serial)
	return by, of, err
}

func (s *subjects) withSerial(ctx context.Context, authorities []store.AuthorityName, serial *big.Int) (holder, error) {
	if serial == nil {
		return holder{}, nil
	}
	for _, a := range authorities {
		found, err := s.look(string(a)+" "+serial.String(), func() (holder, error) {
			crt, err := s.r.CertificateBySerial(ctx, a, serial)
			if err != nil {
				return holder{}, err
			}
			return holder{nameOf(crt), crt.Subject}, nil
		})
		if err != nil || found.subject != "" {
			return found, err
		}
	}
	return holder{}, nil
}

// withID finds requests and lineages. The id of a lineage is that of its first request.
func (s *subjects) withID(ctx context.Context, a store.AuthorityName, o audit.Object) (holder, error) {
	id, err := strconv.ParseInt(o.ID, 10, 64)
	if err != nil || o.Kind != audit.KindLineage && o.Kind != audit.KindRequest {
		return holder{}, nil
	}
	return s.look(string(a)+" id "+o.ID, func() (holder, error) {
		if req, err := s.r.Request(ctx, a, id); err == nil || !errors.Is(err, store.ErrNotFound) {
			return holder{req.Subject, req.Subject}, err
		}
		l, err := s.r.Lineage(ctx, a, id)
		return holder{l.Subject, l.Subject}, err
	})
}

// look returns what is known under a key, and looks for it otherwise.
func (s *subjects) look(key string, find func() (holder, error)) (holder, error) {
	if found, ok := s.known[key]; ok {
		return found, nil
	}
	found, err := find()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return holder{}, nil
	case err != nil:
		return holder{}, err
	}
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[key] = found
	return found, nil
}

// nameOf is the common name of whoever has a certificate, by which people know each other.
func nameOf(crt store.Certificate) string {
	parsed, err := pki.ParseIssuedDER(crt.DER)
	if err != nil {
		return crt.Subject
	}
	return cmp.Or(parsed.Subject.CommonName, crt.Subject)
}
