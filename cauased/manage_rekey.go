package main

import (
	"errors"
	"fmt"
	"io"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/vault"
)

const (
	flagNewSecret     = "new-secret"
	flagNewPassphrase = "new-passphrase-from"
	flagNoPassphrase  = "no-passphrase"
)

// rekeyCommand changes what opens the private keys.
func rekeyCommand(stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "rekey",
		Usage: "change the secret file or the passphrase that opens the private keys of the CAs",
		Description: "Changes what opens the keys, which themselves stay as they are: no CA certificate changes, and daemons\n" +
			"that run go on. When one is started or unlocked the next time, it needs what is new: copy the secret\n" +
			"file to each machine with a daemon. Until this has ended the old inputs open the keys, from then on\n" +
			"only the new ones; whoever has the old ones and a copy of the database from before can still open them.\n\n" +
			"With --" + flagAuthority + " a root gets a passphrase of its own, which is then asked for whenever it is to sign:\n" +
			"by cauased manage authority sign, revoke and export, or by cauased manage unlock --" + flagAuthority + ".\n" +
			"Restart the daemons then: those that run have its key in memory.\n\n" +
			"Examples:\n" +
			"  cauased manage rekey --new-secret\n" +
			"  cauased manage rekey --new-passphrase-from prompt\n" +
			"  cauased manage rekey --authority root --new-passphrase-from prompt",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.BoolFlag{Name: flagNewSecret, Usage: "replace the secret file by a new one"},
			&urfave.StringFlag{Name: flagNewPassphrase, Usage: "`SOURCE` of the new passphrase: " + passphraseSources},
			&urfave.BoolFlag{Name: flagNoPassphrase, Usage: "do without a passphrase from now on"},
			&urfave.StringFlag{Name: flagAuthority, Usage: "`NAME` of a root, the passphrase of which is to be changed (default: what opens all others)"},
			rootPassphraseFlag(),
			&urfave.BoolFlag{Name: "json", Usage: "print what was done as a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			const hint = "see cauased manage rekey --help"
			given := c.String(flagNewPassphrase) != ""
			switch {
			case c.Args().Present():
				return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), hint)
			case given && c.Bool(flagNoPassphrase):
				return cli.WithHint(fmt.Errorf("--%s and --%s contradict each other", flagNewPassphrase, flagNoPassphrase), hint)
			case c.String(flagAuthority) != "" && c.Bool(flagNewSecret):
				return cli.WithHint(fmt.Errorf("the secret file is that of all authorities: --%s goes without --%s", flagNewSecret, flagAuthority), hint)
			case !given && !c.Bool(flagNoPassphrase) && !c.Bool(flagNewSecret):
				return cli.WithHint(fmt.Errorf("one of --%s, --%s and --%s is needed", flagNewSecret, flagNewPassphrase, flagNoPassphrase), hint)
			}
			return withDatabase(c, func(db store.Store) error { return rekey(c, stdout, stderr, db.(*vault.Vault)) })
		},
	}
}

type rekeyedJSON struct {
	Database   string `json:"database"`
	Authority  string `json:"authority,omitempty"`
	Secret     string `json:"key_secret,omitempty"`
	NewSecret  bool   `json:"new_secret"`
	Passphrase bool   `json:"passphrase"`
}

func rekey(c *urfave.Context, stdout, stderr io.Writer, v *vault.Vault) error {
	ctx, done := untilSignal(c.Context)
	defer done()
	if err := v.Unlock(ctx); err != nil {
		return err
	}
	if !v.Sealed() {
		return cli.WithHint(vault.ErrClear, "cauased manage seal encrypts them")
	}
	passphrase, err := newPassphrase(c, stderr)
	if err != nil {
		return err
	}
	operator := audit.Actor{Kind: audit.Operator}
	view := rekeyedJSON{Database: sqlstore.Redact(c.String(flagDB)), Authority: c.String(flagAuthority), NewSecret: c.Bool(flagNewSecret)}
	if view.Authority != "" {
		name, err := namedAuthority(ctx, v, view.Authority)
		if err != nil {
			return err
		}
		view.Passphrase = passphrase != nil
		if err := v.RekeyOwn(ctx, operator, name, passphrase); err != nil {
			return err
		}
		return show(c, stdout, view, func(p *printer) {
			p.line("What opens the private keys of %s was changed. Restart the daemons: those that run have them in memory.", name)
		})
	}
	view.Secret = keySecret(c, c.String(flagDB), ".")
	change := vault.Change{Path: view.Secret, NewSecret: view.NewSecret, Passphrase: passphrase, NoPassphrase: c.Bool(flagNoPassphrase)}
	if view.Passphrase, err = v.RekeyInputs(ctx, operator, change); err != nil {
		return err
	}
	return show(c, stdout, view, func(p *printer) {
		p.line("The private keys in %s are opened with the secret in %s%s now.", view.Database, view.Secret, map[bool]string{true: " and the passphrase", false: ", and without a passphrase,"}[view.Passphrase])
		if view.NewSecret {
			p.line("Copy that file to each machine with a daemon on this database, and keep a copy apart from the database.")
		}
	})
}

// newPassphrase returns the one that is to be needed from now on, nil if it stays what it is or there is to be none.
func newPassphrase(c *urfave.Context, stderr io.Writer) ([]byte, error) {
	source := c.String(flagNewPassphrase)
	if source == "" {
		return nil, nil
	}
	if source == "prompt" {
		return cli.Passphrases{Prompt: cli.Terminal(stderr), Flag: flagNewPassphrase + " file:"}.Choose("the private keys of the CAs")
	}
	from, err := passphraseFrom(source, nil)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagNewPassphrase, err)
	}
	passphrase, err := from()
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagNewPassphrase, err)
	}
	return passphrase, nil
}

const flagRootPassphrase = "root-passphrase-from"

func rootPassphraseFlag() urfave.Flag {
	return &urfave.StringFlag{Category: groupFiles, Name: flagRootPassphrase, EnvVars: env(flagRootPassphrase), DefaultText: "prompt, where a root is to sign",
		Usage: "`SOURCE` of the passphrase of a root that has one of its own: " + passphraseSources}
}
