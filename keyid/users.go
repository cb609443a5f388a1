package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// A user is one certificate of the user whom a key belongs to.
type user struct {
	Subject string `json:"subject"`
	cli.Serial
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Status    string    `json:"status"` // valid, expired, not yet valid, revoked; only a database knows the last
	Issuer    string    `json:"issuer"` // see below
}

// How it is known who issued a certificate.
const (
	recorded        = "recorded"    // it is in the database
	verified        = "verified"    // by one of the CA certificates given
	unknownIssuer   = "unknown"     // by none of them
	uncheckedIssuer = "not checked" // there are none
)

// users are those of each key identifier, in hexadecimal. They are nil if nobody asked.
type users map[string][]user

// of returns nil if nobody asked, and an empty list if nobody is known.
func (u users) of(id string) []user {
	if u == nil {
		return nil
	}
	return append([]user{}, u[strings.ToLower(id)]...)
}

func (u users) add(keyID []byte, of user) {
	id := hex.EncodeToString(keyID)
	same := func(other user) bool { return other.Serial == of.Serial && other.Subject == of.Subject }
	if !slices.ContainsFunc(u[id], same) {
		u[id] = append(u[id], of)
	}
}

// findUsers reads what the flags name. The database comes first, as it knows most.
func findUsers(c *urfave.Context, now time.Time) (users, error) {
	paths, dsn := c.StringSlice(flagCA), c.String(flagDB)
	if len(paths) == 0 && dsn == "" {
		return nil, nil
	}
	found := users{}
	if dsn != "" {
		if err := found.fromDB(c.Context, dsn, now); err != nil {
			return nil, err
		}
	}
	return found, found.fromFiles(paths, now)
}

func (u users) fromFiles(paths []string, now time.Time) error {
	var cas, leaves []*x509.Certificate
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("--%s: %w", flagCA, err)
		}
		crts, err := pemfile.CAStore(path).ReadCertificates()
		if err != nil {
			return fmt.Errorf("--%s: %w", flagCA, err)
		}
		for _, crt := range crts {
			if crt.IsCA {
				cas = append(cas, crt)
			} else {
				leaves = append(leaves, crt)
			}
		}
	}
	for _, crt := range leaves {
		id, err := pki.KeyIDOf(crt)
		if err != nil {
			continue // no backup is made for such a key
		}
		u.add(id, user{
			Subject: pki.SubjectString(crt.RawSubject), Serial: cli.SerialOf(crt.SerialNumber),
			NotBefore: crt.NotBefore, NotAfter: crt.NotAfter,
			Status: statusAt(now, crt.NotBefore, crt.NotAfter), Issuer: issuerOf(crt, cas),
		})
	}
	return nil
}

// issuerOf does not mind that a CA has expired: whose key it was has not changed.
func issuerOf(crt *x509.Certificate, cas []*x509.Certificate) string {
	if len(cas) == 0 {
		return uncheckedIssuer
	}
	for _, ca := range cas {
		if bytes.Equal(crt.RawIssuer, ca.RawSubject) && crt.CheckSignatureFrom(ca) == nil {
			return verified
		}
	}
	return unknownIssuer
}

func statusAt(now, notBefore, notAfter time.Time) string {
	switch {
	case now.Before(notBefore):
		return "not yet valid"
	case now.Truncate(time.Second).After(notAfter):
		return "expired"
	}
	return "valid"
}

// pageSize is how many certificates are read at once.
const pageSize = 1000

func (u users) fromDB(ctx context.Context, dsn string, now time.Time) error {
	// Opening a file would make one.
	if !sqlstore.IsURL(dsn) {
		if _, err := os.Stat(dsn); err != nil {
			return cli.WithHint(fmt.Errorf("--%s: %w", flagDB, err), "give the database of the daemon")
		}
	}
	db, err := sqlstore.Open(ctx, dsn, sqlstore.Options{})
	if err != nil {
		return fmt.Errorf("--%s: %w", flagDB, err)
	}
	err = db.View(ctx, func(r store.Reader) error { return u.fromStore(ctx, r, now) })
	return errors.Join(err, db.Close())
}

func (u users) fromStore(ctx context.Context, r store.Reader, now time.Time) error {
	rows, err := r.Authorities(ctx)
	if err != nil {
		return err
	}
	for _, row := range store.ByRole(rows, store.RoleUsers) {
		if err := u.fromAuthority(ctx, r, row.Name, now); err != nil {
			return err
		}
	}
	return nil
}

func (u users) fromAuthority(ctx context.Context, r store.Reader, name store.AuthorityName, now time.Time) error {
	for after := int64(-1); ; {
		page, err := r.Certificates(ctx, name, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, crt := range page {
			after = crt.ID
			of := user{
				Subject: crt.Subject, Serial: cli.SerialOf(crt.Serial), NotBefore: crt.NotBefore, NotAfter: crt.NotAfter,
				Status: statusAt(now, crt.NotBefore, crt.NotAfter), Issuer: recorded,
			}
			switch _, err := r.Revocation(ctx, name, crt.Serial); {
			case err == nil:
				of.Status = "revoked"
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
			u.add(crt.KeyID, of)
		}
	}
}
