package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
)

func (t *tool) caUpdate() *cli.Command {
	return &cli.Command{
		Name:  "update",
		Usage: "follow the CA to the certificates it has now",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "ca update takes no arguments: --ca-crt or --user-ca-crt is where they are")
			}
			if _, err := t.trust(c.Context); err != nil {
				return err
			}
			if err := t.saveTrust(); err != nil {
				return err
			}
			return t.updated(t.caStore.Path, "ca", len(t.trusted), "CA certificate")
		}),
	}
}

type updatedView struct {
	File    string `json:"file"`
	Changed bool   `json:"changed"`
	Count   int    `json:"count"`
}

// updated says what an update command did.
func (t *tool) updated(path, kind string, count int, what string) error {
	view := updatedView{File: path, Count: count}
	for _, changed := range t.changed {
		view.Changed = view.Changed || changed == kind
	}
	return t.print(view, func(p *printer) {
		state := "unchanged"
		if view.Changed {
			state = "updated"
		}
		if count != 1 {
			what += "s"
		}
		p.line("%s: %s, %d %s", path, state, count, what)
	})
}

func (t *tool) caShow() *cli.Command {
	return &cli.Command{
		Name:  "show",
		Usage: "describe the CA certificates trusted here",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "ca show takes no arguments: --ca-crt or --user-ca-crt is where they are")
			}
			crts, err := t.caStore.ReadCertificates()
			if err != nil {
				return err
			}
			if len(crts) == 0 {
				return fmt.Errorf("%s does not exist yet: %s ca update makes it", t.caStore.Path, toolName)
			}
			views := make([]certificateView, 0, len(crts))
			for _, crt := range crts {
				view := t.viewCertificate(crt)
				view.File = t.caStore.Path
				view.Pin = client.PinOf(crt).String()
				views = append(views, view)
			}
			return t.print(views, func(p *printer) {
				for i, view := range views {
					if i > 0 {
						p.line("")
					}
					p.certificate(view)
				}
			})
		}),
	}
}
