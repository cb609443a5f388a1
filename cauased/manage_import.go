package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/caucase"
	"cauase/pkg/caucase/caucasedb"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

const flagSkipBadRows = "skip-bad-rows"

func skipBadRowsFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: flagSkipBadRows, Usage: "leave out what caucase has taken and cannot be used, and say so"}
}

// importCaucaseCommand takes over a caucase.
func importCaucaseCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "import-caucase",
		Usage:     "take over the database of a caucase, whose users and services go on as before",
		ArgsUsage: "PATH",
		Description: "Reads PATH, the SQLite database of a caucased that is stopped, of version 0.9.8 and older or\n" +
			"0.9.9 and later, and fills an empty database with it: the authorities with their keys, pending\n" +
			"requests, issued certificates, revocations, counters and locks. PATH is not changed.\n\n" +
			"Either everything is imported or nothing. A row that cannot be used, such as the request of an RSA\n" +
			"key of 1024 bits, is refused by its name, or left out with --" + flagSkipBadRows + "; never that of a CA.\n\n" +
			"Examples:\n" +
			"  cauased manage import-caucase caucase.sqlite\n" +
			"  cauased manage import-caucase --db postgres://ca@db/cauase /srv/caucase/caucase.sqlite",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			skipBadRowsFlag(),
			&urfave.BoolFlag{Name: "json", Usage: "print what was imported as a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			if c.NArg() != 1 {
				return cli.WithHint(errors.New("the PATH of caucase's database is needed"), "see cauased manage import-caucase --help")
			}
			report, err := importCaucase(c, clk.Now(), stderr)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return cli.WriteJSON(stdout, reportJSON(report))
			}
			return printReport(c, stdout, report)
		},
	}
}

func importCaucase(c *urfave.Context, now time.Time, stderr io.Writer) (report caucase.Report, err error) {
	path := c.Args().First()
	if samePlace(path, c.String(flagDB)) {
		return report, cli.WithHint(fmt.Errorf("--%s is the database to import from", flagDB), "give the database to fill with --%s", flagDB)
	}
	source, err := caucasedb.Read(c.Context, path)
	switch {
	case errors.Is(err, caucasedb.ErrInUse):
		return report, cli.WithHint(fmt.Errorf("%s: %w", path, err), "stop the caucased that uses it, and leave it stopped")
	case errors.Is(err, caucase.ErrNotCaucase):
		return report, cli.WithHint(fmt.Errorf("%s: %w", path, err), "the database of a caucased is needed, by default named caucase.sqlite")
	case err != nil:
		return report, fmt.Errorf("%s: %w", path, err)
	}
	source.SkipBadRows = c.Bool(flagSkipBadRows)
	progress := func(rows int) { remark(stderr, "note", "%d rows", rows) }
	err = fillDatabase(c, func(st store.Store) (err error) {
		report, err = manage.ImportCaucase(c.Context, st, now, source, progress)
		return err
	})
	var bad *caucase.BadRowsError
	switch {
	case errors.As(err, &bad):
		err = cli.WithHint(fmt.Errorf("%s: %w", path, err), "--%s leaves them out: whoever sent them has to ask again", flagSkipBadRows)
	case errors.Is(err, caucase.ErrNotCaucase):
		err = fmt.Errorf("%s: %w", path, err)
	case errors.Is(err, store.ErrExists):
		err = cli.WithHint(fmt.Errorf("--%s: something is in %s already", flagDB, sqlstore.Redact(c.String(flagDB))), "give a database that is empty, or a file that is not there yet")
	}
	return report, err
}

// printReport prints what was imported, and what is left to do.
func printReport(c *urfave.Context, w io.Writer, r caucase.Report) error {
	p := newPrinter(c, w)
	for _, a := range r.Authorities {
		if a.CAs == 0 {
			p.line("%s: nothing", a.Authority)
			continue
		}
		p.line("%s: %s, the newest is %s, valid until %s", a.Authority, plural(a.CAs, "CA certificate"), a.Subject, a.NotAfter.UTC().Format(time.DateOnly))
		p.line("     %s, %s, %s", plural(a.Issued, "issued certificate"), plural(a.Pending, "pending request"), plural(a.Revoked, "revocation"))
		if a.Forgotten > 0 {
			p.line("     %s not taken over: expired, and their CAs are gone", plural(a.Forgotten, "certificate"))
		}
		if a.CRLNumber > 0 {
			p.line("     the next revocation list has number %d", a.CRLNumber)
		}
		if a.AutoApprove != nil {
			p.line("     automatic approval is locked at %d", *a.AutoApprove)
		}
	}
	for _, bad := range r.LeftOut {
		p.line("left out: %s", bad)
	}
	for _, note := range r.Notes {
		p.line("note: %s", note)
	}
	p.line("")
	p.line("What to do next:")
	p.line("  Leave the old daemon stopped: it would issue from the same CAs and know nothing of what")
	p.line("  happens here. Keep its database as a backup until all is well, then destroy it: it holds the keys.")
	p.line("  Start cauased with the options of the old daemon, which have the same names, such as")
	p.line("    cauased --db %s%s", sqlstore.Redact(c.String(flagDB)), options(r))
	p.line("  --netloc has to be the old one: certificates name it. --server-key may be the old file;")
	p.line("  --cors-key-store may not, users are asked again which web pages they trust.")
	return p.err
}

// options are those that the old daemon seems to have had.
func options(r caucase.Report) string {
	var netloc, spans string
	for _, a := range r.Authorities {
		if a.Netloc != "" {
			netloc = " --netloc " + a.Netloc
		}
		if a.Span <= 0 {
			continue
		}
		flag := flagServiceValidity
		if row, _ := store.Standard(a.Authority, time.Time{}); row.Role == store.RoleUsers {
			flag = flagUserValidity
		}
		const standard = 93 * day
		if a.Span.Round(time.Minute) != standard {
			spans += fmt.Sprintf(" --%s %.9g", flag, float64(a.Span)/float64(day))
		}
	}
	return netloc + spans
}

type importJSON struct {
	Authorities []authorityJSON `json:"authorities"`
	LeftOut     []string        `json:"left_out"`
	Notes       []string        `json:"notes"`
}

type authorityJSON struct {
	Authority   string `json:"authority"`
	CAs         int    `json:"ca_certificates"`
	Issued      int    `json:"issued"`
	Pending     int    `json:"pending"`
	Revoked     int    `json:"revoked"`
	Expired     int    `json:"expired_left_out"`
	CRLNumber   int64  `json:"next_crl_number"`
	AutoApprove *int64 `json:"auto_approve_count,omitempty"`
	Netloc      string `json:"netloc,omitempty"`
	Span        int64  `json:"crt_validity_seconds,omitempty"`
}

func reportJSON(r caucase.Report) importJSON {
	out := importJSON{Authorities: []authorityJSON{}, LeftOut: []string{}, Notes: append([]string{}, r.Notes...)}
	for _, a := range r.Authorities {
		out.Authorities = append(out.Authorities, authorityJSON{
			Authority: string(a.Authority), CAs: a.CAs, Issued: a.Issued, Pending: a.Pending, Revoked: a.Revoked,
			Expired: a.Forgotten, CRLNumber: a.CRLNumber, AutoApprove: a.AutoApprove, Netloc: a.Netloc, Span: int64(a.Span / time.Second),
		})
	}
	for _, bad := range r.LeftOut {
		out.LeftOut = append(out.LeftOut, bad.String())
	}
	return out
}
