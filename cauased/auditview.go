package main

import (
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/pki"
)

// printEntry writes an entry as a line for people: by and of are whose certificate the actor has shown, and whom the entry is about.
// What others have put into it cannot break the line or fool the terminal.
func printEntry(p *printer, e audit.Entry, by, of holder) {
	line := e.Object.String()
	if of.subject != "" && !strings.Contains(e.Detail, of.subject) {
		line += " " + of.subject
	}
	line += "  by "
	if by.name != "" {
		line += by.name + ", "
	}
	line += e.Actor.String()
	if e.Detail != "" {
		line += "  (" + serialsIn(e.Detail, p.decimal) + ")"
	}
	p.line("%s  %-5s  %-18s  %-7s  %s", e.Time.UTC().Format(time.RFC3339), e.Authority, e.Action, e.Result, line)
}

// entryJSON is an entry as scripts read it.
type entryJSON struct {
	Seq       int64     `json:"seq"`
	Time      time.Time `json:"time"`
	Authority string    `json:"authority"`
	Actor     string    `json:"actor"`
	Address   string    `json:"address,omitempty"`
	Action    string    `json:"action"`
	Object    string    `json:"object"`
	Result    string    `json:"result"`
	Detail    string    `json:"detail,omitempty"`
	RequestID string    `json:"request_id,omitempty"`

	// The same, value by value.
	ActorKind     string `json:"actor_kind"`
	ActorRole     string `json:"actor_role,omitempty"`
	ActorSerial   string `json:"actor_serial,omitempty"`
	ActorDecimal  string `json:"actor_serial_decimal,omitempty"`
	ActorKeyID    string `json:"actor_key_id,omitempty"` // hex
	ActorName     string `json:"actor_name,omitempty"`   // the common name
	ActorSubject  string `json:"actor_subject,omitempty"`
	Lineage       string `json:"lineage,omitempty"`
	ObjectKind    string `json:"object_kind"`
	ObjectID      string `json:"object_id,omitempty"`
	ObjectSerial  string `json:"object_serial,omitempty"`
	ObjectDecimal string `json:"object_serial_decimal,omitempty"`
	ObjectSubject string `json:"object_subject,omitempty"`
	ObjectLineage string `json:"object_lineage,omitempty"`
	Renews        string `json:"renews_serial,omitempty"`
	RenewsDecimal string `json:"renews_serial_decimal,omitempty"`
	Reason        string `json:"reason,omitempty"` // of a revocation
}

// What entries have at the end of their detail.
var (
	renewsSerial = regexp.MustCompile(` renews serial=(0x[0-9a-f]+|[0-9]+)( lineage=[0-9]+)?$`)
	withReason   = regexp.MustCompile(`(?:^| )reason=([0-9]+)( lineage=[0-9]+)?$`)
)

// renewed is the serial number of the certificate that was renewed.
func renewed(e audit.Entry) cli.Serial {
	if found := renewsSerial.FindStringSubmatch(e.Detail); found != nil && e.Action == audit.Renew && e.Result == audit.OK {
		return cli.ReadSerial(found[1])
	}
	return cli.Serial{}
}

// reasonOf is the reason of a revocation.
func reasonOf(e audit.Entry) string {
	switch e.Action {
	case audit.Revoke, audit.RevokeCA, audit.EndLineage:
	default:
		return ""
	}
	if e.Result != audit.OK {
		return ""
	}
	code := 0
	if found := withReason.FindStringSubmatch(e.Detail); found != nil {
		code, _ = strconv.Atoi(found[1]) // digits
	}
	return pki.ReasonName(code)
}

func viewEntry(e audit.Entry, by, of holder) entryJSON {
	actor, object, renews := cli.SerialOf(e.Actor.Serial), cli.SerialOf(e.Object.Serial), renewed(e)
	return entryJSON{
		Seq: e.Seq, Time: e.Time.UTC(), Authority: e.Authority, Actor: e.Actor.String(), Address: e.Actor.Address,
		Action: string(e.Action), Object: e.Object.String(), Result: string(e.Result), Detail: serialsIn(e.Detail, false), RequestID: e.Actor.RequestID,
		ActorKind: string(e.Actor.Kind), ActorRole: e.Actor.Role, ActorSerial: actor.Hex, ActorDecimal: actor.Decimal,
		ActorKeyID: hex.EncodeToString(e.Actor.KeyID), ActorName: by.name, ActorSubject: by.subject, Lineage: e.Actor.Lineage,
		ObjectKind: string(e.Object.Kind), ObjectID: e.Object.ID, ObjectSerial: object.Hex, ObjectDecimal: object.Decimal, ObjectSubject: of.subject,
		ObjectLineage: e.Object.Lineage, Renews: renews.Hex, RenewsDecimal: renews.Decimal, Reason: reasonOf(e),
	}
}
