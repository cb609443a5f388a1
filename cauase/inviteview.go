package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/invite"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// An invitationView is what may be shown of an invitation.
type invitationView struct {
	ID         string              `json:"id"`
	Authority  string              `json:"authority"`
	Names      []string            `json:"names"`
	Profile    string              `json:"profile,omitempty"`
	Uses       int                 `json:"uses"`
	Made       time.Time           `json:"made"`
	Until      time.Time           `json:"until"`
	Inviter    string              `json:"inviter"` // serial of a certificate, or "operator"
	InviterDec string              `json:"inviter_decimal,omitempty"`
	CAs        map[string][]string `json:"cas"`
	Invitation string              `json:"invitation,omitempty"` // the secret
	File       string              `json:"file,omitempty"`
}

func viewInvitation(s *invite.Signed) invitationView {
	v := invitationView{
		ID: s.ID.String(), Authority: s.Authority, Names: s.Names.Strings(), Profile: s.Profile, Uses: s.Uses,
		Made: s.Made, Until: s.Until, Inviter: "operator", CAs: make(map[string][]string),
	}
	if s.By != nil {
		by := manners.SerialOf(s.By)
		v.Inviter, v.InviterDec = by.Hex, by.Decimal
	}
	for name, list := range s.CAs {
		for _, f := range list {
			v.CAs[name] = append(v.CAs[name], client.Pin(f).String())
		}
	}
	return v
}

func (p *printer) invitation(v invitationView, now time.Time) {
	p.line("id:         %s", v.ID)
	p.line("authority:  %s", v.Authority)
	for _, name := range v.Names {
		p.line("allows:     %s", name)
	}
	if v.Profile != "" {
		p.line("profile:    %s", v.Profile)
	}
	p.line("uses:       %d", v.Uses)
	p.line("made:       %s", v.Made.Format(time.RFC3339))
	p.line("until:      %s (%s)", v.Until.Format(time.RFC3339), remaining(v.Until, now))
	if v.Inviter == "operator" {
		p.line("signed by:  an operator, with the key of the CA")
	} else {
		p.line("signed by:  the user with the certificate of serial %s", manners.Serial{Hex: v.Inviter, Decimal: v.InviterDec}.Text(p.decimal))
	}
	names := make([]string, 0, len(v.CAs))
	for name := range v.CAs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, fingerprint := range v.CAs[name] {
			p.line("CA of %s: %s", name, fingerprint)
		}
	}
}

// A recordedView is an invitation that the daemon has on record.
type recordedView struct {
	ID          string     `json:"id"`
	Authority   string     `json:"authority"`
	Names       []string   `json:"names"`
	Inviter     string     `json:"inviter,omitempty"` // in words
	By          string     `json:"inviter_serial,omitempty"`
	ByDec       string     `json:"inviter_serial_decimal,omitempty"`
	Uses        int        `json:"uses"`
	Used        int        `json:"used"`
	Refused     int        `json:"refused"`
	Made        *time.Time `json:"made,omitempty"`
	Until       time.Time  `json:"until"`
	WithdrawnAt *time.Time `json:"withdrawn_at,omitempty"`
}

// A voidedView is an invitation that was withdrawn.
type voidedView struct {
	ID        string `json:"id"`
	Authority string `json:"authority"`
	Result    string `json:"result"`
}

// inviterSerial is how a daemon's records say which certificate somebody has shown.
var inviterSerial = regexp.MustCompile(`\bserial=(0x[0-9a-f]+|[0-9]+)\b`)

func (t *tool) viewRecorded(i client.Invitation) recordedView {
	v := recordedView{
		ID: pki.EscapeText(i.ID), Authority: string(t.authority), Names: []string{}, Inviter: pki.EscapeText(i.Inviter),
		Uses: i.Uses, Used: i.Used, Refused: i.Refused, Until: i.Until.UTC(),
	}
	for _, name := range i.Names {
		v.Names = append(v.Names, pki.EscapeText(name))
	}
	if i.Made != nil {
		v.Made = known(*i.Made)
	}
	if i.Voided != nil {
		v.WithdrawnAt = known(*i.Voided)
	}
	if m := inviterSerial.FindStringSubmatch(v.Inviter); m != nil {
		by := manners.ReadSerial(m[1])
		v.By, v.ByDec = by.Hex, by.Decimal
		v.Inviter = v.by(false)
	}
	return v
}

// by says who has made the invitation.
func (v recordedView) by(decimal bool) string {
	return inviterSerial.ReplaceAllString(v.Inviter, "serial="+manners.Serial{Hex: v.By, Decimal: v.ByDec}.Text(decimal))
}

func (p *printer) invitations(list []recordedView) {
	if len(list) == 0 {
		p.line("No invitation is on record.")
	}
	for _, v := range list {
		state := fmt.Sprintf("used %d of %d", v.Used, v.Uses)
		if v.Uses == 0 {
			state = "never seen"
		}
		if v.WithdrawnAt != nil {
			state += ", withdrawn"
		}
		if v.Refused > 0 {
			state += ", refused"
		}
		p.line("%s  until %s  %s  %s  %s", v.ID, v.Until.Format(time.RFC3339), state,
			orNothing(strings.Join(v.Names, ", ")), v.by(p.decimal))
	}
}
