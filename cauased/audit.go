package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// auditCommand lists the audit log. It may do so while the daemon runs.
func auditCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:            "audit",
		Usage:           "list who did what to what, and when",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.BoolFlag{Name: "json", Usage: "print a JSON object for each entry, one a line"},
			&urfave.StringFlag{Name: "since", Usage: "only from `TIME` on: 2006-01-02, 2006-01-02T15:04:05Z, or 36h for the last 36 hours, 7d for the last week"},
			&urfave.StringFlag{Name: flagAuthority, Usage: "only of the authority `NAME`"},
			&urfave.StringFlag{Name: "action", Usage: "only `ACTION`, such as crt.sign"},
			&urfave.StringFlag{Name: "actor-kind", Usage: "only of actors of this `KIND`: anonymous, user, holder, daemon or operator"},
			&urfave.StringFlag{Name: "actor-serial", Usage: "only of whoever has shown the certificate with serial `NUMBER`, decimal or 0x and hexadecimal"},
			&urfave.StringFlag{Name: "address", Usage: "only from the network `ADDRESS`"},
			&urfave.StringFlag{Name: "object-kind", Usage: "only about this `KIND` of things: csr, crt, ca, crl, setting, backup, database or authority"},
			&urfave.StringFlag{Name: "object-id", Usage: "only about the thing with this `ID`, such as that of a request or certificate"},
			&urfave.StringFlag{Name: "object-serial", Usage: "only about the certificate with serial `NUMBER`, decimal or 0x and hexadecimal"},
			cli.Int(urfave.IntFlag{Name: "limit", Usage: "at most `COUNT` entries, 0 for all of them"}),
			&urfave.BoolFlag{Name: "newest", Usage: "newest first"},
		},
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), "see cauased manage audit --help")
			}
			filter, err := readFilter(c, clk.Now())
			if err != nil {
				return cli.WithHint(err, "see cauased manage audit --help")
			}
			print := printEntry
			if c.Bool("json") {
				print = printEntryJSON
			}
			return listAudit(c, filter, func(e audit.Entry) error { return print(stdout, e) })
		},
	}
}

func readFilter(c *urfave.Context, now time.Time) (audit.Filter, error) {
	f := audit.Filter{
		Authority:  c.String(flagAuthority),
		Action:     audit.Action(c.String("action")),
		ActorKind:  audit.Kind(c.String("actor-kind")),
		Address:    c.String("address"),
		ObjectKind: audit.ObjectKind(c.String("object-kind")),
		ObjectID:   c.String("object-id"),
		Limit:      c.Int("limit"),
		Newest:     c.Bool("newest"),
	}
	for name, to := range map[string]**big.Int{"actor-serial": &f.ActorSerial, "object-serial": &f.ObjectSerial} {
		text := c.String(name)
		if text == "" {
			continue
		}
		serial, err := pki.ParseSerial(text)
		if err != nil {
			return f, fmt.Errorf("--%s: %w", name, err)
		}
		*to = serial
	}
	if f.Authority != "" && !store.AuthorityName(f.Authority).Valid() {
		return f, fmt.Errorf("--authority: %q is not the name of an authority", f.Authority)
	}
	if f.Limit < 0 {
		return f, fmt.Errorf("--limit: %d is negative", f.Limit)
	}
	var err error
	if since := c.String("since"); since != "" {
		f.Since, err = parseSince(since, now)
	}
	return f, err
}

func parseSince(s string, now time.Time) (time.Time, error) {
	if d, err := pki.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since: %q is neither a date, a time nor a duration", s)
}

func listAudit(c *urfave.Context, filter audit.Filter, print func(audit.Entry) error) error {
	list := func(db store.Store) error {
		return db.View(c.Context, func(r store.Reader) error { return r.Audit(c.Context, filter, print) })
	}
	if filter.Authority == "" {
		return withDatabase(c, list)
	}
	return withAuthority(c, store.Standards(filter.Since), func(db store.Store, _ store.AuthorityName) error { return list(db) })
}

// printEntry writes an entry as a line for people. What others have put into it cannot
// break the line or fool the terminal.
func printEntry(w io.Writer, e audit.Entry) error {
	line := fmt.Sprintf("%s  %-5s  %-18s  %-7s  %s  by %s", e.Time.UTC().Format(time.RFC3339), e.Authority, e.Action, e.Result, e.Object, e.Actor)
	if e.Detail != "" {
		line += "  (" + e.Detail + ")"
	}
	_, err := fmt.Fprintln(w, pki.EscapeText(line))
	return err
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
	ActorKind    string `json:"actor_kind"`
	ActorRole    string `json:"actor_role,omitempty"`
	ActorSerial  string `json:"actor_serial,omitempty"` // decimal, as JSON's numbers are too short
	ActorKeyID   string `json:"actor_key_id,omitempty"` // hex
	Lineage      string `json:"lineage,omitempty"`
	ObjectKind   string `json:"object_kind"`
	ObjectID     string `json:"object_id,omitempty"`
	ObjectSerial string `json:"object_serial,omitempty"`
}

// decimal returns "" for nil.
func decimal(serial *big.Int) string {
	if serial == nil {
		return ""
	}
	return serial.String()
}

func printEntryJSON(w io.Writer, e audit.Entry) error {
	line, err := json.Marshal(entryJSON{
		Seq: e.Seq, Time: e.Time.UTC(), Authority: e.Authority, Actor: e.Actor.String(), Address: e.Actor.Address,
		Action: string(e.Action), Object: e.Object.String(), Result: string(e.Result), Detail: e.Detail, RequestID: e.Actor.RequestID,
		ActorKind: string(e.Actor.Kind), ActorRole: e.Actor.Role, ActorSerial: decimal(e.Actor.Serial),
		ActorKeyID: hex.EncodeToString(e.Actor.KeyID), Lineage: e.Actor.Lineage,
		ObjectKind: string(e.Object.Kind), ObjectID: e.Object.ID, ObjectSerial: decimal(e.Object.Serial),
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}
