package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	manners "cauase/pkg/cli"
)

// A scriptView is a completion script in JSON.
type scriptView struct {
	Shell  string `json:"shell"`
	Script string `json:"script"`
}

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
			if c.Bool("json") {
				return manners.WriteJSON(c.App.Writer, scriptView{c.Args().First(), script})
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
