package caucase

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// Lineages, for users: an extension of the protocol.

const (
	lineagePage    = 1000 // lineages in an answer
	lineageMembers = 1000 // certificates in one
)

// A lineageWire is a lineage as users see it. Ids and serials are texts: JSON numbers have 53 bits.
type lineageWire struct {
	ID          string     `json:"id"`
	Subject     string     `json:"subject"`
	Role        string     `json:"role,omitempty"`
	Profile     string     `json:"profile,omitempty"`
	State       string     `json:"state"`
	CreatedAt   time.Time  `json:"created_at"`
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Newest      string     `json:"newest_serial"`
	NotAfter    time.Time  `json:"not_after"`
	Renewals    int64      `json:"renewals"`
	RenewedAt   *time.Time `json:"renewed_at,omitempty"`
	Address     string     `json:"address,omitempty"`
	Forks       int64      `json:"forks,omitempty"`
	ForkedAt    *time.Time `json:"forked_at,omitempty"`
	ForkAddress string     `json:"fork_address,omitempty"`
	ForkedFrom  string     `json:"forked_from,omitempty"`

	Certificates []memberWire `json:"certificates,omitempty"`
}

// A memberWire is a certificate of a lineage.
type memberWire struct {
	ID        string     `json:"id"`
	Serial    string     `json:"serial"`
	Subject   string     `json:"subject"`
	SANs      []string   `json:"sans,omitempty"`
	NotBefore time.Time  `json:"not_before"`
	NotAfter  time.Time  `json:"not_after"`
	IssuedAt  time.Time  `json:"issued_at"`
	Renews    string     `json:"renews_serial,omitempty"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	Reason    string     `json:"reason,omitempty"`
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func reasonName(reason int) string {
	if reason == 0 {
		return ""
	}
	return pki.ReasonName(reason)
}

func wireLineage(l store.Lineage) lineageWire {
	state := l.State
	if state == store.LineageEnding {
		state = store.LineageEnded // the difference is the daemon's own
	}
	return lineageWire{
		ID: strconv.FormatInt(l.ID, 10), Subject: l.Subject, Role: l.Role, Profile: l.Profile, State: string(state),
		CreatedAt: l.CreatedAt, EndedAt: moment(l.EndedAt), Reason: reasonName(l.Reason), Newest: l.Newest.String(), NotAfter: l.NotAfter,
		Renewals: l.Renewals, RenewedAt: moment(l.RenewedAt), Address: l.Address,
		Forks: l.Forks, ForkedAt: moment(l.ForkedAt), ForkAddress: l.ForkAddress, ForkedFrom: l.ForkedFrom,
	}
}

func wireMember(m ca.LineageMember) memberWire {
	w := memberWire{
		ID: strconv.FormatInt(m.ID, 10), Serial: m.Serial.String(), Subject: m.Subject, SANs: m.SANs,
		NotBefore: m.NotBefore, NotAfter: m.NotAfter, IssuedAt: m.IssuedAt,
	}
	if m.Renews != nil {
		w.Renews = m.Renews.String()
	}
	if m.Revoked != nil {
		w.RevokedAt, w.Reason = &m.Revoked.RevokedAt, reasonName(m.Revoked.Reason)
	}
	return w
}

// parameter returns the value of a query parameter that may be given once, "" if it is not.
func parameter(x *server.Exchange, name string) (string, error) {
	query, err := url.ParseQuery(x.Request.URL.RawQuery)
	if err != nil {
		return "", server.Refuse(http.StatusBadRequest, "malformed query")
	}
	values, given := query[name]
	switch {
	case !given:
		return "", nil
	case len(values) != 1 || values[0] == "":
		return "", server.Refuse(http.StatusBadRequest, "%s must be given once, with a value", name)
	}
	return values[0], nil
}

// formatPage and readPage are the text that leads to the next page.

func formatPage(l store.Lineage) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d", l.CreatedAt.UnixMicro(), l.ID))
}

func readPage(x *server.Exchange) (page store.LineagePage, err error) {
	text, err := parameter(x, "after")
	if err != nil || text == "" {
		return page, err
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		at, id, _ := strings.Cut(string(decoded), " ")
		var micros int64
		if micros, err = strconv.ParseInt(at, 10, 64); err == nil {
			page.CreatedAt = time.UnixMicro(micros).UTC()
			page.ID, err = strconv.ParseInt(id, 10, 64)
		}
	}
	if err != nil {
		return page, server.Refuse(http.StatusBadRequest, "after is not what the page before has said")
	}
	return page, nil
}

// readSerial reads the serial that is asked for, nil if none is.
func readSerial(x *server.Exchange) (*big.Int, error) {
	text, err := parameter(x, "serial")
	if err != nil || text == "" {
		return nil, err
	}
	const maxDigits = 49
	serial, ok := new(big.Int), isDecimal(text) && len(text) <= maxDigits
	if ok {
		serial, ok = serial.SetString(text, 10)
	}
	if !ok {
		return nil, server.Refuse(http.StatusBadRequest, "serial must be a serial number, in decimal digits")
	}
	return serial, nil
}

// getLineages lists lineages, oldest first, or the one to which a certificate belongs.
func (f *FrontEnd) getLineages(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	after, err := readPage(x)
	if err != nil {
		return nil, err
	}
	serial, err := readSerial(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		answer := struct {
			Lineages []lineageWire `json:"lineages"`
			Next     string        `json:"next,omitempty"`
		}{Lineages: []lineageWire{}}
		if serial != nil {
			id, err := a.LineageOf(ctx, serial)
			if err != nil {
				return err
			}
			l, _, err := a.Lineage(ctx, id, 1)
			if err != nil {
				return err
			}
			answer.Lineages = append(answer.Lineages, wireLineage(l))
			return replyJSON(x, answer)
		}
		page, err := a.Lineages(ctx, after, lineagePage)
		if err != nil {
			return err
		}
		for _, l := range page {
			answer.Lineages = append(answer.Lineages, wireLineage(l))
		}
		if len(page) == lineagePage {
			answer.Next = formatPage(page[len(page)-1])
		}
		return replyJSON(x, answer)
	}, nil
}

// getLineage shows one lineage with its certificates, the newest first.
func (f *FrontEnd) getLineage(x *server.Exchange) (server.Perform, error) {
	a, id, err := f.object(x)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ audit.Actor) error {
		l, members, err := a.Lineage(ctx, id, lineageMembers)
		if err != nil {
			return err
		}
		answer := wireLineage(l)
		for _, m := range members {
			answer.Certificates = append(answer.Certificates, wireMember(m))
		}
		return replyJSON(x, answer)
	}, nil
}

// deleteLineage ends a lineage.
func (f *FrontEnd) deleteLineage(x *server.Exchange) (server.Perform, error) {
	a, id, err := f.object(x)
	if err != nil {
		return nil, err
	}
	name, err := parameter(x, "reason")
	if err != nil {
		return nil, err
	}
	reason := 0
	if name != "" {
		if reason, err = pki.ParseReason(name); err != nil {
			return nil, server.Refuse(http.StatusBadRequest, "%s", pki.EscapeText(err.Error()))
		}
	}
	return func(ctx context.Context, actor audit.Actor) error {
		if err := a.EndLineage(ctx, actor, id, reason); err != nil {
			return err
		}
		return x.Empty(http.StatusNoContent)
	}, nil
}
