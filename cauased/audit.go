package main

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// auditCommand lists the audit log. It may do so while the daemon runs.
func auditCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:            "audit",
		Usage:           "list who did what to what, and when",
		HideHelpCommand: true,
		Subcommands:     []*urfave.Command{auditVerifyCommand(clk, stdout, stderr), auditExportCommand(stdout)},
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.BoolFlag{Name: "json", Usage: "print a JSON object for each entry, one a line"},
			&urfave.StringFlag{Name: "since", Usage: "only from `TIME` on: 2006-01-02, 2006-01-02T15:04:05Z, or 36h for the last 36 hours, 7d or 7 for the last week"},
			&urfave.StringFlag{Name: "subject", Usage: "only about certificates and requests on record whose subject or names contain `TEXT`, and what their holders did"},
			&urfave.StringFlag{Name: "lineage", Usage: "only about the lineage with this `ID`, a certificate and its renewals, and what its holders did"},
			&urfave.StringFlag{Name: "serial", Usage: "only about the certificate with serial `NUMBER`, decimal or 0x and hexadecimal, and what its holder did with it"},
			&urfave.StringFlag{Name: flagAuthority, Usage: "only of the authority `NAME`"},
			&urfave.StringFlag{Name: "action", Usage: "only `ACTION`, such as crt.sign"},
			&urfave.StringFlag{Name: "actor-kind", Usage: "only of actors of this `KIND`: " + strings.Join(names(audit.Kinds()), ", ")},
			&urfave.StringFlag{Name: "actor-serial", Usage: "only of whoever has shown the certificate with serial `NUMBER`, decimal or 0x and hexadecimal"},
			&urfave.StringFlag{Name: "address", Usage: "only from the network `ADDRESS`"},
			&urfave.StringFlag{Name: "object-kind", Usage: "only about this `KIND` of things: " + strings.Join(names(audit.ObjectKinds()), ", ")},
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
			if advised := (*cli.Error)(nil); err != nil && !errors.As(err, &advised) {
				err = cli.WithHint(err, "see cauased manage audit --help")
			}
			if err != nil {
				return err
			}
			return listAudit(c, filter, stdout)
		},
	}
}

// names are values as texts.
func names[T ~string](values []T) (list []string) {
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}

// choice reads the value of a flag, one of those that are known, if it is given.
func choice[T ~string](c *urfave.Context, flag string, known []T, to *T) error {
	if c.String(flag) == "" {
		return nil
	}
	name, err := cli.Choice("--"+flag, c.String(flag), names(known))
	*to = T(name)
	return err
}

// A logQuery is what is asked for: of the entries that the filter selects, those about one thing.
type logQuery struct {
	audit.Filter
	serial  *big.Int
	subject string
}

func readFilter(c *urfave.Context, now time.Time) (logQuery, error) {
	q := logQuery{subject: c.String("subject"), Filter: audit.Filter{
		Authority: c.String(flagAuthority),
		Address:   c.String("address"),
		ObjectID:  c.String("object-id"),
		Limit:     c.Int("limit"),
		Newest:    c.Bool("newest"),
	}}
	err := errors.Join(choice(c, "action", audit.Actions(), &q.Action), choice(c, "actor-kind", audit.Kinds(), &q.ActorKind),
		choice(c, "object-kind", audit.ObjectKinds(), &q.ObjectKind))
	if err != nil {
		return q, err
	}
	for name, to := range map[string]**big.Int{"actor-serial": &q.ActorSerial, "object-serial": &q.ObjectSerial, "serial": &q.serial} {
		text := c.String(name)
		if text == "" {
			continue
		}
		if *to, err = pki.ParseSerial(text); err != nil {
			return q, fmt.Errorf("--%s: %w", name, err)
		}
	}
	if text := c.String("lineage"); text != "" {
		id, err := parseLineage(text)
		if err != nil {
			return q, fmt.Errorf("--lineage: %w", err)
		}
		q.Lineage = strconv.FormatInt(id, 10)
	}
	about := 0
	for _, given := range []bool{q.serial != nil, q.subject != "", q.Lineage != ""} {
		if given {
			about++
		}
	}
	if about > 1 {
		return q, errors.New("--subject, --lineage and --serial: one of them at a time")
	}
	if q.Authority != "" && !store.AuthorityName(q.Authority).Valid() {
		return q, fmt.Errorf("--authority: %q is not the name of an authority", q.Authority)
	}
	if q.Limit < 0 {
		return q, fmt.Errorf("--limit: %d is negative", q.Limit)
	}
	if since := c.String("since"); since != "" {
		q.Since, err = parseSince(since, now)
	}
	return q, err
}

func parseSince(s string, now time.Time) (time.Time, error) {
	if d, err := pki.ParseDays(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since: %q is neither a date, a time nor a duration", s)
}

func listAudit(c *urfave.Context, q logQuery, stdout io.Writer) error {
	list := func(db store.Store) error {
		return db.View(c.Context, func(r store.Reader) error {
			named, p := &subjects{r: r, known: map[string]holder{}}, newPrinter(c, stdout)
			return q.each(c.Context, r, func(e audit.Entry) error {
				by, of, err := named.of(c.Context, e)
				switch {
				case err != nil:
					return err
				case c.Bool("json"):
					return writeLine(stdout, viewEntry(e, by, of))
				}
				printEntry(p, e, by, of)
				return p.err
			})
		})
	}
	if q.Authority == "" {
		return withDatabase(c, list)
	}
	return withAuthority(c, store.Standards(q.Since), func(db store.Store, _ store.AuthorityName) error { return list(db) })
}
