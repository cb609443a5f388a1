package manage

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// An AuthorityView describes one authority, as of one moment.
type AuthorityView struct {
	Name        store.AuthorityName   `json:"authority"`
	Title       string                `json:"title"`
	Role        store.Role            `json:"role"`
	Parent      store.AuthorityName   `json:"parent,omitempty"`
	Children    []store.AuthorityName `json:"children"` // those not retired
	Subject     string                `json:"subject,omitempty"`
	Permitted   []string              `json:"permitted"`
	Span        int64                 `json:"span_seconds"`
	Life        int                   `json:"life"`
	KeyType     string                `json:"key_type"`
	Profile     string                `json:"profile,omitempty"`
	Profiles    []string              `json:"profiles"`
	MaxPending  int                   `json:"max_pending"`
	AutoApprove int                   `json:"auto_approve"`
	CreatedAt   time.Time             `json:"created_at"`
	RetiredAt   *time.Time            `json:"retired_at"`
	External    bool                  `json:"key_elsewhere"`

	Generations []GenerationView `json:"generations"` // oldest first
	Lists       []ListView       `json:"crls"`
	Signoffs    []SignoffView    `json:"signoffs"` // oldest first

	NextCA     *time.Time `json:"next_ca"`           // when the next CA certificate is due; null when none is, or that is not known
	MustSign   bool       `json:"signoff_needed"`    // the next CA certificate has to be signed off elsewhere, and none is in stock
	SignsUntil *time.Time `json:"signs_until"`       // when the last usable CA certificate ends
	Problem    string     `json:"problem,omitempty"` // what is wrong with the authority's record

	parentExternal bool
}

// A GenerationView describes one CA certificate.
type GenerationView struct {
	ID          int64               `json:"id"`
	Fingerprint string              `json:"fingerprint"`                         // sha256: and hex, of what clients know it by
	Certified   string              `json:"parent_signed_fingerprint,omitempty"` // of the certificate by its parent, in chains; empty where that is the same
	KeyID       string              `json:"key_id"`                              // hex
	KeyType     string              `json:"key_type"`
	Serial      string              `json:"serial"` // as --serial takes it; empty if the certificate cannot be read
	Decimal     string              `json:"serial_decimal"`
	Phase       rollover.Phase      `json:"phase"`
	State       store.CAState       `json:"state"`
	NotBefore   time.Time           `json:"not_before"`
	NotAfter    time.Time           `json:"not_after"`
	Subject     string              `json:"subject"`
	Issuer      store.AuthorityName `json:"issuer,omitempty"`     // empty: it is self-signed
	Activation  store.Activation    `json:"activation,omitempty"` // how it began to sign, or is to, if not by its age
	Withdraws   bool                `json:"-"`                    // those before it are withdrawn once it signs

	crt *x509.Certificate
}

// A ListView describes the revocation list of one CA.
type ListView struct {
	KeyID      string    `json:"key_id"`
	Number     int64     `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
}

// A SignoffView describes a CA certificate that a parent has signed off, or has to.
type SignoffView struct {
	KeyID       string     `json:"key_id"`
	AskedAt     time.Time  `json:"asked_at"`
	NotBefore   time.Time  `json:"not_before"`
	NotAfter    time.Time  `json:"not_after"`
	InstalledAt *time.Time `json:"installed_at"` // null while it waits
}

// unknownPhase is that of CAs of an authority whose spans the daemon has not yet recorded.
const unknownPhase rollover.Phase = "unknown"

// ViewAuthorities describes all authorities, by name.
func ViewAuthorities(ctx context.Context, st store.Store, clk clock.Clock) ([]AuthorityView, error) {
	return view(ctx, st, clk, func(store.Authority) bool { return true })
}

// ViewAuthority describes one. It fails with ErrNoAuthority if it does not exist.
func ViewAuthority(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName) (AuthorityView, error) {
	views, err := view(ctx, st, clk, func(row store.Authority) bool { return row.Name == name })
	if err != nil {
		return AuthorityView{}, err
	}
	if len(views) == 0 {
		_, err = rowOf(ctx, st, name)
		return AuthorityView{}, err
	}
	return views[0], nil
}

func view(ctx context.Context, st store.Store, clk clock.Clock, wanted func(store.Authority) bool) ([]AuthorityView, error) {
	now := clk.Now()
	var views []AuthorityView
	err := st.View(ctx, func(r store.Reader) error {
		views = nil
		rows, err := r.Authorities(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !wanted(row) {
				continue
			}
			v, err := viewRow(ctx, r, now, row, rows)
			if v.Problem, err = unreadable(ctx, v.Problem, err); err != nil {
				return err
			}
			views = append(views, v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range views {
		if v := &views[i]; v.External {
			if err := v.addExternalLists(ctx, st, clk); err != nil {
				return nil, fmt.Errorf("authority %s: %w", v.Name, err)
			}
		}
	}
	return views, nil
}

// unreadable turns an error about one authority's records into a problem of it, so that the others are shown, unless it is
// the database itself that fails.
func unreadable(ctx context.Context, problem string, err error) (string, error) {
	if err == nil || errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
		return problem, err
	}
	return "its records cannot be read: " + err.Error(), nil
}

func viewRow(ctx context.Context, r store.Reader, now time.Time, row store.Authority, rows []store.Authority) (AuthorityView, error) {
	v := AuthorityView{
		Name: row.Name, Title: row.Title, Role: row.Role, Parent: row.Parent, Children: children(rows, row.Name, now),
		Permitted: notNil(row.Permitted), Span: int64(row.Span / time.Second), Life: row.Life, KeyType: row.KeyType,
		Profile: row.Profile, Profiles: notNil(row.Profiles), MaxPending: row.MaxPending, AutoApprove: row.AutoApprove,
		CreatedAt: row.CreatedAt, Generations: []GenerationView{}, Lists: []ListView{}, Signoffs: []SignoffView{},
	}
	if row.Damage != "" {
		v.Problem = "its row cannot be read: " + row.Damage
		return v, nil
	}
	switch err := errors.Join(row.Check(), store.CheckParent(row, rows)); {
	case err != nil:
		v.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if row.Subject != nil {
		v.Subject = pki.SubjectString(row.Subject)
	}
	if !row.RetiredAt.IsZero() {
		v.RetiredAt = &row.RetiredAt
	}
	cas, err := r.CAs(ctx, row.Name)
	if err != nil {
		return v, err
	}
	v.fillGenerations(row, cas, now)
	for _, one := range cas {
		switch list, err := r.CRL(ctx, row.Name, one.ID); {
		case err == nil && now.Before(one.NotAfter):
			v.Lists = append(v.Lists, ListView{hex.EncodeToString(one.KeyID), list.Number, list.ThisUpdate, list.NextUpdate})
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return v, err
		}
	}
	if row.Parent != "" {
		above, err := r.CAs(ctx, row.Parent)
		if err != nil {
			return v, err
		}
		v.parentExternal = len(above) > 0 && above[len(above)-1].State == store.CAExternal
	}
	signoffs, err := r.Signoffs(ctx, row.Name)
	if err != nil {
		return v, err
	}
	stock := false
	for _, s := range signoffs {
		one := SignoffView{hex.EncodeToString(s.KeyID), s.CreatedAt, s.NotBefore, s.NotAfter, nil}
		if s.Certificate != nil {
			one.InstalledAt = &s.InstalledAt
			// What is for later does not help who has none now.
			stock = stock || now.Before(s.NotAfter) && (v.SignsUntil != nil || !now.Before(s.NotBefore))
		}
		v.Signoffs = append(v.Signoffs, one)
	}
	v.MustSign = v.parentExternal && !stock && v.RetiredAt == nil
	if v.RetiredAt != nil || v.External {
		v.NextCA = nil
	}
	return v, nil
}

// fillGenerations fills in what follows from the CA certificates.
func (v *AuthorityView) fillGenerations(row store.Authority, cas []store.CA, now time.Time) {
	var times []rollover.Generation
	var places []int // in v.Generations of what is in times
	for _, one := range cas {
		g := GenerationView{
			ID: one.ID, KeyID: hex.EncodeToString(one.KeyID), KeyType: "unknown", Phase: unknownPhase, State: one.State,
			NotBefore: one.NotBefore, NotAfter: one.NotAfter, Issuer: one.ParentAuthority,
			Activation: one.Activation, Withdraws: one.Activation == store.WhenAdoptedWithdraw,
		}
		crt, err := x509.ParseCertificate(one.Certificate)
		if err != nil {
			v.Problem = "a CA certificate cannot be read: see cauased manage check"
		} else {
			g.crt, g.Fingerprint, g.Serial, g.Subject = crt, fingerprint(one.Trusted()), pki.FormatSerial(crt.SerialNumber), pki.SubjectString(crt.RawSubject)
			g.Decimal = crt.SerialNumber.String()
			if one.Anchor != nil {
				g.Certified = fingerprint(crt.Raw)
			}
			g.KeyType = pki.DescribeKey(crt.PublicKey)
			if t, err := pki.KeyTypeOf(crt.PublicKey); err == nil {
				g.KeyType = string(t)
			}
		}
		if phase := phaseOf(one.State); phase != "" {
			g.Phase = phase
		} else {
			times = append(times, ca.TimesOf(one))
			places = append(places, len(v.Generations))
		}
		if (one.State == store.CAUsable || one.State == store.CAExternal) && now.Before(one.NotAfter) && (v.SignsUntil == nil || v.SignsUntil.Before(one.NotAfter)) {
			v.SignsUntil = &one.NotAfter
		}
		v.External = one.State == store.CAExternal
		v.Generations = append(v.Generations, g)
	}
	spans := rollover.Spans{Leaf: row.Span, Life: row.Life}
	if spans.Check() != nil {
		return
	}
	plan := rollover.Decide(now, spans, times)
	for i, place := range places {
		v.Generations[place].Phase = plan.Phases[i]
	}
	if newest := rollover.Newest(now, times); newest != rollover.None {
		next := rollover.SuccessorAt(spans, times[newest])
		v.NextCA = &next
	}
}

// addExternalLists fills in the lists of an authority whose key is kept elsewhere.
func (v *AuthorityView) addExternalLists(ctx context.Context, st store.Store, clk clock.Clock) error {
	a, err := openOne(ctx, st, clk, v.Name, "")
	if err != nil {
		return err
	}
	lists, err := a.CRLs(ctx)
	for _, l := range lists {
		v.Lists = append(v.Lists, ListView{hex.EncodeToString(l.KeyID), l.Number, l.ThisUpdate, l.NextUpdate})
	}
	if errors.Is(err, ca.ErrDamaged) {
		v.Problem = err.Error()
		return nil
	}
	return err
}

// Newest is the newest CA certificate that can be used, now or when its time has come; nil when there is none.
func (v AuthorityView) Newest() *GenerationView {
	for i := len(v.Generations) - 1; i >= 0; i-- {
		if g := &v.Generations[i]; g.State == store.CAUsable || g.State == store.CAExternal {
			return g
		}
	}
	return nil
}

// children are the authorities below one that are not retired.
func children(rows []store.Authority, of store.AuthorityName, now time.Time) []store.AuthorityName {
	names := []store.AuthorityName{}
	for _, row := range rows {
		if row.Parent == of && !retired(row, now) {
			names = append(names, row.Name)
		}
	}
	return names
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// fingerprint returns the fingerprint of a certificate, DER, as it is shown: sha256: and hex.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:])
}
