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
