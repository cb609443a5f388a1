package caucase

import (
	"bytes"
	"context"
	"encoding/hex"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// timelineJSON is where an authority stands in its self-renewal (docs/protocol.md, "Timeline").
type timelineJSON struct {
	Role        string           `json:"role"`
	Parent      string           `json:"parent,omitempty"` // signs the CA certificates; without it each signs itself
	Span        float64          `json:"span_seconds"`     // validity of an issued certificate
	Now         time.Time        `json:"now"`
	Generations []generationJSON `json:"generations"`
	NextCA      time.Time        `json:"next_ca,omitzero"`    // not there when the daemon makes none any more
	RetiredAt   time.Time        `json:"retired_at,omitzero"` // from then on it issues nothing
	CRL         crlJSON          `json:"crl"`
	Signoff     *signoffJSON     `json:"signoff,omitempty"`  // that is waited for
	Adoption    *adoptionJSON    `json:"adoption,omitempty"` // of the newest CA certificate, while not everybody has renewed since
}

// adoptionJSON is how many hosts have the newest CA certificate, as of a moment ago.
type adoptionJSON struct {
	KeyID     string     `json:"key_id"`
	Latest    *time.Time `json:"active_at_the_latest,omitempty"` // not there once it is active
	Hosts     int        `json:"hosts"`                          // lineages that go on with a valid certificate: the sum of those that follow
	Confirmed int        `json:"confirmed"`
	Renewed   int        `json:"renewed"`
	Behind    int        `json:"behind"`
	Silent    int        `json:"silent"`
}

func adoptionOf(a *ca.Adoption) *adoptionJSON {
	if a == nil {
		return nil
	}
	h := a.Holders
	out := &adoptionJSON{KeyID: hex.EncodeToString(a.KeyID), Hosts: h.Seen, Confirmed: h.Confirmed, Renewed: h.Renewed, Behind: h.Behind, Silent: h.Silent}
	if !a.Latest.IsZero() {
		latest := utc(a.Latest)
		out.Latest = &latest
	}
	return out
}

type signoffJSON struct {
	Parent      string     `json:"parent"`
	Since       time.Time  `json:"since"`
	NeededFrom  time.Time  `json:"needed_from"`
	Stock       int        `json:"stock"`
	UsableUntil *time.Time `json:"usable_until,omitempty"` // not there when no CA certificate can be used
}

type generationJSON struct {
	KeyID       string    `json:"key_id"`
	Issuer      string    `json:"issuer_key_id,omitempty"` // unless it has signed itself
	Phase       string    `json:"phase"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	ActiveFrom  time.Time `json:"active_from"`
	RetiredFrom time.Time `json:"retired_from"`
	KeyType     string    `json:"key_type"`
	Activation  string    `json:"activation,omitempty"` // how it begins to sign, if not by its age: now, adopted
}

type crlJSON struct {
	Number     int64     `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
	Revoked    int       `json:"revoked"`
}

// getTimeline says nothing that the CA certificates and lists do not: a client that trusts only
// those reads the dates there.
func (f *FrontEnd) getTimeline(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		t, err := a.Timeline(ctx)
		if err != nil {
			return err
		}
		row := a.Row()
		out := timelineJSON{
			Role: string(row.Role), Parent: string(row.Parent),
			Span: t.Span.Seconds(), Now: utc(t.Now), NextCA: utc(t.NextCA), RetiredAt: utc(row.RetiredAt),
			CRL: crlJSON{Number: t.CRLNumber, ThisUpdate: utc(t.ThisUpdate), NextUpdate: utc(t.NextUpdate), Revoked: t.Revoked},
		}
		if s := t.Signoff; s != nil {
			out.Signoff = &signoffJSON{Parent: string(s.Parent), Since: utc(s.Since), NeededFrom: utc(s.From), Stock: s.Stock}
			if !s.Until.IsZero() {
				until := utc(s.Until)
				out.Signoff.UsableUntil = &until
			}
		}
		out.Adoption = adoptionOf(t.Adoption)
		for _, g := range t.Generations {
			one := generationJSON{
				KeyID: hex.EncodeToString(g.Certificate.SubjectKeyId), Phase: string(g.Phase),
				NotBefore: utc(g.Certificate.NotBefore), NotAfter: utc(g.Certificate.NotAfter),
				ActiveFrom: utc(g.ActiveFrom), RetiredFrom: utc(g.RetiredFrom),
				KeyType: pki.DescribeKey(g.Certificate.PublicKey), Activation: activationText(g.Begin),
			}
			if issuer := g.Certificate.AuthorityKeyId; !bytes.Equal(issuer, g.Certificate.SubjectKeyId) {
				one.Issuer = hex.EncodeToString(issuer)
			}
			out.Generations = append(out.Generations, one)
		}
		return replyJSON(x, out)
	}, nil
}

// activationText says whether a CA certificate waits for hosts to have it. What becomes of those before it then is nobody's business.
func activationText(a store.Activation) string {
	if a.Waiting() {
		return string(store.WhenAdopted)
	}
	return string(a)
}

func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
