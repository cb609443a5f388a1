package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// lineageCommand lists lineages, also when nobody can log in. It may do so while the daemon runs.
func lineageCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	asJSON := &urfave.BoolFlag{Name: "json", Usage: "print JSON"}
	of := &urfave.StringFlag{Name: flagAuthority, Usage: "only of the authority `NAME`"}
	return &urfave.Command{
		Name:            "lineage",
		Usage:           "list certificates, each with its renewals",
		HideHelpCommand: true,
		Subcommands: []*urfave.Command{
			{
				Name:            "list",
				Usage:           "list certificates, each once with its renewals, oldest first",
				HideHelpCommand: true,
				Flags: []urfave.Flag{
					dbFlag(), of, asJSON,
					&urfave.BoolFlag{Name: "all", Usage: "also those that have ended or expired"},
					&urfave.BoolFlag{Name: "forked", Usage: "only those of which a certificate was renewed more than once"},
				},
				Action: func(c *urfave.Context) error {
					if c.Args().Present() {
						return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), "see cauased manage lineage list --help")
					}
					return withAuthorityHint(withDatabase(c, func(db store.Store) error { return listLineages(c, clk.Now(), stdout, db) }))
				},
			},
			{
				Name:            "show",
				Usage:           "show all certificates of a lineage",
				ArgsUsage:       "ID, or --serial NUMBER",
				HideHelpCommand: true,
				Flags: []urfave.Flag{
					dbFlag(), of, asJSON,
					&urfave.StringFlag{Name: "serial", Usage: "that of the certificate with serial `NUMBER`, decimal or 0x and hexadecimal"},
				},
				Action: func(c *urfave.Context) error {
					return withAuthorityHint(withDatabase(c, func(db store.Store) error { return showLineage(c, clk.Now(), stdout, db) }))
				},
			},
		},
	}
}

func parseLineage(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 0 {
		return 0, cli.WithHint(fmt.Errorf("%q is not the id of a lineage: a decimal number is", text), "cauased manage lineage list shows them")
	}
	return id, nil
}

// lineageJSON is a lineage as scripts read it, with the names that the client's have.
type lineageJSON struct {
	Authority    string            `json:"authority"`
	ID           string            `json:"id"` // as JSON's numbers are too short
	Subject      string            `json:"subject"`
	Role         string            `json:"role,omitempty"`
	Profile      string            `json:"profile,omitempty"`
	State        string            `json:"state"`
	CreatedAt    time.Time         `json:"created_at"`
	EndedAt      time.Time         `json:"ended_at,omitzero"`
	Reason       string            `json:"reason,omitempty"`
	Newest       string            `json:"newest_serial"`
	NewestDec    string            `json:"newest_serial_decimal"`
	NotAfter     time.Time         `json:"not_after"`
	Renewals     int64             `json:"renewals"`
	RenewedAt    time.Time         `json:"renewed_at,omitzero"`
	Address      string            `json:"address,omitempty"`
	Forks        int64             `json:"forks"`
	ForkedAt     time.Time         `json:"forked_at,omitzero"`
	ForkAddress  string            `json:"fork_address,omitempty"`
	ForkedFrom   string            `json:"forked_from,omitempty"`
	Certificates []certificateJSON `json:"certificates,omitempty"`
}

type certificateJSON struct {
	ID string `json:"id"`
	cli.Serial
	Renews      string    `json:"renews,omitempty"` // serial
	RenewsDec   string    `json:"renews_decimal,omitempty"`
	KeyID       string    `json:"key_id"`
	IssuedAt    time.Time `json:"issued_at"`
	IssuedBy    string    `json:"issued_by"`
	IssuedByNo  string    `json:"issued_by_serial,omitempty"`
	IssuedByDec string    `json:"issued_by_serial_decimal,omitempty"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	RevokedAt   time.Time `json:"revoked_at,omitzero"`
	Reason      string    `json:"reason,omitempty"`
}

func lineageView(l store.Lineage) lineageJSON {
	newest := cli.SerialOf(l.Newest)
	v := lineageJSON{
		Authority: string(l.Authority), ID: strconv.FormatInt(l.ID, 10), Subject: l.Subject, Role: l.Role, Profile: l.Profile,
		State: string(l.State), CreatedAt: l.CreatedAt, EndedAt: l.EndedAt, Newest: newest.Hex, NewestDec: newest.Decimal, NotAfter: l.NotAfter,
		Renewals: l.Renewals, RenewedAt: l.RenewedAt, Address: l.Address,
		Forks: l.Forks, ForkedAt: l.ForkedAt, ForkAddress: l.ForkAddress, ForkedFrom: l.ForkedFrom,
	}
	if l.State != store.LineageActive {
		v.Reason = pki.ReasonName(l.Reason)
	}
	return v
}

// eachLineage calls fn with all lineages of an authority, oldest first.
func eachLineage(ctx context.Context, r store.Reader, a store.AuthorityName, fn func(store.Lineage) error) error {
	const size = 500
	for after := (store.LineagePage{}); ; {
		page, err := r.Lineages(ctx, a, after, size)
		if err != nil {
			return err
		}
		for _, l := range page {
			if err := fn(l); err != nil {
				return err
			}
		}
		if len(page) < size {
			return nil
		}
		last := page[len(page)-1]
		after = store.LineagePage{CreatedAt: last.CreatedAt, ID: last.ID}
	}
}

// authoritiesAsked are that which --authority names, or all of the database.
func authoritiesAsked(c *urfave.Context, db store.Store) (names []store.AuthorityName, err error) {
	if c.String(flagAuthority) != "" {
		name, err := namedAuthority(c.Context, db, c.String(flagAuthority))
		return []store.AuthorityName{name}, err
	}
	err = db.View(c.Context, func(r store.Reader) error {
		rows, err := r.Authorities(c.Context)
		names = nil
		for _, a := range rows {
			names = append(names, a.Name)
		}
		return err
	})
	return names, err
}

func listLineages(c *urfave.Context, now time.Time, stdout io.Writer, db store.Store) error {
	names, err := authoritiesAsked(c, db)
	if err != nil {
		return err
	}
	list := newLineageList(c, now, stdout)
	err = db.View(c.Context, func(r store.Reader) error {
		for _, name := range names {
			err := eachLineage(c.Context, r, name, func(l store.Lineage) error {
				v := lineageView(l)
				over := l.State != store.LineageActive || now.After(l.NotAfter)
				if over && !c.Bool("all") || c.Bool("forked") && l.Forks == 0 {
					return nil
				}
				return list(v)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// newLineageList returns what writes a line for each lineage: there may be millions.
func newLineageList(c *urfave.Context, now time.Time, stdout io.Writer) func(lineageJSON) error {
	if c.Bool("json") {
		return func(v lineageJSON) error { return writeLine(stdout, v) }
	}
	p := newPrinter(c, stdout)
	return func(v lineageJSON) error {
		text := fmt.Sprintf("%-5s  %-19s  %s  %s until %s, renewals: %d", v.Authority, v.ID, v.Subject, stateOf(v, now), stamp(v.NotAfter), v.Renewals)
		if v.Forks > 0 {
			text += fmt.Sprintf(", forks: %d, the last from %s after %s", v.Forks, orDash(v.ForkAddress), orDash(v.ForkedFrom))
		}
		p.line("%s", text)
		return p.err
	}
}

func stateOf(v lineageJSON, now time.Time) string {
	if v.Reason == "" && now.After(v.NotAfter) {
		return "expired"
	}
	if v.Reason != "" {
		return v.State + " (" + v.Reason + ")"
	}
	return v.State
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// findLineage finds the lineage that the arguments name, in the authority asked for or in any.
func findLineage(c *urfave.Context, r store.Reader, names []store.AuthorityName) (store.Lineage, error) {
	var serial *big.Int
	var id int64
	var err error
	switch text := c.String("serial"); {
	case (text != "") == c.Args().Present() || c.NArg() > 1:
		return store.Lineage{}, cli.WithHint(errors.New("which lineage? One ID, or --serial"), "cauased manage lineage list shows them")
	case text != "":
		if serial, err = pki.ParseSerial(text); err != nil {
			return store.Lineage{}, fmt.Errorf("--serial: %w", err)
		}
	default:
		if id, err = parseLineage(c.Args().First()); err != nil {
			return store.Lineage{}, err
		}
	}
	for _, name := range names {
		var l store.Lineage
		if serial != nil {
			l, err = r.LineageOf(c.Context, name, serial)
		} else {
			l, err = r.Lineage(c.Context, name, id)
		}
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return l, err
		}
	}
	what := "no lineage " + strconv.FormatInt(id, 10)
	if serial != nil {
		what = "no certificate " + pki.FormatSerial(serial) + " on record"
	}
	return store.Lineage{}, cli.WithHint(errors.New(what), "cauased manage lineage list --all shows them")
}

func showLineage(c *urfave.Context, now time.Time, stdout io.Writer, db store.Store) error {
	names, err := authoritiesAsked(c, db)
	if err != nil {
		return err
	}
	var v lineageJSON
	err = db.View(c.Context, func(r store.Reader) error {
		l, err := findLineage(c, r, names)
		if err != nil {
			return err
		}
		v = lineageView(l)
		crts, err := r.LineageCertificates(c.Context, l.Authority, l.ID, 0)
		if err != nil {
			return err
		}
		for _, crt := range crts {
			renews, by := cli.SerialOf(crt.Renews), audit.ParseActor(crt.IssuedBy, "")
			no := cli.SerialOf(by.Serial)
			one := certificateJSON{ID: strconv.FormatInt(crt.ID, 10), Serial: cli.SerialOf(crt.Serial), Renews: renews.Hex, RenewsDec: renews.Decimal,
				KeyID: fmt.Sprintf("%x", crt.KeyID), IssuedAt: crt.IssuedAt, IssuedBy: by.String(), IssuedByNo: no.Hex, IssuedByDec: no.Decimal, NotBefore: crt.NotBefore, NotAfter: crt.NotAfter}
			switch rev, err := r.Revocation(c.Context, l.Authority, crt.Serial); {
			case err == nil:
				one.RevokedAt, one.Reason = rev.RevokedAt, pki.ReasonName(rev.Reason)
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
			v.Certificates = append(v.Certificates, one)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return cli.WriteJSON(stdout, v)
	}
	return printLineage(c, stdout, now, v)
}

func printLineage(c *urfave.Context, stdout io.Writer, now time.Time, v lineageJSON) error {
	p := newPrinter(c, stdout)
	p.line("lineage %s of %s: %s", v.ID, v.Authority, v.Subject)
	p.line("  %s, since %s, valid until %s", stateOf(v, now), stamp(v.CreatedAt), stamp(v.NotAfter))
	if !v.EndedAt.IsZero() {
		p.line("  ended %s", stamp(v.EndedAt))
	}
	if v.Role != "" {
		p.line("  role: %s", v.Role)
	}
	if v.Profile != "" {
		p.line("  profile: %s", v.Profile)
	}
	if v.Renewals > 0 {
		p.line("  renewals: %d, the last %s from %s", v.Renewals, stamp(v.RenewedAt), orDash(v.Address))
	}
	if v.Forks > 0 {
		p.line("  forks: %d, the last %s from %s, after one from %s", v.Forks, stamp(v.ForkedAt), orDash(v.ForkAddress), orDash(v.ForkedFrom))
	}
	for _, crt := range v.Certificates {
		text := fmt.Sprintf("  serial %s, issued %s by %s, valid until %s", crt.Hex, stamp(crt.IssuedAt), crt.IssuedBy, stamp(crt.NotAfter))
		if crt.Renews != "" {
			text += ", renews " + crt.Renews
		}
		if !crt.RevokedAt.IsZero() {
			text += ", revoked " + stamp(crt.RevokedAt)
			if crt.Reason != "" {
				text += " (" + crt.Reason + ")"
			}
		}
		p.line("%s", text)
	}
	return p.err
}
