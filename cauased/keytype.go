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

// keyTypeCommand chooses what the next CA key is. It may do so while the daemon runs.
func keyTypeCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "next-key-type",
		Usage:     "choose the type of an authority's next CA key",
		ArgsUsage: "TYPE",
		Description: "A CA key is of the type of the one before it, whatever --key-type says. This chooses\n" +
			"another TYPE for the next one: " + keyTypes() + ".\n" +
			"The clients of caucase, the Python implementation, can follow RSA keys only.",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.StringFlag{Name: flagAuthority, Usage: "of the authority `NAME` (required); cauased manage status lists them"},
		},
		Action: func(c *urfave.Context) error {
			const hint = "see cauased manage next-key-type --help"
			if c.NArg() != 1 {
				return cli.WithHint(errors.New("one key type is needed, after the options"), hint)
			}
			keyType, err := cli.ChooseKeyType("TYPE", c.Args().First())
			if err != nil {
				return cli.WithHint(err, hint)
			}
			return withAuthority(c, store.Standards(clk.Now()), func(db store.Store, name store.AuthorityName) error {
				if err := ca.SetNextKeyType(c.Context, db, clk, name, keyType); err != nil {
					return err
				}
				_, err := fmt.Fprintf(stdout, "the next CA key of %s will be %s\n", name, keyType)
				return err
			})
		},
	}
}
