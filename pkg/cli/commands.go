package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// prepare gives all commands of a tool the same manners: what they say of options and commands that do not exist.
func prepare(app *urfave.App) {
	if app.OnUsageError == nil {
		app.OnUsageError = UsageError
	}
	if app.HelpName == "" {
		app.HelpName = app.Name
	}
	var each func(commands []*urfave.Command)
	each = func(commands []*urfave.Command) {
		for _, command := range commands {
			if command.OnUsageError == nil {
				command.OnUsageError = UsageError
			}
			command.HideHelpCommand = true
			if len(command.Subcommands) > 0 && command.Action == nil {
				command.Action = Group
			}
			each(command.Subcommands)
		}
	}
	each(app.Commands)
}

// elsewhere are commands of one tool that people look for in another.
var elsewhere = map[string]string{
	"manage": "cauased manage administers the database of a daemon, on its host",
	"serve":  "cauased serves a CA",
	"probe":  "cauase-probe checks a daemon from outside",
	"update": "cauase-updater keeps the files of a host up to date; cauase ca update and cauase crl update do so once",
	"status": "cauase-updater --status says how the files of a host are, cauased manage status how a daemon's database is",
	"backup": "cauased manage backup takes one, on the daemon's host",
	"login":  "there is none: cauase --user-key FILE says whom to act as, and cauase init --user-key FILE remembers it",
}

// Group is the action of a command that only has further ones: it shows them, or says what a word that is none of them
// may have been meant for.
func Group(c *urfave.Context) error {
	name := c.Args().First()
	if name == "" {
		explain(c.App)
		if c.Command != nil && len(c.Command.Subcommands) > 0 && Path(c) != c.App.Name {
			return urfave.ShowSubcommandHelp(c)
		}
		return urfave.ShowAppHelp(c)
	}
	path := Path(c)
	siblings := c.App.Commands
	if c.Command != nil && path != c.App.HelpName {
		siblings = c.Command.Subcommands
	}
	short := strings.TrimSpace(strings.TrimPrefix(path, c.App.HelpName) + " " + name)
	err := fmt.Errorf("there is no command %q", short)
	help := path + " --help lists the commands"
	if meant := Closest(name, commandNames(siblings)); meant != "" {
		return WithHint(err, "did you mean %s %s? %s", path, meant, help)
	}
	if known := elsewhere[name]; known != "" && !strings.HasPrefix(known, c.App.Name+" ") {
		return WithHint(err, "%s", known)
	}
	var same []string
	eachCommand(c.App.Commands, c.App.HelpName, func(path string, command *urfave.Command) {
		if command.HasName(name) {
			same = append(same, path)
		}
	})
	if len(same) > 0 {
		return WithHint(err, "did you mean %s? %s", strings.Join(same, " or "), help)
	}
	return WithHint(err, "%s", help)
}

func commandNames(commands []*urfave.Command) (names []string) {
	for _, command := range commands {
		if !command.Hidden {
			names = append(names, command.Names()...)
		}
	}
	return names
}

// NeedsCommand is the error of a command that is given without one of those below it.
func NeedsCommand(c *urfave.Context) error {
	if c.Args().Present() {
		return Group(c)
	}
	return WithHint(errors.New(strings.TrimPrefix(Path(c), c.App.HelpName+" ")+" needs a command"), "one of %s; %s --help says what they do",
		strings.Join(commandNames(c.Command.Subcommands), ", "), Path(c))
}

// asOptions has help and version be commands, too, of every tool and of every group of commands: help csr sign, csr help
// sign and csr sign --help are one. Arguments are arranged as the parser takes them, behind two dashes if they are no
// commands.
func asOptions(app *urfave.App, args []string) []string {
	commands := app.Commands
	path := args[:min(1, len(args)):1]
	for i := 1; i < len(args); i++ {
		word := args[i]
		next := named(commands, word)
		switch {
		case word == "--":
		case isFlag(word) && len(path) == 1: // an option of the tool's, perhaps with a value
			name, _, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
			flag := find(app.Flags, name)
			if flag == nil {
				return args
			}
			if !hasValue {
				i += valuesOf(flag, args[i+1:])
			}
		case next != nil && len(next.Subcommands) == 0:
			return args // what follows are its arguments
		case next != nil:
			path, commands = append(path, word), next.Subcommands
		case word == "version" && len(path) == 1 && i == len(args)-1:
			return append(path, "--version")
		case word == "help" && (len(commands) > 0 || i == len(args)-1):
			for _, rest := range args[i+1:] {
				if !strings.HasPrefix(rest, "-") {
					path = append(path, rest)
				}
			}
			return append(path, "--help")
		default:
			return args
		}
	}
	return args
}

func named(commands []*urfave.Command, name string) *urfave.Command {
	i := slices.IndexFunc(commands, func(command *urfave.Command) bool { return command.HasName(name) })
	if i < 0 {
		return nil
	}
	return commands[i]
}
