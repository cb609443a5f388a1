package manage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// openToRotate opens an authority, and its parent, whichever role it has.
func openToRotate(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, netloc string) (*ca.Authority, error) {
	row, err := rowOf(ctx, st, name)
	if err != nil {
		return nil, err
	}
	if row.Role != store.RoleDaemon {
		return openOne(ctx, st, clk, name, netloc)
	}
	if netloc, err = netlocOf(ctx, st, netloc); err != nil {
		return nil, err
	}
	w, err := newWorkbench(ctx, st, clk)
	if err != nil {
		return nil, err
	}
	w.netloc = netloc
	return w.authority(ctx, name, nil)
}

// Rotate starts a new generation of an authority out of turn, and returns its key identifier.
func Rotate(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, how ca.Rotation, netloc string) (keyID []byte, err error) {
	a, err := openToRotate(ctx, st, clk, name, netloc)
	if err != nil {
		return nil, err
	}
	return a.Rotate(ctx, operator(), how)
}

// Activate has the newest CA certificate of an authority, which is passive, be active from now on, and withdraws those before it if
// compromised says so.
func Activate(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, compromised bool, netloc string) (keyID []byte, err error) {
	a, err := openToRotate(ctx, st, clk, name, netloc)
	if err != nil {
		return nil, err
	}
	return a.Activate(ctx, operator(), compromised)
}

// A RotationStatus is how far the newest CA certificate of an authority has got.
type RotationStatus struct {
	KeyID      string           `json:"key_id"`
	Phase      rollover.Phase   `json:"phase"`
	Activation store.Activation `json:"activation"`                     // how it begins to sign; empty: by its age
	Latest     *time.Time       `json:"active_at_the_latest,omitempty"` // null once it is active
	Withdraws  bool             `json:"withdraws_older,omitempty"`      // those before it, once it is active
	Hosts      HolderCounts     `json:"hosts"`
	Stragglers []Straggler      `json:"stragglers,omitempty"` // who is not known to have it, by lineage, as far as asked for
}

// HolderCounts are numbers of lineages that go on with a valid certificate.
type HolderCounts struct {
	Seen      int `json:"seen"`
	Confirmed int `json:"confirmed"` // their hosts say that they have it
	Renewed   int `json:"renewed"`   // cannot tell, but have had a certificate since it was made
	Behind    int `json:"behind"`    // say that they have an earlier one
	Silent    int `json:"silent"`    // cannot tell, and have had no certificate since
}

// Missing is how many are not known to have it.
func (h HolderCounts) Missing() int { return h.Behind + h.Silent }

// A Straggler is a lineage whose host is not known to have the newest CA certificate.
type Straggler struct {
	Lineage  string     `json:"lineage"`
	Subject  string     `json:"subject"`
	NotAfter time.Time  `json:"not_after"`
	AskedAt  time.Time  `json:"asked_at"`          // for its last certificate
	Address  string     `json:"address,omitempty"` // from which it was renewed last
	Held     string     `json:"holds,omitempty"`   // key identifier of what it has confirmed; empty: it has never confirmed anything
	HeldAt   *time.Time `json:"confirmed_at,omitempty"`
}

// rotationStatus describes the newest generation of an authority; nil where nobody confirms anything, or there is none.
func rotationStatus(ctx context.Context, r store.Reader, now time.Time, row store.Authority, cas []store.CA, spans rollover.Spans, stragglers int) (*RotationStatus, error) {
	if row.Role != store.RoleUsers && row.Role != store.RoleServices {
		return nil, nil
	}
	var usable []store.CA
	var times []rollover.Generation
	for _, one := range cas {
		if one.State == store.CAUsable || one.State == store.CAErased {
			usable, times = append(usable, one), append(times, ca.TimesOf(one))
		}
	}
	newest := rollover.Newest(now, times)
	if newest == rollover.None {
		return nil, nil
	}
	one := usable[newest]
	s := &RotationStatus{
		KeyID: hex.EncodeToString(one.KeyID), Phase: rollover.Decide(now, spans, times).Phases[newest],
		Activation: one.Activation, Withdraws: one.Activation == store.WhenAdoptedWithdraw,
	}
	if one.Activation.Waiting() {
		s.Activation = store.WhenAdopted
	}
	if at := rollover.ActiveAt(spans, times[newest]); now.Before(at) {
		s.Latest = &at
	}
	of := store.Sought{Since: one.CreatedAt}
	for _, later := range usable[newest:] {
		of.KeyIDs = append(of.KeyIDs, later.KeyID)
	}
	within := func(fn func(store.Reader) error) error { return fn(r) }
	h, err := store.CountAllHolders(ctx, within, row.Name, now, of)
	if err != nil {
		return nil, err
	}
	s.Hosts = HolderCounts(h)
	if stragglers = min(stragglers, h.Missing()); stragglers <= 0 {
		return s, nil // and nobody is looked for who is not there
	}
	found, err := store.FindStragglers(ctx, within, row.Name, now, of, store.LineagePage{}, stragglers)
	for _, f := range found {
		one := Straggler{
			Lineage: fmt.Sprint(f.Lineage), Subject: f.Subject, NotAfter: f.NotAfter, AskedAt: f.AskedAt, Address: f.Address, Held: hex.EncodeToString(f.Held),
		}
		if !f.HeldAt.IsZero() {
			one.HeldAt = &f.HeldAt
		}
		s.Stragglers = append(s.Stragglers, one)
	}
	return s, err
}

// ReadRotation describes how far the newest CA certificate of an authority has got, with as many stragglers.
func ReadRotation(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, stragglers int) (*RotationStatus, error) {
	row, err := rowOf(ctx, st, name)
	if err != nil {
		return nil, err
	}
	spans := rollover.Spans{Leaf: row.Span, Life: lifeOf(row)}
	if err := spans.Check(); err != nil {
		return nil, fmt.Errorf("%s: the daemon has not recorded yet for how long it certifies: %w", name, err)
	}
	var found *RotationStatus
	err = st.View(ctx, func(r store.Reader) error {
		cas, err := r.CAs(ctx, name)
		if err != nil {
			return err
		}
		found, err = rotationStatus(ctx, r, clk.Now(), row, cas, spans, stragglers)
		return err
	})
	if err == nil && found == nil {
		err = fmt.Errorf("%s: %w", name, errNoHolders)
	}
	return found, err
}

var errNoHolders = errors.New("there is no CA certificate of it that hosts could confirm to have")
