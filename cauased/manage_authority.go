package main

import (
	"errors"
	"fmt"
	"io"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/store"
)

// authorityCommand is about the authorities of a daemon: which there are, and which is below which.
func authorityCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "authority",
		Usage: "add, inspect and retire authorities; exchange sign-offs with an offline root",
		Description: "A daemon has the authorities cau, of its users, cas, of services, and https, of its own certificate.\n" +
			"Others can be added beside them, each served under /NAME/… like cas, and roots that certify others.\n" +
			"All commands may run beside the daemon, which takes notice within a second. The manual is docs/authorities.md.",
		HideHelpCommand: true,
		Subcommands: []*urfave.Command{
			authorityAddCommand(clk, stdout, stderr),
			authorityListCommand(clk, stdout, stderr),
			authorityShowCommand(clk, stdout, stderr),
			authoritySetParentCommand(clk, stdout, stderr),
			authorityRetireCommand(clk, stdout, stderr),
			authorityRequestCommand(clk, stdout, stderr),
			authoritySignCommand(clk, stdout, stderr),
			authorityInstallCommand(clk, stdout, stderr),
			authorityRevokeCommand(clk, stdout, stderr),
			authorityRevokeBelowCommand(clk, stdout, stderr),
			authorityExportCommand(clk, stdout, stderr),
		},
		Action: func(c *urfave.Context) error {
			err := errors.New("authority needs a command")
			if c.Args().Present() {
				err = fmt.Errorf("authority has no command %q", c.Args().First())
			}
			return cli.WithHint(err, "see cauased manage authority --help")
		},
	}
}

func authorityRetireCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "retire",
		Usage:     "have an authority issue nothing any more but revocation lists",
		ArgsUsage: "NAME",
		Description: "The authority signs no certificates from now on. Those it has signed stay valid and can be revoked; its\n" +
			"revocation lists are signed for as long as its CA certificates last. This cannot be undone.\n" +
			"A root is not retired while there are authorities below it, nor what the daemon itself needs.\n\n" +
			"Example:\n" +
			"  cauased manage authority retire lab",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag(), yesFlag()},
		Action:          authorityAction(clk, stdout, stderr, retire, authorityArgument),
	}
}

func retire(call *authorityCall) error {
	return call.withAuthorities(func(st store.Store) error {
		if _, err := call.view(st, call.name); err != nil {
			return err
		}
		if err := call.confirm(fmt.Sprintf("%s will never issue a certificate again.", call.name)); err != nil {
			return err
		}
		if err := manage.RetireAuthority(call.c.Context, st, call.clk, call.name); err != nil {
			return err
		}
		v, err := call.view(st, call.name)
		if err != nil {
			return err
		}
		return call.show(v, func(p *printer) {
			if v.SignsUntil == nil {
				p.line("%s is retired", call.name)
			} else {
				p.line("%s is retired: its revocation lists are signed until %s", call.name, stamp(*v.SignsUntil))
			}
		})
	})
}

func authoritySetParentCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "set-parent",
		Usage:     "have a root sign an authority's CA certificates from the next one on",
		ArgsUsage: "NAME ROOT|--none",
		Description: "The CA certificates that NAME has stay as they are. Its next one is signed by ROOT, or by NAME itself\n" +
			"with --none, and each is vouched for by the one before it as always, so that clients which know\n" +
			"NAME follow by themselves, those of caucase included. Sign-offs that were asked for or are in stock\n" +
			"are dropped.\n\n" +
			"Examples:\n" +
			"  cauased manage authority set-parent cas home-root\n" +
			"  cauased manage authority set-parent lab --none",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag(), &urfave.BoolFlag{Name: "none", Usage: "have it sign its CA certificates itself again"}},
		Action: func(c *urfave.Context) error {
			described := []string{authorityArgument, "the name of a ROOT, or --none,"}
			if c.Bool("none") {
				described = described[:1]
			}
			return authorityAction(clk, stdout, stderr, setParent, described...)(c)
		},
	}
}

func setParent(call *authorityCall) error {
	var parent store.AuthorityName
	if len(call.args) > 1 {
		var err error
		if parent, err = authorityName(call.c, call.args[1]); err != nil {
			return err
		}
	}
	return call.withAuthorities(func(st store.Store) error {
		before, err := manage.SetParent(call.c.Context, st, call.clk, call.name, parent)
		if err != nil {
			return err
		}
		v, err := call.view(st, call.name)
		if err != nil {
			return err
		}
		switch {
		case before != "" && v.Parent != "":
			call.remark("warning", "%s/crt/root.pem now holds the CA certificates of %s, and no longer those of %s: "+
				"clients that trust the root need both until no certificate below %s is left", v.Name, v.Parent, before, before)
		case before != "":
			call.remark("warning", "%s/crt/root.pem no longer holds the CA certificates of %s: "+
				"clients that trust that root do not verify what the next CA certificate signs", v.Name, before)
		}
		return call.show(v, func(p *printer) {
			by := "itself"
			if v.Parent != "" {
				by = string(v.Parent)
			}
			if v.NextCA == nil {
				p.line("%s: its first CA certificate will be signed by %s", v.Name, by)
			} else {
				p.line("%s: the next CA certificate will be signed by %s; it is due at %s (%s)", v.Name, by, stamp(*v.NextCA), due(call.clk.Now(), *v.NextCA))
			}
			printSignoffNeeded(p, v)
		})
	})
}
