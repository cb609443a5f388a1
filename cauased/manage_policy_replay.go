package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/store"
)

func policyReplayCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "replay",
		Usage: "run rules over the requests on record, and print where something else would become of one",
		Description: "Has the rules of --config decide about what was asked for: requests that are pending, and those that have got a\n" +
			"first certificate, in the order of time, with what is on record of who has asked. Printed is what would not become of\n" +
			"them what has. What rules refused is not on record, and certificates that were renewed are not asked about.\n" +
			"It reads all certificates, and may run beside the daemon.\n\n" +
			"Exit code 0: there is no difference. 2: there are some. 1: an error.\n" +
			fmt.Sprintf("The first %d differences are listed, all are counted.\n\n", maxFindings) +
			"Example:\n" +
			"  cauased manage policy replay --config new.toml --db cauase.sqlite --since 90d",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(), netlocFlag(),
			&urfave.StringFlag{Name: flagSince, Value: "90d", Usage: "go back to this `TIME`, or so long: 36h, 90d, 2026-01-31"},
			&urfave.StringFlag{Name: flagAuthority, Usage: "only requests to the authority `NAME`"},
			&urfave.BoolFlag{Name: "json", Usage: "print a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), "see cauased manage policy replay --help")
			}
			return policyReplay(c, clk, stdout, stderr)
		},
	}
}

// differenceJSON is a request of which something else would become.
type differenceJSON struct {
	Authority  string    `json:"authority"`
	ID         string    `json:"id"` // as JSON's numbers are too short
	Time       time.Time `json:"time"`
	Pending    bool      `json:"pending"`
	Subject    string    `json:"subject"`
	SANs       []string  `json:"sans"`
	Profile    string    `json:"profile,omitempty"`
	Was        string    `json:"was"` // hold: a user has decided, or is to
	WasRule    string    `json:"was_rule,omitempty"`
	Would      string    `json:"would"`
	WouldRule  string    `json:"would_rule,omitempty"`
	Difference string    `json:"difference"`
}

type policyReplayJSON struct {
	File        string           `json:"file"`
	Since       time.Time        `json:"since"`
	Requests    int64            `json:"requests"`
	Different   int64            `json:"different"`
	Skipped     int64            `json:"skipped"`     // cannot be read, or have a profile that is not in the file
	Differences []differenceJSON `json:"differences"` // the first of them
}

func policyReplay(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer) (err error) {
	file, err := rulesOf(c, "")
	if err != nil {
		return err
	}
	since, err := parseSince(c.String(flagSince), clk.Now())
	if err != nil {
		return err
	}
	db, err := openToInspect(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, own, err := surroundings(c, db)
	if err != nil {
		return err
	}
	in := manage.Replay{Trial: manage.Trial{Rules: file.Policy, Profiles: file.profiles, Daemon: own}, Since: since}
	if name := c.String(flagAuthority); name != "" {
		if in.Authority, err = pickAuthority(rows, name); err != nil {
			return err
		}
	}
	ctx, done := untilSignal(c.Context)
	defer done()
	meter, p := newRowMeter(clk, stderr), newPrinter(c, stdout)
	view := policyReplayJSON{File: file.path, Since: since.UTC(), Differences: []differenceJSON{}}
	listed := 0
	result, err := in.Run(ctx, db, func(d manage.Difference) {
		if listed++; listed > maxFindings {
			return
		}
		one := viewDifference(d)
		if c.Bool("json") {
			view.Differences = append(view.Differences, one)
			return
		}
		meter.clear()
		p.line("%s", one)
	}, meter.rows)
	meter.clear()
	if err != nil {
		return fmt.Errorf("replay: it could not be completed: %w", err)
	}
	view.Requests, view.Different, view.Skipped = result.Requests, result.Different, result.Skipped
	if c.Bool("json") {
		p.err = cli.WriteJSON(stdout, view)
	} else {
		if listed > maxFindings {
			p.line("… and %d more", listed-maxFindings)
		}
		p.line("%d requests since %s: something else would become of %d", result.Requests, stamp(since), result.Different)
		if result.Skipped > 0 {
			p.line("%d more were left out, as they cannot be read or have a profile that is not in %s", result.Skipped, file.path)
		}
	}
	if p.err != nil {
		return p.err
	}
	if result.Different > 0 {
		return cli.WithCode(fmt.Errorf("replay: something else would become of %d requests", result.Different), exitDifferent)
	}
	return nil
}

func viewDifference(d manage.Difference) differenceJSON {
	return differenceJSON{
		Authority: string(d.Row.Name), ID: strconv.FormatInt(d.ID, 10), Time: d.At.UTC(), Pending: d.Method == store.Method(""),
		Subject: d.Request.Subject, SANs: append([]string{}, d.Request.SANs...), Profile: d.Profile,
		Was: string(d.Decision), WasRule: d.Rule, Would: string(d.Verdict.Decision), WouldRule: d.Verdict.Rule, Difference: d.What,
	}
}

func (d differenceJSON) String() string {
	what := d.Subject
	if len(d.SANs) > 0 {
		what = strings.TrimSpace(what + " [" + strings.Join(d.SANs, ", ") + "]")
	}
	by := func(rule string) string {
		if rule == "" {
			return ""
		}
		return " (rule " + rule + ")"
	}
	return fmt.Sprintf("%s  %s  %s  %s: %s%s; it was %s%s", d.Authority, d.ID, stamp(d.Time), what, d.Difference, by(d.WouldRule), past(d.Was, d.Pending), by(d.WasRule))
}

// past says what has become of a request.
func past(decision string, pending bool) string {
	switch {
	case pending:
		return "held, and is pending"
	case decision == "hold":
		return "approved by a user"
	}
	return "approved"
}
