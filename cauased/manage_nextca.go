package main

import (
	"errors"
	"fmt"
	"io"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/store"
)

// chosenJSON is what was chosen for an authority's next CA certificate.
type chosenJSON struct {
	Authority   string `json:"authority"`
	NextKeyType string `json:"next_key_type,omitempty"`
	OwnSubjects bool   `json:"own_subjects,omitempty"`
}

// chosen makes a command of one that chooses something for an authority's next CA certificate, which may be while the daemon
// runs: choose records it, and describes it in words.
func chosen(clk clock.Clock, stdout io.Writer, command urfave.Command,
	choose func(c *urfave.Context, db store.Store, name store.AuthorityName) (chosenJSON, string, error)) *urfave.Command {
	command.HideHelpCommand = true
	command.Flags = []urfave.Flag{
		dbFlag(),
		&urfave.StringFlag{Name: flagAuthority, Usage: "of the authority `NAME` (required); cauased manage status lists them"},
	}
	arguments := min(len(command.ArgsUsage), 1)
	command.Action = func(c *urfave.Context) error {
		hint := "see cauased manage " + command.Name + " --help"
		switch {
		case c.NArg() < arguments:
			return cli.WithHint(errors.New(command.ArgsUsage+" is needed"), "%s", hint)
		case c.NArg() > arguments:
			return cli.WithHint(errors.New("unexpected argument: "+c.Args().Get(arguments)), "%s", hint)
		}
		return withAuthority(c, store.Standards(clk.Now()), func(db store.Store, name store.AuthorityName) error {
			view, text, err := choose(c, db, name)
			if err != nil {
				return err
			}
			view.Authority = string(name)
			return show(c, stdout, view, func(p *printer) { p.line("%s", text) })
		})
	}
	return &command
}

// keyTypeCommand chooses what the next CA key is.
func keyTypeCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	return chosen(clk, stdout, urfave.Command{
		Name:      "next-key-type",
		Usage:     "choose the type of an authority's next CA key",
		ArgsUsage: "TYPE",
		Description: "A CA key is of the type of the one before it, whatever --key-type says. This chooses\n" +
			"another TYPE for the next one: " + keyTypes() + ".\n" +
			"The clients of caucase, the Python implementation, can follow RSA keys only.",
	}, func(c *urfave.Context, db store.Store, name store.AuthorityName) (view chosenJSON, text string, err error) {
		keyType, err := cli.ChooseKeyType("TYPE", c.Args().First())
		if err != nil {
			return view, "", cli.WithHint(err, "see cauased manage next-key-type --help")
		}
		text = fmt.Sprintf("the next CA key of %s will be %s", name, keyType)
		return chosenJSON{NextKeyType: string(keyType)}, text, ca.SetNextKeyType(c.Context, db, clk, name, keyType)
	})
}

// ownSubjectsCommand ends that new CA certificates get the subject of the one before for the sake of old clients.
func ownSubjectsCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	return chosen(clk, stdout, urfave.Command{
		Name:  "own-subjects",
		Usage: "say that no clients of earlier versions are left",
		Description: "A new CA certificate gets a subject of its own, as many verifiers find issuers by\n" +
			"name, unless clients of an earlier version were seen in the last span (93 days), or\n" +
			"may be there, as that version has made the CA certificates: they would not follow.\n" +
			"This says that there are none any more. Those that are left have to be updated when the\n" +
			"next CA certificate signs at the latest. One that renews a certificate is noticed again.",
	}, func(c *urfave.Context, db store.Store, name store.AuthorityName) (view chosenJSON, text string, err error) {
		text = fmt.Sprintf("the next CA certificate of %s will have a subject of its own", name)
		return chosenJSON{OwnSubjects: true}, text, ca.GiveOwnSubjects(c.Context, db, clk, name)
	})
}
