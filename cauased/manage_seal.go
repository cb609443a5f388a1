package main

import (
	"errors"
	"io"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/vault"
)

// sealCommand seals the private keys of a database of an earlier version.
func sealCommand(stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "seal",
		Usage: "encrypt the private keys of the CAs that are in the database in the clear",
		Description: "Encrypts every private key of a CA under a key of its authority, which takes a secret file to open\n" +
			"and, with --" + flagKeyPassphrase + ", a passphrase. The file is made if it is not there; without it the\n" +
			"CAs are lost, unless there is a backup: keep a copy where the database is not.\n\n" +
			"Then the database is rewritten, so that no copy in the clear is left in its files. What other copies\n" +
			"there are, such as snapshots, archived logs and backups of files, still has the keys in the clear.\n" +
			"New databases are sealed from the start. Restart the daemons afterwards, each with the same secret.\n\n" +
			"Example:\n" +
			"  cauased manage seal --db cauase.sqlite",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag(), &urfave.BoolFlag{Name: "json", Usage: "print what was done as a JSON object"}},
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), "see cauased manage seal --help")
			}
			return withDatabase(c, func(db store.Store) error { return seal(c, stdout, db.(*vault.Vault)) })
		},
	}
}

type sealedJSON struct {
	Database string `json:"database"`
	Secret   string `json:"key_secret"`
	Sealed   int    `json:"sealed_keys"` // by this
	Traces   string `json:"traces,omitempty"`
}

func seal(c *urfave.Context, stdout io.Writer, v *vault.Vault) error {
	ctx, done := untilSignal(c.Context)
	defer done()
	n, err := v.SealAll(ctx, audit.Actor{Kind: audit.Operator})
	traces := errors.Is(err, vault.ErrTraces)
	if err != nil && !traces {
		return err
	}
	view := sealedJSON{Database: sqlstore.Redact(c.String(flagDB)), Secret: keySecret(c, c.String(flagDB), "."), Sealed: n}
	if traces {
		view.Traces = err.Error()
	}
	if e := show(c, stdout, view, func(p *printer) {
		if n == 0 {
			p.line("Nothing is in the clear in %s.", view.Database)
			return
		}
		p.line("%s sealed in %s.", plural(n, "private key"), view.Database)
		p.line("They are opened with the secret in %s: keep a copy of it, apart from the database.", view.Secret)
		if sqlstore.IsURL(c.String(flagDB)) {
			p.line("What the server has written to its own log (WAL), and archives of that, still hold the keys in the clear.")
		}
	}); e != nil {
		return e
	}
	if traces {
		return cli.WithHint(err, "stop the daemons, and run cauased manage seal again")
	}
	return nil
}
