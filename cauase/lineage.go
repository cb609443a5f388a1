package main

import (
	"context"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

func (t *tool) lineageList() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list certificates, each once with its renewals, oldest first",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "also those that have ended or expired"},
			&cli.BoolFlag{Name: "forked", Usage: "only those of which a certificate was renewed more than once"},
		},
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "it takes no arguments")
			}
			session, err := t.session(c.Context)
			if err != nil {
				return err
			}
			defer session.Close()
			list := []client.Lineage{}
			err = session.Lineages(c.Context, func(l client.Lineage) error {
				over := l.State != "active" || t.clock.Now().After(l.NotAfter)
				if (c.Bool("all") || !over) && (!c.Bool("forked") || l.Forks > 0) {
					list = append(list, l)
				}
				return nil
			})
			if err != nil {
				return err
			}
			return t.print(list, func(p *printer) { t.printLineages(p, list) })
		}),
	}
}

func (t *tool) printLineages(p *printer, list []client.Lineage) {
	if len(list) == 0 {
		return
	}
	w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LINEAGE\tSUBJECT\tSTATE\tVALID UNTIL\tRENEWALS\tFROM\tFORKS")
	for _, l := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", safe(l.ID), orNothing(safe(l.Subject)), t.lineageState(l), l.NotAfter.UTC().Format(time.DateOnly),
			l.Renewals, orNothing(safe(l.Address)), forks(l))
	}
	_ = w.Flush() // into memory
}

func orNothing(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (t *tool) lineageState(l client.Lineage) string {
	switch {
	case l.State != "active" && l.Reason != "":
		return safe(l.State + ", " + l.Reason)
	case l.State == "active" && t.clock.Now().After(l.NotAfter):
		return "expired"
	}
	return safe(l.State)
}

// forks tells of forks with the addresses of both.
func forks(l client.Lineage) string {
	if l.Forks == 0 {
		return "-"
	}
	return fmt.Sprintf("%d, the last from %s after %s", l.Forks, orNothing(safe(l.ForkAddress)), orNothing(safe(l.ForkedFrom)))
}

const lineageArguments = "LINEAGE|CRT, or --serial N"

func lineageSerialFlag() cli.Flag {
	return &cli.StringFlag{Name: "serial", Usage: "that of the certificate with serial `NUMBER`, decimal or 0x and hexadecimal"}
}

func (t *tool) lineageShow() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show all certificates of a lineage",
		ArgsUsage: lineageArguments,
		Flags:     []cli.Flag{lineageSerialFlag()},
		Action: t.action(func(c *cli.Context) error {
			session, id, err := t.lineageArgument(c)
			if err != nil {
				return err
			}
			defer session.Close()
			l, err := session.Lineage(c.Context, id)
			if err != nil {
				return err
			}
			return t.print(l, func(p *printer) { t.printLineage(p, l) })
		}),
	}
}

func (t *tool) printLineage(p *printer, l client.Lineage) {
	p.field("lineage", safe(l.ID))
	p.field("subject", safe(l.Subject))
	p.field("role", safe(l.Role))
	p.field("profile", safe(l.Profile))
	p.field("state", t.lineageState(l))
	p.field("since", timeText(l.CreatedAt))
	if !l.EndedAt.IsZero() {
		p.field("ended", timeText(l.EndedAt))
	}
	p.field("valid until", timeText(l.NotAfter))
	p.field("renewals", fmt.Sprint(l.Renewals))
	if !l.RenewedAt.IsZero() {
		p.field("renewed", timeText(l.RenewedAt)+", from "+orNothing(safe(l.Address)))
	}
	if l.Forks > 0 {
		p.field("forks", forks(l))
		p.field("forked", timeText(l.ForkedAt))
	}
	for i, crt := range l.Certificates {
		label := "serial"
		if i == 0 {
			label = "newest serial"
		}
		p.line("")
		p.field(label, safe(crt.Serial))
		p.field("renews", safe(crt.Renews))
		p.field("issued", timeText(crt.IssuedAt))
		p.field("valid until", timeText(crt.NotAfter))
		if !crt.RevokedAt.IsZero() {
			p.field("revoked", strings.TrimSuffix(timeText(crt.RevokedAt)+", "+safe(crt.Reason), ", "))
		}
	}
}

func (t *tool) lineageRevoke() *cli.Command {
	return &cli.Command{
		Name:      "revoke",
		Usage:     "revoke a certificate and all its renewals, so that whoever holds one of them is out",
		ArgsUsage: lineageArguments,
		Flags: []cli.Flag{
			lineageSerialFlag(),
			&cli.StringFlag{Name: "reason", Usage: "one of " + strings.Join(pki.ReasonNames(), ", ")},
		},
		Action: t.action(func(c *cli.Context) error {
			reason, err := reasonFlag(c)
			if err != nil {
				return err
			}
			session, id, err := t.lineageArgument(c)
			if err != nil {
				return err
			}
			defer session.Close()
			if err := session.EndLineage(c.Context, id, reason); err != nil {
				return err
			}
			view := struct {
				Lineage string `json:"lineage"`
				Result  string `json:"result"`
			}{id.String(), "revoked"}
			return t.print(view, func(p *printer) { p.line("lineage %s: revoked", id) })
		}),
	}
}

// lineageArgument opens a session, and finds the lineage that the arguments name. An id is never taken for a file of that name.
func (t *tool) lineageArgument(c *cli.Context) (_ *client.Session, id client.ID, err error) {
	if c.NArg()+min(len(c.String("serial")), 1) != 1 {
		return nil, id, errUsage(c, "which lineage?")
	}
	var serial *big.Int
	switch text := c.Args().First(); {
	case text == "":
		if serial, err = pki.ParseSerial(c.String("serial")); err != nil {
			return nil, id, fmt.Errorf("--serial: %w", err)
		}
	default:
		if id, err = client.ParseID(text); err == nil {
			break
		}
		if _, missing := os.Stat(text); missing != nil {
			return nil, id, manners.WithHint(fmt.Errorf("%q is neither the id of a lineage nor a file", text), "cauase lineage list shows the ids")
		}
		crt, failed := onlyCertificate(text)
		if failed != nil {
			return nil, id, fmt.Errorf("%s: %w", text, failed)
		}
		serial, err = crt.SerialNumber, nil
	}
	session, err := t.session(c.Context)
	if err != nil || serial == nil {
		return session, id, err
	}
	id, err = lineageOf(c.Context, session, serial)
	if err != nil {
		session.Close()
		return nil, id, err
	}
	return session, id, nil
}

func lineageOf(ctx context.Context, session *client.Session, serial *big.Int) (client.ID, error) {
	l, err := session.LineageOf(ctx, serial)
	if client.IsStatus(err, http.StatusNotFound) {
		return 0, manners.WithHint(err, "it may be of another authority: name it with --authority, or --mode user")
	}
	if err != nil {
		return 0, err
	}
	id, err := client.ParseID(l.ID)
	if err != nil {
		return id, fmt.Errorf("lineage of %s: %w", serial, client.ErrNotCA)
	}
	return id, nil
}
