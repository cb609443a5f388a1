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
			shell, err := manners.Choice("completion", c.Args().First(), []string{"bash", "zsh", "fish"})
			if err != nil {
				return errUsage(c, err.Error())
			}
			script, err := manners.Completion(c.App, shell)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return manners.WriteJSON(c.App.Writer, scriptView{shell, script})
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
