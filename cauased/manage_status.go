package main

import (
	"errors"
	"io"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// statusCommand shows what is in the database.
func statusCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "status",
		Usage: "show what is in the database: CAs and their phases, certificates, lists, the last backup",
		Description: "May run beside the daemon, and changes nothing: a database of an earlier version of cauase, which\n" +
			"migrate brings up to date, is refused. In which phase a CA is depends on how long certificates are\n" +
			"valid, which is in the database since the daemon was last started; the options say what if it were otherwise.\n\n" +
			"Examples:\n" +
			"  cauased manage status --db cauase.sqlite\n" +
			"  cauased manage status --service-crt-validity 30 --json | jq '.authorities[].next_ca'",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			float("", flagUserValidity, 93, "`DAYS` an issued certificate of a user is valid"),
			float("", flagServiceValidity, 93, "`DAYS` an issued certificate of a service is valid"),
			&urfave.BoolFlag{Name: "json", Usage: "print it as a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), "see cauased manage status --help")
			}
			r := &reader{c: c}
			users, services := r.spans(flagUserValidity, rollover.DefaultLife), r.spans(flagServiceValidity, rollover.DefaultLife)
			if r.err != nil {
				return r.err
			}
			now := clk.Now()
			status, err := readStatus(c, now, func(a store.Authority) rollover.Spans {
				spans, flag := services, flagServiceValidity
				switch a.Role {
				case store.RoleUsers:
					spans, flag = users, flagUserValidity
				case store.RoleDaemon:
					spans.Life = rollover.DaemonLife
				}
				// The daemon's options are about the authorities that every daemon has, and what they last
				// were is in the rows.
				if _, standard := store.Standard(a.Name, a.CreatedAt); a.Span > 0 && !(standard && c.IsSet(flag)) {
					spans = rollover.Spans{Leaf: a.Span, Life: a.Life}
				}
				return spans
			})
			if err != nil {
				return err
			}
			return printStatus(c, stdout, now, status)
		},
	}
}

func readStatus(c *urfave.Context, now time.Time, spans func(store.Authority) rollover.Spans) (status manage.Status, err error) {
	db, err := openToInspect(c)
	if err != nil {
		return status, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return manage.ReadStatus(c.Context, db, now, spans)
}

type statusJSON struct {
	Place string `json:"place"`
	manage.Status
}

func printStatus(c *urfave.Context, w io.Writer, now time.Time, status manage.Status) error {
	place := sqlstore.Redact(c.String(flagDB))
	if c.Bool("json") {
		return cli.WriteJSON(w, statusJSON{place, status})
	}
	p := newPrinter(c, w)
	d := status.Database
	p.line("%s: %s, layout %d, %.1f MiB", place, d.Engine, d.Layout, float64(d.Bytes)/(1<<20))
	if n := status.Disputes; n > 0 {
		p.line("log: hosts have shown %s under our signature, the last on %s: ours was rewritten, or an old copy of the database is in use; see cauased manage audit verify", plural(n, "other log"), stamp(*status.LastDispute))
	}
	if b := status.LastBackup; b == nil {
		p.line("last backup: none is recorded")
	} else {
		p.line("last backup: %s (%s), %s in %s, %.1f MiB, for %s", stamp(b.Time), ago(now, b.Time), b.Name, b.Place, float64(b.Size)/(1<<20), plural(b.Recipients, "user"))
		if b.Excluded > 0 {
			p.line("  %s cannot decrypt it", plural(b.Excluded, "user"))
		}
	}
	for _, a := range status.Authorities {
		p.line("")
		printAuthority(p, now, a)
	}
	return p.err
}

func printAuthority(p *printer, now time.Time, a manage.AuthorityStatus) {
	if a.Problem != "" {
		p.line("%s: problem: %s", a.Name, a.Problem)
		return
	}
	if len(a.CAs) == 0 {
		p.line("%s: no CA yet", a.Name)
		return
	}
	p.line("%s: %d certificates, %d of them valid by date and %d expired; %s pending; %s", a.Name, a.Total, a.Valid, a.Expired,
		plural(a.Pending, "request"), plural(a.Revoked, "revocation"))
	for _, ca := range a.CAs {
		key := ""
		if !ca.HasKey {
			key = ", key erased"
		}
		p.line("  CA %s %s: %s, from %s to %s%s", ca.KeyID, ca.KeyType, ca.Phase, stamp(ca.NotBefore), stamp(ca.NotAfter), key)
	}
	if r := a.Rotation; r != nil {
		printRotation(p, now, *r)
		if r.Hosts.Missing() > 0 {
			p.line("  cauased manage rotate %s --status lists those that are missing", a.Name)
		}
	}
	switch {
	case a.NextCA == nil:
		p.line("  next CA: not before the time of the one there is has come")
	case now.Before(*a.NextCA):
		p.line("  next CA: due at %s (%s)", stamp(*a.NextCA), ahead(now, *a.NextCA))
	default:
		p.line("  next CA: due since %s, made by the daemon when it runs", stamp(*a.NextCA))
	}
	if a.NextKey != "" {
		p.line("  next CA key: %s, as chosen", a.NextKey)
	}
	if a.Role == store.RoleDaemon {
		return
	}
	switch {
	case a.CRL == nil:
		p.line("  revocation list: none yet")
	case !a.CRL.Current:
		p.line("  revocation list: %d, until %s; something was revoked since, the next one is due", a.CRL.Number, stamp(a.CRL.NextUpdate))
	case a.CRL.NextUpdate.Before(now):
		p.line("  revocation list: %d, out of date since %s", a.CRL.Number, stamp(a.CRL.NextUpdate))
	default:
		p.line("  revocation list: %d, until %s (%s)", a.CRL.Number, stamp(a.CRL.NextUpdate), ahead(now, a.CRL.NextUpdate))
	}
	if a.Locked == nil {
		p.line("  automatic approval: not locked; %d requests were accepted so far", a.Received)
	} else {
		p.line("  automatic approval: locked at the first %d; %d requests were accepted so far", *a.Locked, a.Received)
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func ago(now, t time.Time) string { return span(now.Sub(t)) + " ago" }

func ahead(now, t time.Time) string { return "in " + span(t.Sub(now)) }

// span formats a duration in words.
func span(d time.Duration) string {
	switch {
	case d >= 2*day:
		return plural(int(d/day), "day")
	case d >= 2*time.Hour:
		return plural(int(d/time.Hour), "hour")
	case d >= 2*time.Minute:
		return plural(int(d/time.Minute), "minute")
	}
	return plural(max(0, int(d/time.Second)), "second")
}
