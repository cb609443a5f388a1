package main

import (
	"context"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"

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
			list := []lineageView{}
			err = session.Lineages(c.Context, func(l client.Lineage) error {
				over := l.State != "active" || t.clock.Now().After(l.NotAfter)
				if (c.Bool("all") || !over) && (!c.Bool("forked") || l.Forks > 0) {
					list = append(list, t.viewLineage(l))
				}
				return nil
			})
			if err != nil {
				return err
			}
			return t.print(list, func(p *printer) { p.lineages(list) })
		}),
	}
}

func orNothing(text string) string {
	if text == "" {
		return "-"
	}
	return text
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
				return noLineage(err)
			}
			view := t.viewLineage(l)
			return t.print(view, func(p *printer) { p.lineage(view) })
		}),
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
				return noLineage(err)
			}
			view := lineageResult{id.String(), "revoked"}
			return t.print(view, func(p *printer) { p.line("lineage %s: revoked", id) })
		}),
	}
}

// noLineage adds to an error where the ids of lineages are found.
func noLineage(err error) error {
	if client.IsStatus(err, http.StatusNotFound) {
		return manners.WithHint(err, "%s lineage list --all shows the ids; those of another authority with --authority, or --mode user", toolName)
	}
	return err
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
			return nil, id, naming(text, failed)
		}
		serial, err = crt.SerialNumber, nil
	}
	session, err := t.session(c.Context)
	if err != nil || serial == nil {
		return session, id, err
	}
	id, err = t.lineageOf(c.Context, session, serial)
	if err != nil {
		session.Close()
		return nil, id, err
	}
	return session, id, nil
}

func (t *tool) lineageOf(ctx context.Context, session *client.Session, serial *big.Int) (client.ID, error) {
	l, err := session.LineageOf(ctx, serial)
	if client.IsStatus(err, http.StatusNotFound) {
		return 0, manners.WithHint(err, "it may be of another authority: name it with --authority, or --mode user")
	}
	if err != nil {
		return 0, err
	}
	id, err := client.ParseID(l.ID)
	if err != nil {
		return id, fmt.Errorf("lineage of serial %s: %w", t.serialText(serial), client.ErrNotCA)
	}
	return id, nil
}
