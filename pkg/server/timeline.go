package server

import (
	"context"
	"encoding/hex"
	"time"

	"cauase/pkg/pki"
)

// timelineJSON is where an authority stands in its self-renewal (docs/protocol.md, "Timeline").
type timelineJSON struct {
	Span        float64          `json:"span_seconds"` // validity of an issued certificate
	Now         time.Time        `json:"now"`
	Generations []generationJSON `json:"generations"`
	NextCA      time.Time        `json:"next_ca"`
	CRL         crlJSON          `json:"crl"`
}

type generationJSON struct {
	KeyID       string    `json:"key_id"`
	Phase       string    `json:"phase"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	ActiveFrom  time.Time `json:"active_from"`
	RetiredFrom time.Time `json:"retired_from"`
	KeyType     string    `json:"key_type"`
}

type crlJSON struct {
	Number     int64     `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
	Revoked    int       `json:"revoked"`
}

// getTimeline tells nothing that the CA certificates and lists do not: a client that trusts only
// those reads the dates there.
func getTimeline(x *exchange) (perform, error) {
	return read(x, typeJSON, func(ctx context.Context) ([]byte, error) {
		t, err := x.authority().Timeline(ctx)
		if err != nil {
			return nil, err
		}
		out := timelineJSON{
			Span: t.Span.Seconds(), Now: utc(t.Now), NextCA: utc(t.NextCA),
			CRL: crlJSON{Number: t.CRLNumber, ThisUpdate: utc(t.ThisUpdate), NextUpdate: utc(t.NextUpdate), Revoked: t.Revoked},
		}
		for _, g := range t.Generations {
			out.Generations = append(out.Generations, generationJSON{
				KeyID: hex.EncodeToString(g.Certificate.SubjectKeyId), Phase: string(g.Phase),
				NotBefore: utc(g.Certificate.NotBefore), NotAfter: utc(g.Certificate.NotAfter),
				ActiveFrom: utc(g.ActiveFrom), RetiredFrom: utc(g.RetiredFrom),
				KeyType: pki.DescribeKey(g.Certificate.PublicKey),
			})
		}
		return encodeJSON(out)
	})
}

func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
