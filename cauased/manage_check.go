package main

import (
	"errors"
	"fmt"
	"io"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/dump"
	"cauase/pkg/manage"
	"cauase/pkg/store/sqlstore"
)

// maxFindings is how many findings are listed; all are counted.
const maxFindings = 1000

// exitUnchecked is the exit code of a check that could not be completed. Scripts can tell it from ExitError, which
// says that errors were found.
const exitUnchecked = 2

// checkCommand checks the whole database.
func checkCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "check",
		Usage: "check the whole database: that every row can be read, verifies and is consistent with the others",
		Description: "Reads one snapshot of the whole database and checks, beside the file itself, that every row can be\n" +
			"parsed; that certificates are signed by their CA and recorded as what they are; that each CA has its\n" +
			"own key and is vouched for by the one before; that revocation lists verify; that counters and settings\n" +
			"make sense. It may run beside the daemon, and changes nothing: a database of an earlier\n" +
			"version of cauase, which migrate brings up to date, is refused.\n\n" +
			"Exit code 0: no errors, though there may be warnings. 1: errors were found. 2: the check is incomplete.\n" +
			fmt.Sprintf("The first %d findings are listed, all are counted.\n\n", maxFindings) +
			"Examples:\n" +
			"  cauased manage check --db cauase.sqlite\n" +
			"  cauased manage check --db postgres://cauase@db.example/cauase --json | jq '.findings[]'",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.BoolFlag{Name: "json", Usage: "print rows and findings as a JSON object"},
		},
		OnUsageError: func(c *urfave.Context, err error, sub bool) error { return unchecked(cli.UsageError(c, err, sub)) },
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return unchecked(errors.New("unexpected argument: " + c.Args().First()))
			}
			return check(c, clk, stdout, stderr)
		},
	}
}

func unchecked(err error) error {
	return cli.WithHint(&cli.Error{Err: err, Code: exitUnchecked, Failed: true}, "see cauased manage check --help")
}

// uncheckable is err, with its hint, as the outcome of a check.
func uncheckable(err error) error {
	e := &cli.Error{Err: err, Code: exitUnchecked, Failed: true}
	if hinted := (*cli.Error)(nil); errors.As(err, &hinted) {
		e.Hint = hinted.Hint
	}
	return e
}

type checkJSON struct {
	Database string           `json:"database"`
	Complete bool             `json:"complete"` // everything was looked at
	Errors   int64            `json:"errors"`
	Warnings int64            `json:"warnings"`
	Findings []manage.Finding `json:"findings"` // the first of them
	Rows     dump.Summary     `json:"rows"`
}

func check(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer) error {
	db, err := openToInspect(c)
	if err != nil {
		return uncheckable(err)
	}
	ctx, done := untilSignal(c.Context)
	defer done()
	meter, p := newRowMeter(clk, stderr), newPrinter(c, stdout)
	findings, listed := []manage.Finding{}, 0
	checked, err := manage.Check(ctx, db, clk.Now(), func(f manage.Finding) {
		if listed++; listed > maxFindings {
			return
		}
		if c.Bool("json") {
			findings = append(findings, f)
			return
		}
		meter.clear()
		p.line("%s: %s: %s", f.Severity, f.Row, f.Problem)
	}, meter.rows)
	meter.clear()
	err = errors.Join(err, db.Close())
	if c.Bool("json") {
		p.err = cli.WriteJSON(stdout, checkJSON{sqlstore.Redact(c.String(flagDB)), err == nil,
			checked.Errors, checked.Warnings, findings, checked.Rows})
	} else {
		if listed > maxFindings {
			p.line("… and %d more", listed-maxFindings)
		}
		if err == nil {
			printSummary(p, checked.Rows)
			p.line("%d errors, %d warnings", checked.Errors, checked.Warnings)
		}
	}
	switch {
	case err != nil:
		return &cli.Error{Err: fmt.Errorf("check: it could not be completed: %w", err), Code: exitUnchecked, Failed: true}
	case p.err != nil:
		return &cli.Error{Err: p.err, Code: exitUnchecked, Failed: true}
	case checked.Errors > 0:
		return cli.WithHint(fmt.Errorf("check: %d errors were found", checked.Errors), "keep a copy of the database as it is now, then see docs/operations.md")
	}
	return nil
}
