package client

import (
	"context"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/pki"
)

// A Lineage is a certificate and its renewals, as the daemon shows it to users.
type Lineage struct {
	ID          string    `json:"id"`
	Subject     string    `json:"subject"`
	Role        string    `json:"role,omitzero"`
	Profile     string    `json:"profile,omitzero"`
	State       string    `json:"state"` // "active" or "ended"
	CreatedAt   time.Time `json:"created_at"`
	EndedAt     time.Time `json:"ended_at,omitzero"`
	Reason      string    `json:"reason,omitzero"`
	Newest      string    `json:"newest_serial"` // decimal
	NotAfter    time.Time `json:"not_after"`     // of the certificate that is valid longest
	Renewals    int64     `json:"renewals"`
	RenewedAt   time.Time `json:"renewed_at,omitzero"`
	Address     string    `json:"address,omitzero"` // of the last renewal
	Forks       int64     `json:"forks,omitzero"`   // renewals of what had been renewed before
	ForkedAt    time.Time `json:"forked_at,omitzero"`
	ForkAddress string    `json:"fork_address,omitzero"` // of the last fork
	ForkedFrom  string    `json:"forked_from,omitzero"`  // of the renewal before that

	Certificates []LineageCertificate `json:"certificates,omitzero"` // newest first; not in lists
}

// A LineageCertificate is a certificate of a lineage.
type LineageCertificate struct {
	ID        string    `json:"id"`
	Serial    string    `json:"serial"` // decimal
	Subject   string    `json:"subject"`
	SANs      []string  `json:"sans,omitzero"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	IssuedAt  time.Time `json:"issued_at"`
	Renews    string    `json:"renews_serial,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Reason    string    `json:"reason,omitzero"`
}

// maxLineages bounds an answer, and maxLineagePages a list: more pages than that nobody reads.
const (
	maxLineages     = 16 << 20
	maxLineagePages = 10_000
)

// Lineages calls fn with each lineage of the authority, oldest first, until fn fails.
func (s *Session) Lineages(ctx context.Context, fn func(Lineage) error) error {
	after := ""
	for range maxLineagePages {
		query := url.Values{}
		if after != "" {
			query.Set("after", after)
		}
		page, next, err := s.lineages(ctx, query)
		if err != nil {
			return err
		}
		for _, l := range page {
			if err := fn(l); err != nil {
				return err
			}
		}
		if next == "" || len(page) == 0 {
			return nil
		}
		after = next
	}
	return fmt.Errorf("list lineages: %w: the list does not end", ErrNotCA)
}

// LineageOf finds the lineage of the certificate with a serial, without its certificates.
func (s *Session) LineageOf(ctx context.Context, serial *big.Int) (Lineage, error) {
	page, _, err := s.lineages(ctx, url.Values{"serial": {serial.String()}})
	if err == nil && len(page) != 1 {
		err = fmt.Errorf("find lineage: %w: %d are named where one was asked for", ErrNotCA, len(page))
	}
	if err != nil {
		return Lineage{}, err
	}
	return page[0], nil
}

// OnRecord finds the certificate with a serial, and its lineage. The former is empty if the lineage has had too many
// since. What the daemon has no record of is a 404, see [IsStatus].
func (s *Session) OnRecord(ctx context.Context, serial *big.Int) (crt LineageCertificate, l Lineage, err error) {
	if l, err = s.LineageOf(ctx, serial); err != nil {
		return crt, l, err
	}
	id, err := ParseID(l.ID)
	if err != nil {
		return crt, l, fmt.Errorf("find lineage: %w: %w", ErrNotCA, err)
	}
	if l, err = s.Lineage(ctx, id); err != nil {
		return crt, l, err
	}
	for _, c := range l.Certificates {
		if c.Serial == serial.String() {
			return c, l, nil
		}
	}
	return crt, l, nil
}

func (s *Session) lineages(ctx context.Context, query url.Values) (page []Lineage, next string, err error) {
	var answer struct {
		Lineages []Lineage `json:"lineages"`
		Next     string    `json:"next"`
	}
	err = s.getJSON(ctx, call{op: "list lineages", method: http.MethodGet, path: "/lineage", query: query, want: http.StatusOK, limit: maxLineages}, &answer)
	return answer.Lineages, answer.Next, err
}

// Lineage returns a lineage with its newest certificates.
func (s *Session) Lineage(ctx context.Context, id ID) (l Lineage, err error) {
	err = s.getJSON(ctx, call{op: "show lineage " + id.String(), method: http.MethodGet, path: "/lineage/" + id.String(), want: http.StatusOK, limit: maxLineages}, &l)
	return l, err
}

// EndLineage revokes all certificates of a lineage.
func (s *Session) EndLineage(ctx context.Context, id ID, reason int) error {
	c := call{op: "revoke lineage " + id.String(), method: http.MethodDelete, path: "/lineage/" + id.String(), want: http.StatusNoContent}
	if reason != 0 {
		c.query = url.Values{"reason": {pki.ReasonName(reason)}}
	}
	_, _, err := s.https.do(ctx, c)
	return err
}

func (s *Session) getJSON(ctx context.Context, c call, answer any) error {
	body, _, err := s.https.do(ctx, c)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("%s: %w: %s", c.op, ErrNotCA, pki.EscapeText(err.Error()))
	}
	return nil
}
