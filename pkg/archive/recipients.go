package archive

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/big"
	"time"

	"cauase/pkg/backup"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

var (
	// ErrNoUser means that there is no user to encrypt a backup to. Before the first one, that is no failure.
	ErrNoUser = errors.New("no user certificate is valid, so that there is nobody to encrypt a backup to")
	// ErrNoUsableKey means that there are users, but none whose key can be encrypted to.
	ErrNoUsableKey = errors.New("no user has a key that a backup can be encrypted to")
)

// An Excluded is a user who cannot decrypt a backup.
type Excluded struct {
	Subject string
	Serial  *big.Int
	Why     string
}

// userPage is how many lineages are read at a time, and newestPage how many certificates of one are looked at.
const (
	userPage   = 500
	newestPage = 100
)

// users returns the keys of everybody who is a user at now, each once, and who had to be left out. A user has one key, that of
// the newest certificate of the lineage: whoever renews over and over takes no place from others, and those who have been there
// longest come first.
func users(ctx context.Context, r store.Reader, now time.Time) (keys []crypto.PublicKey, excluded []Excluded, err error) {
	known := map[string]bool{}
	err = eachUser(ctx, r, now, func(c store.Certificate) error {
		pub, keyID, err := keyOf(c)
		switch {
		case err != nil:
			excluded = append(excluded, Excluded{c.Subject, c.Serial, err.Error()})
		case known[string(keyID)]:
		case len(keys) == backup.MaxRecipients:
			excluded = append(excluded, Excluded{c.Subject, c.Serial, fmt.Sprintf("more than %d users", backup.MaxRecipients)})
		default:
			known[string(keyID)] = true
			keys = append(keys, pub)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, nil, err
	case len(keys) == 0 && len(excluded) > 0:
		return nil, excluded, ErrNoUsableKey
	case len(keys) == 0:
		return nil, nil, ErrNoUser
	}
	return keys, excluded, nil
}

// eachUser calls fn with the newest certificate of each lineage of users that is valid at now and not revoked, of
// whichever authority, the oldest lineages first.
func eachUser(ctx context.Context, r store.Reader, now time.Time, fn func(store.Certificate) error) error {
	rows, err := r.Authorities(ctx)
	if err != nil {
		return err
	}
	for _, row := range store.ByRole(rows, store.RoleUsers) {
		if err := eachUserOf(ctx, r, row.Name, now, fn); err != nil {
			return err
		}
	}
	return nil
}

func eachUserOf(ctx context.Context, r store.Reader, name store.AuthorityName, now time.Time, fn func(store.Certificate) error) error {
	for after := (store.LineagePage{}); ; {
		page, err := r.Lineages(ctx, name, after, userPage)
		if err != nil {
			return err
		}
		for _, l := range page {
			after = store.LineagePage{CreatedAt: l.CreatedAt, ID: l.ID}
			if l.State != store.LineageActive || now.After(l.NotAfter) {
				continue
			}
			c, err := newestOf(ctx, r, l, now)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err == nil {
				err = fn(c)
			}
			if err != nil {
				return err
			}
		}
		if len(page) < userPage {
			return nil
		}
	}
}

// newestOf returns the newest certificate of a lineage that is good at now; store.ErrNotFound if there is none. It is
// among the newest unless those were withdrawn one by one, or were made with a shorter validity: then all are looked at, as
// nobody is left out who can log in.
func newestOf(ctx context.Context, r store.Reader, l store.Lineage, now time.Time) (store.Certificate, error) {
	for _, limit := range []int{newestPage, 0} {
		crts, err := r.LineageCertificates(ctx, l.Authority, l.ID, limit)
		if err != nil {
			return store.Certificate{}, err
		}
		c, err := goodOf(ctx, r, crts, now)
		if !errors.Is(err, store.ErrNotFound) || len(crts) < newestPage {
			return c, err
		}
	}
	return store.Certificate{}, store.ErrNotFound
}

// goodOf returns the first of some certificates that is good at now.
func goodOf(ctx context.Context, r store.Reader, crts []store.Certificate, now time.Time) (store.Certificate, error) {
	for _, c := range crts {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			continue
		}
		switch _, err := r.Revocation(ctx, c.Authority, c.Serial); {
		case errors.Is(err, store.ErrNotFound):
			return c, nil
		case err != nil:
			return store.Certificate{}, err
		}
	}
	return store.Certificate{}, store.ErrNotFound
}

// keyOf returns the key of a certificate if backups can be encrypted to it.
func keyOf(c store.Certificate) (crypto.PublicKey, []byte, error) {
	crt, err := pki.ParseIssuedDER(c.DER)
	if err != nil {
		return nil, nil, errors.New("the certificate on record cannot be read")
	}
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	return crt.PublicKey, keyID, backup.Usable(crt.PublicKey)
}
