package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	manners "cauase/pkg/cli"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the completion script of a shell",
		ArgsUsage: "bash|zsh|fish",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return errUsage(c, "of which shell?")
			}
			script, err := manners.Completion(c.App, c.Args().First())
			if err != nil {
				return errUsage(c, err.Error())
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
