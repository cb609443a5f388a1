package main

import (
	"io"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/invite"
	"cauase/pkg/store"
)

// invitationJSON is an invitation that was made, as scripts read it.
type invitationJSON struct {
	ID         string    `json:"id"`
	Authority  string    `json:"authority"`
	Names      []string  `json:"names"`
	Uses       int       `json:"uses"`
	Until      time.Time `json:"until"`
	Invitation string    `json:"invitation,omitempty"` // the secret, if it is in no file
	File       string    `json:"file,omitempty"`
}

// recordedInvitationJSON is what is on record of one.
type recordedInvitationJSON struct {
	ID          string    `json:"id"`
	Authority   string    `json:"authority"`
	Names       []string  `json:"names"`
	Inviter     string    `json:"inviter,omitempty"`
	By          string    `json:"inviter_serial,omitempty"`
	ByDecimal   string    `json:"inviter_serial_decimal,omitempty"`
	Uses        int       `json:"uses"` // 0 if it was never seen
	Used        int       `json:"used"`
	Refused     int       `json:"refused"`
	Until       time.Time `json:"until"`
	WithdrawnAt time.Time `json:"withdrawn_at,omitzero"`
}

func viewInvitation(signed *invite.Signed, name store.AuthorityName) invitationJSON {
	return invitationJSON{
		ID: signed.ID.String(), Authority: string(name), Names: append([]string{}, signed.Names.Strings()...), Uses: signed.Uses, Until: signed.Until.UTC(),
	}
}

func printInvitationsJSON(w io.Writer, list []store.Invitation) error {
	views := []recordedInvitationJSON{}
	for _, v := range list {
		by := audit.ParseActor(v.Inviter, "")
		serial := cli.SerialOf(by.Serial)
		view := recordedInvitationJSON{
			ID: v.ID, Authority: string(v.Authority), Names: append([]string{}, v.Names...), Inviter: by.String(), By: serial.Hex, ByDecimal: serial.Decimal,
			Uses: v.Uses, Used: v.Used, Refused: v.Refused, Until: v.Until.UTC(),
		}
		if !v.VoidedAt.IsZero() {
			view.WithdrawnAt = v.VoidedAt.UTC()
		}
		views = append(views, view)
	}
	return cli.WriteJSON(w, views)
}
