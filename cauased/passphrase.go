package main

import (
	"io"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
)

const flagPassphraseFile = cli.FlagPassphraseFile

func passphraseFlag(usage string) urfave.Flag {
	return &urfave.StringFlag{Name: flagPassphraseFile, Usage: usage, TakesFile: true}
}

// passphrases are those that a command of manage reads or asks for.
func passphrases(c *urfave.Context, stderr io.Writer) cli.Passphrases {
	return cli.Passphrases{File: c.String(flagPassphraseFile), Prompt: cli.Terminal(stderr)}
}

// identityPassphrase is the variable of the passphrase for a CA in a folder: what makes or moves one is often a script, or a
// container, that is given its secrets so.
const identityPassphrase = environmentPrefix + "IDENTITY_PASSPHRASE"

// identityPassphrases are those that a command about a CA in a folder reads or asks for.
func identityPassphrases(c *urfave.Context, stderr io.Writer) cli.Passphrases {
	p := passphrases(c, stderr)
	p.Variable = identityPassphrase
	return p
}
