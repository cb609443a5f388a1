package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/dump"
	"cauase/pkg/manage"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/vault"
)

const flagTo = "to"

// copyCommand moves a CA to another database.
func copyCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "copy",
		Usage: "copy everything to another, empty database, such as from SQLite to PostgreSQL",
		Description: "Copies all that is in --" + flagDB + " to the database --" + flagTo + ", which has to be empty or is made, reads it back\n" +
			"there and compares number and SHA-256 of each kind of row. Either everything arrives or nothing.\n\n" +
			"Stop the daemon first. One that runs nevertheless answers 503 to whatever would change something as\n" +
			"long as the copy takes; what it writes afterwards is not in the copy.\n\n" +
			"Each is the path of a SQLite file or a postgres:// URL. The layout of both is brought up to date.\n\n" +
			"Examples:\n" +
			"  cauased manage copy --db cauase.sqlite --to postgres://cauase@db.example/cauase\n" +
			"  cauased manage copy --db postgres://cauase@db.example/cauase --to back.sqlite --json",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.StringFlag{Name: flagTo, EnvVars: env(flagTo), Usage: "`DATABASE` to copy to: a file, or a postgres:// URL, of which the password is better left to PGPASSFILE (required)"},
			&urfave.BoolFlag{Name: "json", Usage: "print what was copied as a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			const hint = "see cauased manage copy --help"
			switch {
			case c.Args().Present():
				return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), hint)
			case c.String(flagTo) == "":
				return cli.WithHint(fmt.Errorf("--%s is required", flagTo), hint)
			}
			sum, err := copyDatabase(c, clk, stderr)
			if err != nil {
				return err
			}
			return printCopy(c, stdout, sum)
		},
	}
}

func copyDatabase(c *urfave.Context, clk clock.Clock, stderr io.Writer) (sum dump.Summary, err error) {
	from, to := c.String(flagDB), c.String(flagTo)
	if from == to || !sqlstore.IsURL(from) && !sqlstore.IsURL(to) && samePlace(from, to) {
		return nil, cli.WithHint(fmt.Errorf("--%s and --%s are the same database", flagDB, flagTo), "give a file that is not there yet, or another database that is empty")
	}
	source, err := openExisting(c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	ctx, done := untilSignal(c.Context)
	defer done()
	meter := newRowMeter(clk, stderr)
	entry := audit.NewEntry(clk.Now(), "", audit.Actor{Kind: audit.Operator}, audit.CopyDB, audit.Object{Kind: audit.KindDatabase, ID: sqlstore.Redact(to)})
	entry.Detail = "copied from " + sqlstore.Redact(from)
	err = fillNamed(c, flagTo, func(target store.Store) (err error) {
		// Keys stay as they are: what opens them here does so there.
		sum, err = manage.Copy(ctx, vault.Inner(source), vault.Inner(target), entry, meter.rows)
		return err
	})
	meter.clear()
	switch {
	case errors.Is(err, manage.ErrNotEmpty):
		err = cli.WithHint(fmt.Errorf("--%s: %w", flagTo, err), "nothing is replaced or merged: give a file that is not there yet, or a database that is empty")
	case errors.Is(err, context.Canceled):
		err = fmt.Errorf("interrupted; --%s is as it was: %w", flagTo, err)
	case errors.Is(err, store.ErrUnavailable):
		err = cli.WithHint(err, "the original is as it was, and nothing is in the copy")
	}
	return sum, err
}

type copyJSON struct {
	From string       `json:"from"`
	To   string       `json:"to"`
	Rows dump.Summary `json:"rows"`
}

// printCopy prints what was copied, and what is left to do.
func printCopy(c *urfave.Context, w io.Writer, sum dump.Summary) error {
	from, to := sqlstore.Redact(c.String(flagDB)), sqlstore.Redact(c.String(flagTo))
	if c.Bool("json") {
		return cli.WriteJSON(w, copyJSON{from, to, sum})
	}
	p := newPrinter(c, w)
	printSummary(p, sum)
	p.line("")
	p.line("All of it was copied from %s", from)
	p.line("to %s, read back and compared.", to)
	p.line("")
	p.line("What to do next:")
	p.line("  Stop every daemon that works with the original, if you have not yet: what it does from now on")
	p.line("  is not in the copy. If one may have done something since, copy again to another database.")
	p.line("  Start the daemons with the copy: cauased --db %s", to)
	p.line("  Never start one with the original again: both would issue from the same CAs, and neither")
	p.line("  knows what the other revokes. Keep it as a backup until all is well, then destroy it: it holds the keys.")
	return p.err
}

// printSummary prints a table of what is in a database.
func printSummary(p *printer, sum dump.Summary) {
	p.line("%-12s %12s  %s", "kind", "rows", "SHA-256")
	for _, row := range sum {
		p.line("%-12s %12d  %.16s", row.Kind, row.Count, row.SHA256)
	}
}
