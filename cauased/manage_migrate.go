package main

import (
	"errors"
	"fmt"
	"io"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/store/sqlstore"
)

// migrateCommand brings the layout up to date. Every command does so that changes the database; this
// one does nothing else.
func migrateCommand(stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "migrate",
		Usage: "bring the layout of a database up to date, or make it",
		Description: "The daemon does so itself when it starts. This is for the owner of a PostgreSQL database whose daemons\n" +
			"have a role that may only use it.\n\n" +
			"Example:\n" +
			"  cauased manage migrate --db postgres://cauase_owner@db.example.org/cauase?sslmode=verify-full",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag()},
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), "see cauased manage migrate --help")
			}
			db, err := sqlstore.Open(c.Context, c.String(flagDB), sqlstore.Options{})
			if err != nil {
				return fmt.Errorf("--%s: %w", flagDB, err)
			}
			about, err := db.Describe(c.Context)
			if err = errors.Join(err, db.Close()); err != nil {
				return fmt.Errorf("--%s: %w", flagDB, err)
			}
			view := migratedJSON{sqlstore.Redact(c.String(flagDB)), about.Layout}
			return show(c, stdout, view, func(p *printer) {
				p.line("The layout of %s is %d, as this version needs it.", view.Database, view.Layout)
			})
		},
	}
}

type migratedJSON struct {
	Database string `json:"database"`
	Layout   int64  `json:"layout"`
}
