package manage

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/dump"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/token"
	"cauase/pkg/vault"
)

var (
	// ErrNotUser means that a backup has no certificate of the user whose key opens it.
	ErrNotUser = errors.New("the backup knows no user with this key")
	// ErrUserRevoked means that the certificate of the user is revoked.
	ErrUserRevoked = errors.New("the user with this key is revoked in the backup")
	// ErrUnexpectedCAs means that a backup lacks a CA that it is expected to hold.
	ErrUnexpectedCAs = errors.New("the backup is not one of the expected CA")
)

// Contents tells what a backup holds.
type Contents struct {
	Format   string      `json:"format"`
	Created  *time.Time  `json:"created,omitempty"`  // nil: the backup does not say
	Software string      `json:"software,omitempty"` // the version that wrote it
	Rows     []RowCount  `json:"rows"`
	CAs      []ContentCA `json:"cas"` // oldest first

	Authorities []ContentAuthority `json:"authorities"` // users' first

	Users    []string  `json:"users"` // subjects, of certificates that are valid now
	User     string    `json:"user"`  // subject of the one whose key opens it
	UserEnds time.Time `json:"user_valid_until"`
	Notes    []string  `json:"notes,omitempty"`
}

// A RowCount says how many rows there are of a kind.
type RowCount struct {
	Kind  string `json:"kind"`
	Count int64  `json:"count"`
}

// A ContentAuthority is an authority in a backup.
type ContentAuthority struct {
	Name    store.AuthorityName `json:"name"`
	Title   string              `json:"title"`
	Role    store.Role          `json:"role"`
	Parent  store.AuthorityName `json:"parent,omitempty"`
	Retired bool                `json:"retired,omitempty"`
}

// A ContentCA is a CA certificate in a backup.
type ContentCA struct {
	Authority   store.AuthorityName `json:"authority"`
	Subject     string              `json:"subject"`
	Fingerprint string              `json:"fingerprint"` // as hosts are given it
	NotAfter    time.Time           `json:"not_after"`
	HasKey      bool                `json:"has_key"`
}

// A survey inspects rows as they pass.
type survey struct {
	now     time.Time
	keyID   []byte // of the user whose key opens the backup
	expect  []string
	counts  map[string]int64
	cas     []ContentCA
	proved  []bool           // of cas: the key is there, and is that of the certificate
	sealed  map[int]store.CA // of cas: those whose key is sealed
	keks    []store.KEK
	key     crypto.Signer // of the user
	needs   []string      // what a daemon needs that no backup holds
	rows    []store.Authority
	admins  map[store.AuthorityName]bool // authorities of users
	holder  []store.Certificate          // that have the key
	users   map[string]string            // subjects of those valid now, by serialOf
	revoked map[string]bool              // of the holder's, by serialOf
}

func newSurvey(now time.Time, s Sealed) (*survey, error) {
	keyID, err := pki.KeyID(s.Key.Public())
	if err != nil {
		return nil, err
	}
	return &survey{
		now: now, keyID: keyID, expect: s.ExpectCAs, counts: map[string]int64{}, users: map[string]string{}, revoked: map[string]bool{},
		admins: map[store.AuthorityName]bool{}, sealed: map[int]store.CA{}, key: s.Key,
	}, nil
}

// watch inspects rows, and refuses what an authority could not be opened with.
func (s *survey) watch(rows iter.Seq2[store.Row, error], step func(store.Row)) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		for row, err := range rows {
			if err == nil {
				step(row)
				err = s.look(row)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (s *survey) look(row store.Row) error {
	s.counts[dump.Kind(row)]++
	switch v := row.(type) {
	case store.Authority:
		s.rows = append(s.rows, v)
		s.admins[v.Name] = v.Role == store.RoleUsers
	case store.CA:
		return s.lookAtCA(v)
	case store.KEK:
		s.keks = append(s.keks, v)
	case store.Certificate:
		if !s.admins[v.Authority] {
			return nil
		}
		if bytes.Equal(v.KeyID, s.keyID) {
			s.holder = append(s.holder, v)
		}
		if !s.now.Before(v.NotBefore) && !s.now.After(v.NotAfter) {
			s.users[serialOf(v.Authority, v.Serial)] = v.Subject
		}
	case store.Revocation:
		if s.admins[v.Authority] {
			serial := serialOf(v.Authority, v.Serial)
			delete(s.users, serial)
			for _, h := range s.holder {
				if serialOf(h.Authority, h.Serial) == serial {
					s.revoked[serial] = true
				}
			}
		}
	}
	return nil
}

// serialOf names a certificate: serial numbers are unique within an authority only.
func serialOf(a store.AuthorityName, serial *big.Int) string {
	return string(a) + " " + serial.String()
}

func (s *survey) lookAtCA(row store.CA) error {
	refuse := func(why string) error {
		return fmt.Errorf("%w: CA certificate %d of %s: %s", ca.ErrDamaged, row.ID, row.Authority, why)
	}
	crt, err := x509.ParseCertificate(row.Certificate)
	if err != nil {
		return refuse("it cannot be parsed")
	}
	if row.Key.Custody == store.CustodyRow {
		key, err := x509.ParsePKCS8PrivateKey(row.Key.InRow())
		if err != nil {
			return refuse("its private key cannot be parsed")
		}
		if signer, ok := key.(crypto.Signer); !ok || !pki.SameKey(signer.Public(), crt.PublicKey) {
			return refuse("its private key belongs to another certificate")
		}
	}
	trusted := crt
	if row.Anchor != nil {
		// What clients know it by, and its fingerprint is asked for by.
		if trusted, err = x509.ParseCertificate(row.Anchor); err != nil {
			return refuse("its self-signed certificate cannot be parsed")
		}
		if !pki.SameKey(trusted.PublicKey, crt.PublicKey) {
			return refuse("its self-signed certificate has another key")
		}
	}
	if l, err := token.Locate(keys.Ref(row.Key)); err == nil {
		s.needs = append(s.needs, fmt.Sprintf("the key of CA certificate %d of %s is not in the backup: it is on the token of %s, which a daemon needs in order to sign with it",
			row.ID, row.Authority, l.URI))
	}
	if row.Key.Custody == keys.SealedCustody {
		s.sealed[len(s.proved)] = row
	}
	s.proved = append(s.proved, row.Key.Custody == store.CustodyRow)
	sum := sha256.Sum256(trusted.Raw)
	s.cas = append(s.cas, ContentCA{
		Authority: row.Authority, Subject: pki.SubjectString(crt.RawSubject), Fingerprint: fmt.Sprintf("sha256:%x", sum),
		NotAfter: row.NotAfter, HasKey: row.State == store.CAUsable,
	})
	return nil
}

// prove opens the keys that are sealed, as far as the key of the user does that: a root may have a passphrase of its own.
func (s *survey) prove(ctx context.Context) error {
	ring := vault.Opener(s.keks, s.now, &vault.Transport{Opener: s.key})
	for i, row := range s.sealed {
		key, err := ring.Open(ctx, vault.PurposeOf(row), keys.Ref(row.Key))
		switch {
		case errors.Is(err, keys.ErrLocked):
			continue
		case err != nil:
			return fmt.Errorf("%w: CA certificate %d of %s: %w", ca.ErrDamaged, row.ID, row.Authority, err)
		}
		crt, err := x509.ParseCertificate(row.Certificate)
		if err != nil || !pki.SameKey(key.Public(), crt.PublicKey) {
			return fmt.Errorf("%w: CA certificate %d of %s: its private key belongs to another certificate", ca.ErrDamaged, row.ID, row.Authority)
		}
		s.proved[i] = true
	}
	return nil
}

// checkExpected fails if a CA that the backup is expected to hold is missing. A CA certificate is public, and anybody can
// encrypt a backup to a user: only its private key, which was compared with it, shows that the backup is a genuine one.
func (s *survey) checkExpected() error {
	for _, want := range s.expect {
		i := slices.IndexFunc(s.cas, func(c ContentCA) bool { return c.Fingerprint == want })
		switch {
		case i < 0:
			return fmt.Errorf("%w: it does not hold the CA %s, but %s", ErrUnexpectedCAs, want, s.describeCAs())
		case !s.proved[i]:
			return fmt.Errorf("%w: it holds the certificate of the CA %s (%s), but not its key, without which anybody could have made it; with their keys it holds %s",
				ErrUnexpectedCAs, want, s.cas[i].Authority, s.describeCAs())
		}
	}
	return nil
}

// maxDescribed is how many CAs an error lists.
const maxDescribed = 20

// describeCAs lists the CAs whose keys the backup holds.
func (s *survey) describeCAs() string {
	var texts []string
	for i, c := range s.cas {
		if s.proved[i] {
			texts = append(texts, fmt.Sprintf("%s %s", c.Authority, c.Fingerprint))
		}
	}
	switch n := len(texts); {
	case n == 0:
		return "none"
	case n > maxDescribed:
		return strings.Join(texts[:maxDescribed], ", ") + fmt.Sprintf(" and %d more", n-maxDescribed)
	}
	return strings.Join(texts, ", ")
}

// user returns the newest certificate of whoever opened the backup.
func (s *survey) user() (*x509.Certificate, store.Certificate, error) {
	var newest *store.Certificate
	for i, c := range s.holder {
		if !s.revoked[serialOf(c.Authority, c.Serial)] && (newest == nil || c.NotAfter.After(newest.NotAfter)) {
			newest = &s.holder[i]
		}
	}
	switch {
	case len(s.holder) == 0:
		return nil, store.Certificate{}, ErrNotUser
	case newest == nil:
		return nil, store.Certificate{}, ErrUserRevoked
	}
	crt, err := pki.ParseIssuedDER(newest.DER)
	if err != nil {
		return nil, store.Certificate{}, fmt.Errorf("%w: certificate %d of a user cannot be parsed", ca.ErrDamaged, newest.ID)
	}
	// What is issued is derived from the certificate, not from the row.
	if keyID, err := pki.KeyID(crt.PublicKey); err != nil || !bytes.Equal(keyID, s.keyID) || crt.SerialNumber.Cmp(newest.Serial) != 0 {
		return nil, store.Certificate{}, fmt.Errorf("%w: certificate %d of a user is another one than its row says", ca.ErrDamaged, newest.ID)
	}
	return crt, *newest, nil
}

// contents returns what was read.
func (s *survey) contents(ctx context.Context, o *openBackup) (Contents, error) {
	if err := s.prove(ctx); err != nil {
		return Contents{}, err
	}
	if err := s.checkExpected(); err != nil {
		return Contents{}, err
	}
	c := Contents{Format: o.format, CAs: s.cas, Software: o.meta.Software, Users: []string{}, Authorities: []ContentAuthority{}}
	store.SortForDisplay(s.rows)
	for _, a := range s.rows {
		retired := !a.RetiredAt.IsZero() && !s.now.Before(a.RetiredAt)
		c.Authorities = append(c.Authorities, ContentAuthority{a.Name, a.Title, a.Role, a.Parent, retired})
	}
	if !o.meta.Created.IsZero() {
		c.Created = &o.meta.Created
	}
	for _, kind := range store.Kinds() {
		c.Rows = append(c.Rows, RowCount{kind.Name, s.counts[kind.Name]})
	}
	c.Users = append(c.Users, slices.Sorted(maps.Values(s.users))...)
	if o.caucase != nil {
		report := o.caucase.Report()
		for _, left := range report.LeftOut {
			c.Notes = append(c.Notes, "left out: "+left.String())
		}
		c.Notes = append(c.Notes, report.Notes...)
	}
	c.Notes = append(c.Notes, s.needs...)
	crt, row, err := s.user()
	if err != nil {
		return c, err
	}
	c.User, c.UserEnds = pki.SubjectString(crt.RawSubject), row.NotAfter
	return c, nil
}
