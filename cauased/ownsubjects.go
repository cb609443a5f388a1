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

// ownSubjectsCommand ends that new CA certificates get the subject of the one before for the sake of old clients. It
// may do so while the daemon runs.
func ownSubjectsCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "own-subjects",
		Usage: "say that no clients of earlier versions are left",
		Description: "A new CA certificate gets a subject of its own, as many verifiers find issuers by\n" +
			"name, unless clients of an earlier version were seen in the last span (93 days), or\n" +
			"may be there, as that version has made the CA certificates: they would not follow.\n" +
			"This says that there are none any more. Those that are left have to be updated when the\n" +
			"next CA certificate signs at the latest. One that renews a certificate is noticed again.",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.StringFlag{Name: flagAuthority, Usage: "of the authority `NAME` (required); cauased manage status lists them"},
		},
		Action: func(c *urfave.Context) error {
			if c.NArg() != 0 {
				return cli.WithHint(errors.New("own-subjects takes no arguments"), "see cauased manage own-subjects --help")
			}
			return withAuthority(c, store.Standards(clk.Now()), func(db store.Store, name store.AuthorityName) error {
				if err := ca.GiveOwnSubjects(c.Context, db, clk, name); err != nil {
					return err
				}
				_, err := fmt.Fprintf(stdout, "the next CA certificate of %s will have a subject of its own\n", name)
				return err
			})
		},
	}
}
