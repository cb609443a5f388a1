package main

import (
	"github.com/urfave/cli/v2"
)

func (t *tool) caUpdate() *cli.Command {
	return &cli.Command{
		Name:  "update",
		Usage: "follow the CA to the certificates it has now",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "ca update takes no arguments: --ca-crt or --user-ca-crt is where they are")
			}
			if _, err := t.witnessed(c.Context); err != nil {
				return err
			}
			if err := t.saveTrust(); err != nil {
				return err
			}
			return t.updated(t.caStore.Path, "ca", len(t.trusted), "CA certificate")
		}),
	}
}

func (t *tool) caRoot() *cli.Command {
	return &cli.Command{
		Name:  "root",
		Usage: "follow the roots that verify everything the CA issues",
		Description: `Stores what hosts have to trust that verify certificates of this CA, and of any other
under the same root: at --root-ca, or a file named after the authority. A CA that is its
own root is among them. At first contact a root is taken that has signed a CA certificate
trusted here, or, with --ca-fingerprint, the one that has it; later ones only if those
stored have signed them as their successors.`,
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "ca root takes no arguments: --root-ca is where they are")
			}
			if _, err := t.witnessed(c.Context); err != nil {
				return err
			}
			roots, err := t.followRoots(c.Context, true)
			if err != nil {
				return err
			}
			if err := join(t.saveTrust(), t.saveRoots()); err != nil {
				return err
			}
			return t.updated(t.rootStore.Path, "root", len(roots), "root")
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
		Usage: "draw the timeline of the CA: its certificates, their phases, revocation lists",
		Description: `Shows what is stored here together with what the daemon has; nothing is stored.
A CA certificate is passive while it gets known everywhere, then active, which is to
sign, then retired until what it signed has run out. Dates come from certificates that
the ones stored here vouch for. Only the span and what follows from it is the daemon's
word; of a daemon that does not say, and offline, it is estimated from the certificates.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "offline", Usage: "do not ask the daemon"},
			&cli.BoolFlag{Name: "verbose", Usage: "describe each CA certificate in full"},
		},
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "ca show takes no arguments: --ca-crt or --user-ca-crt is where they are")
			}
			overview, err := t.survey(c.Context, c.Bool("offline"))
			if overview == nil {
				return err
			}
			width := t.width
			if width == 0 {
				width = defaultWidth
			}
			return join(t.print(overview, func(p *printer) { p.overview(overview, width, c.Bool("verbose")) }), err)
		}),
	}
}
