package manage

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/ca"
	"cauase/pkg/ledger"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/vault"
)

// A Status describes what is in a store.
type Status struct {
	Database    store.Description `json:"database"`
	LastBackup  *archive.Record   `json:"last_backup"` // null when none is recorded
	Authorities []AuthorityStatus `json:"authorities"`

	// Disputes is how many other logs under our signature hosts have shown in the last 90 days, and LastDispute when the last of them was first seen.
	Disputes    int        `json:"log_disputes"`
	LastDispute *time.Time `json:"log_disputed_at,omitempty"`
}

// An AuthorityStatus describes the state of one authority.
type AuthorityStatus struct {
	Name      store.AuthorityName `json:"authority"`
	Title     string              `json:"title,omitempty"`
	Role      store.Role          `json:"role"`
	Parent    store.AuthorityName `json:"parent,omitempty"`
	Retired   *time.Time          `json:"retired,omitempty"`  // when it stopped, or will stop, signing anything but lists
	Signoffs  *SignoffStatus      `json:"signoffs,omitempty"` // with the parent; null when there are none
	CAs       []CAStatus          `json:"cas"`                // oldest first
	NextCA    *time.Time          `json:"next_ca"`            // when the newest CA's successor is due; null when there is no CA, or only one from the future
	NextKey   string              `json:"next_key_type,omitempty"`
	Rotation  *RotationStatus     `json:"rotation,omitempty"` // of the newest CA, while not everybody who has a certificate has had one since; null of the only one
	Valid     int                 `json:"certificates_valid"` // revoked ones included
	Expired   int                 `json:"certificates_expired"`
	Total     int                 `json:"certificates"`
	Pending   int                 `json:"pending"`
	Received  int64               `json:"received"` // requests ever accepted
	Revoked   int                 `json:"revocations"`
	CRLNumber int64               `json:"crl_number"`
	CRL       *CRLStatus          `json:"crl"`                // the newest list that was made; null when there is none
	Locked    *int64              `json:"auto_approve_count"` // as locked in the database; null when it is not
	Problem   string              `json:"problem,omitempty"`  // what is wrong with the authority's record
}

// A CAStatus describes one generation.
type CAStatus struct {
	ID        int64          `json:"id"`
	KeyID     string         `json:"key_id"` // hex
	KeyType   string         `json:"key_type"`
	Phase     rollover.Phase `json:"phase"`
	CreatedAt time.Time      `json:"created_at"`
	NotBefore time.Time      `json:"not_before"`
	NotAfter  time.Time      `json:"not_after"`
	State     store.CAState  `json:"state"`
	HasKey    bool           `json:"has_key"`

	// Activation is how it began to sign, or is to, if not by its age.
	Activation store.Activation `json:"activation,omitempty"`

	ParentAuthority store.AuthorityName `json:"issuer,omitempty"` // that has signed it; left out when it is self-signed
}

// A SignoffStatus counts the CA certificates that the parent is asked for, or has signed ahead.
type SignoffStatus struct {
	Waiting int        `json:"waiting"`          // requests that the parent has not signed yet
	Stock   int        `json:"stock"`            // that are signed, and wait for their time
	Needed  *time.Time `json:"needed,omitempty"` // from when on the first of those that wait is to be valid
}

// Disowned is the phase of a CA that was made while the clock was ahead, and put aside.
const Disowned rollover.Phase = "put aside"

// Revoked is the phase of a CA whose certificate the parent has revoked.
const Revoked rollover.Phase = "revoked"

// Withdrawn is the phase of a CA that nobody is to trust any more, as somebody else may have its key.
const Withdrawn rollover.Phase = "withdrawn"

// phaseOf is the phase of a CA that its state says; empty: time does.
func phaseOf(state store.CAState) rollover.Phase {
	switch state {
	case store.CARevoked:
		return Revoked
	case store.CACompromised:
		return Withdrawn
	case store.CADisowned:
		return Disowned
	}
	return ""
}

// A CRLStatus describes the newest revocation list.
type CRLStatus struct {
	Number     int64     `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
	Current    bool      `json:"current"` // nothing has been revoked since
}

// ReadStatus returns what is in a store at now, given the spans with which the daemon has an authority work.
func ReadStatus(ctx context.Context, s store.Store, now time.Time, spans func(store.Authority) rollover.Spans) (Status, error) {
	var st Status
	if described, ok := vault.Inner(s).(store.Described); ok {
		d, err := described.Describe(ctx)
		if err != nil {
			return st, err
		}
		st.Database = d
	}
	err := s.View(ctx, func(r store.Reader) error {
		last, ok, err := archive.Last(ctx, r)
		if err != nil {
			return err
		}
		if ok {
			st.LastBackup = &last
		}
		disputes, err := ledger.Disputes(ctx, r, now)
		if err != nil {
			return err
		}
		if st.Disputes = len(disputes); st.Disputes > 0 {
			st.LastDispute = &disputes[st.Disputes-1].Seen
		}
		rows, err := authorities(ctx, r)
		if err != nil {
			return err
		}
		st.Authorities = []AuthorityStatus{}
		for _, row := range rows {
			a, err := authorityStatus(ctx, r, now, row, spans(row))
			if a.Problem, err = unreadable(ctx, a.Problem, err); err != nil {
				return err
			}
			st.Authorities = append(st.Authorities, a)
		}
		return nil
	})
	return st, err
}

func authorityStatus(ctx context.Context, r store.Reader, now time.Time, row store.Authority, spans rollover.Spans) (AuthorityStatus, error) {
	name := row.Name
	a := AuthorityStatus{Name: name, Title: row.Title, Role: row.Role, Parent: row.Parent, CAs: []CAStatus{}}
	if row.Damage != "" {
		a.Problem = "its row cannot be read: " + row.Damage
		return a, nil
	}
	if !row.RetiredAt.IsZero() {
		a.Retired = &row.RetiredAt
	}
	cas, err := r.CAs(ctx, name)
	if err != nil {
		return a, err
	}
	a.generations(cas, now, spans)
	if err := a.rotation(ctx, r, now, row, cas, spans); err != nil {
		return a, err
	}
	for _, count := range []struct {
		into *int
		of   func() (int, error)
	}{
		{&a.Total, func() (int, error) { return r.CountCertificates(ctx, name, time.Time{}) }},
		// The whole second of NotAfter is part of the validity.
		{&a.Expired, func() (int, error) { return r.CountCertificates(ctx, name, now.Truncate(time.Second)) }},
		{&a.Pending, func() (int, error) { return r.CountRequests(ctx, name) }},
		{&a.Revoked, func() (int, error) { return r.CountRevocations(ctx, name) }},
	} {
		if *count.into, err = count.of(); err != nil {
			return a, err
		}
	}
	a.Valid = a.Total - a.Expired
	if a.CRLNumber, err = r.Counter(ctx, name, store.CounterCRLNumber); err != nil {
		return a, err
	}
	if a.Received, err = r.Counter(ctx, name, store.CounterReceivedCSR); err != nil {
		return a, err
	}
	if err := a.lists(ctx, r, cas); err != nil {
		return a, err
	}
	if err := a.signoffs(ctx, r, now); err != nil {
		return a, err
	}
	return a, a.settings(ctx, r)
}

// rotation counts who has the newest CA certificate, if that matters still.
func (a *AuthorityStatus) rotation(ctx context.Context, r store.Reader, now time.Time, row store.Authority, cas []store.CA, spans rollover.Spans) error {
	if len(cas) < 2 || spans.Check() != nil || now.Sub(cas[len(cas)-1].CreatedAt) > spans.Leaf {
		return nil
	}
	var err error
	a.Rotation, err = rotationStatus(ctx, r, now, row, cas, spans, 0)
	return err
}

// signoffs counts those whose time has not passed. The ones that were used are not there any more.
func (a *AuthorityStatus) signoffs(ctx context.Context, r store.Reader, now time.Time) error {
	rows, err := r.Signoffs(ctx, a.Name)
	if err != nil {
		return err
	}
	var s SignoffStatus
	for _, row := range rows {
		switch {
		case !now.Before(row.NotAfter):
		case row.Certificate != nil:
			s.Stock++
		default:
			if s.Waiting++; s.Needed == nil {
				s.Needed = &row.NotBefore
			}
		}
	}
	if s != (SignoffStatus{}) {
		a.Signoffs = &s
	}
	return nil
}

// generations fills in what follows from the CAs.
func (a *AuthorityStatus) generations(cas []store.CA, now time.Time, spans rollover.Spans) {
	var times []rollover.Generation
	var places []int // in a.CAs of what is in times
	for _, row := range cas {
		c := CAStatus{ID: row.ID, KeyID: hex.EncodeToString(row.KeyID), KeyType: "unknown", Activation: row.Activation,
			CreatedAt: row.CreatedAt, NotBefore: row.NotBefore, NotAfter: row.NotAfter, State: row.State, HasKey: row.State == store.CAUsable, ParentAuthority: row.ParentAuthority}
		if crt, err := x509.ParseCertificate(row.Certificate); err == nil {
			c.KeyType = pki.DescribeKey(crt.PublicKey)
			if t, err := pki.KeyTypeOf(crt.PublicKey); err == nil {
				c.KeyType = string(t)
			}
		}
		if c.Phase = phaseOf(row.State); c.Phase == "" {
			times = append(times, ca.TimesOf(row))
			places = append(places, len(a.CAs))
		}
		a.CAs = append(a.CAs, c)
	}
	plan := rollover.Decide(now, spans, times)
	for i, place := range places {
		a.CAs[place].Phase = plan.Phases[i]
	}
	if newest := rollover.Newest(now, times); newest != rollover.None {
		next := rollover.SuccessorAt(spans, times[newest])
		a.NextCA = &next
	}
}

// lists finds the newest list. All valid CAs have one of the same number.
func (a *AuthorityStatus) lists(ctx context.Context, r store.Reader, cas []store.CA) error {
	for _, ca := range cas {
		crl, err := r.CRL(ctx, a.Name, ca.ID)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return err
		case a.CRL == nil || crl.Number >= a.CRL.Number:
			a.CRL = &CRLStatus{crl.Number, crl.ThisUpdate, crl.NextUpdate, crl.Number == a.CRLNumber}
		}
	}
	return nil
}

func (a *AuthorityStatus) settings(ctx context.Context, r store.Reader) error {
	switch value, err := r.Setting(ctx, a.Name, store.SettingAutoApprove); {
	case err == nil:
		if n, err := store.ParseCount(value); err == nil {
			a.Locked = &n
		}
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	var err error
	if a.NextKey, err = r.Setting(ctx, a.Name, store.SettingNextKeyType); errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
