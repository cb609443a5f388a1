package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// A lineageView is a certificate with its renewals.
type lineageView struct {
	ID          string     `json:"id"`
	Subject     string     `json:"subject"`
	Role        string     `json:"role,omitempty"`
	Profile     string     `json:"profile,omitempty"`
	State       string     `json:"state"`
	CreatedAt   time.Time  `json:"created_at"`
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Newest      string     `json:"newest_serial"`
	NewestDec   string     `json:"newest_serial_decimal"`
	NotAfter    time.Time  `json:"not_after"`
	Expired     bool       `json:"expired"`
	Renewals    int64      `json:"renewals"`
	RenewedAt   *time.Time `json:"renewed_at,omitempty"`
	Address     string     `json:"address,omitempty"`
	Forks       int64      `json:"forks"`
	ForkedAt    *time.Time `json:"forked_at,omitempty"`
	ForkAddress string     `json:"fork_address,omitempty"`
	ForkedFrom  string     `json:"forked_from,omitempty"`

	Certificates []lineageCertificateView `json:"certificates,omitempty"`
}

// A lineageCertificateView is a certificate of a lineage.
type lineageCertificateView struct {
	ID string `json:"id"`
	manners.Serial
	Renews    string     `json:"renews,omitempty"`
	RenewsDec string     `json:"renews_decimal,omitempty"`
	Subject   string     `json:"subject"`
	SANs      []string   `json:"sans"`
	IssuedAt  time.Time  `json:"issued_at"`
	NotBefore time.Time  `json:"not_before"`
	NotAfter  time.Time  `json:"not_after"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	Reason    string     `json:"reason,omitempty"`
}

// A lineageResult is what became of a lineage.
type lineageResult struct {
	Lineage string `json:"lineage"`
	Result  string `json:"result"`
}

// viewLineage takes what a daemon says of a lineage, which is text from outside.
func (t *tool) viewLineage(l client.Lineage) lineageView {
	newest := manners.ReadSerial(l.Newest)
	v := lineageView{
		ID: pki.EscapeText(l.ID), Subject: pki.EscapeText(l.Subject), Role: pki.EscapeText(l.Role), Profile: pki.EscapeText(l.Profile),
		State: pki.EscapeText(l.State), CreatedAt: l.CreatedAt.UTC(), EndedAt: known(l.EndedAt), Reason: pki.EscapeText(l.Reason),
		Newest: newest.Hex, NewestDec: newest.Decimal, NotAfter: l.NotAfter.UTC(), Expired: t.clock.Now().After(l.NotAfter),
		Renewals: l.Renewals, RenewedAt: known(l.RenewedAt), Address: pki.EscapeText(l.Address),
		Forks: l.Forks, ForkedAt: known(l.ForkedAt), ForkAddress: pki.EscapeText(l.ForkAddress), ForkedFrom: pki.EscapeText(l.ForkedFrom),
	}
	for _, crt := range l.Certificates {
		renews := manners.ReadSerial(crt.Renews)
		one := lineageCertificateView{
			ID: pki.EscapeText(crt.ID), Serial: manners.ReadSerial(crt.Serial), Renews: renews.Hex, RenewsDec: renews.Decimal,
			Subject: pki.EscapeText(crt.Subject), SANs: []string{}, IssuedAt: crt.IssuedAt.UTC(), NotBefore: crt.NotBefore.UTC(), NotAfter: crt.NotAfter.UTC(),
			RevokedAt: known(crt.RevokedAt), Reason: pki.EscapeText(crt.Reason),
		}
		for _, name := range crt.SANs {
			one.SANs = append(one.SANs, pki.EscapeText(name))
		}
		v.Certificates = append(v.Certificates, one)
	}
	return v
}

// known is a time in UTC, nil if there is none.
func known(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

// said is the state of a lineage, with why it has ended.
func (v lineageView) said() string {
	switch {
	case v.State != "active" && v.Reason != "":
		return safe(v.State + ", " + v.Reason)
	case v.State == "active" && v.Expired:
		return "expired"
	}
	return safe(v.State)
}

// forks tells of forks with the addresses of both.
func (v lineageView) forks() string {
	if v.Forks == 0 {
		return "-"
	}
	return fmt.Sprintf("%d, the last from %s after %s", v.Forks, orNothing(safe(v.ForkAddress)), orNothing(safe(v.ForkedFrom)))
}

func (p *printer) lineages(list []lineageView) {
	if len(list) == 0 {
		return
	}
	w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LINEAGE\tSUBJECT\tSTATE\tVALID UNTIL\tRENEWALS\tFROM\tFORKS")
	for _, v := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", safe(v.ID), orNothing(safe(v.Subject)), v.said(), v.NotAfter.Format(time.DateOnly),
			v.Renewals, orNothing(safe(v.Address)), v.forks())
	}
	_ = w.Flush() // into memory
}

func (p *printer) lineage(v lineageView) {
	p.field("lineage", safe(v.ID))
	p.field("subject", safe(v.Subject))
	p.field("role", safe(v.Role))
	p.field("profile", safe(v.Profile))
	p.field("state", v.said())
	p.field("since", timeText(v.CreatedAt))
	p.time("ended", v.EndedAt)
	p.field("valid until", timeText(v.NotAfter))
	p.field("renewals", fmt.Sprint(v.Renewals))
	if v.RenewedAt != nil {
		p.field("renewed", timeText(*v.RenewedAt)+", from "+orNothing(safe(v.Address)))
	}
	if v.Forks > 0 {
		p.field("forks", v.forks())
		p.time("forked", v.ForkedAt)
	}
	for i, crt := range v.Certificates {
		label := "serial"
		if i == 0 {
			label = "newest serial"
		}
		p.line("")
		p.field(label, safe(crt.Serial.Text(p.decimal)))
		p.field("renews", safe(manners.Serial{Hex: crt.Renews, Decimal: crt.RenewsDec}.Text(p.decimal)))
		p.field("issued", timeText(crt.IssuedAt))
		p.field("valid until", timeText(crt.NotAfter))
		if crt.RevokedAt != nil {
			p.field("revoked", strings.TrimSuffix(timeText(*crt.RevokedAt)+", "+safe(crt.Reason), ", "))
		}
	}
}

func (p *printer) time(label string, at *time.Time) {
	if at != nil {
		p.field(label, timeText(*at))
	}
}
