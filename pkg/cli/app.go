package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// NewApp begins the command line of a tool without commands.
func NewApp(name, usage string, stdout, stderr io.Writer) *urfave.App {
	return &urfave.App{
		Name:                      name,
		HelpName:                  name,
		Usage:                     usage,
		Version:                   Version(),
		Writer:                    stdout,
		ErrWriter:                 stderr,
		HideHelpCommand:           true,
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true, // file names may have commas
		// Errors are ours to print, once and in one place.
		ExitErrHandler: func(*urfave.Context, error) {},
	}
}

// Hidden requests that every tool answers, for those who package it.
const (
	generateMan        = "--generate-man"
	generateCompletion = "--generate-completion="     // and a shell
	askCompletion      = "--generate-bash-completion" // behind the words of a command line, the last being at work
)

func asksHelp(arg string) bool {
	return arg == "--help" || arg == "-help" || arg == "-h" || arg == "--h"
}

// Run executes a command line, unless it asks for the manual page or a completion script.
func Run(ctx context.Context, app *urfave.App, args []string) error {
	prepare(app)
	if WantsJSON(app, args) {
		app.Writer = jsonResults{app.Writer}
	}
	keepArgs(app, args)
	if last := len(args) - 1; last > 0 && args[last] == askCompletion {
		return complete(app, args[1:last])
	}
	messages := messagesOf(app, args)
	args = asOptions(app, args)
	if !onlyExplains(app, args) {
		if err := checkEnvironment(messages, app, EnvironmentNames()); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(args, asksHelp) {
		explain(app) // all of it, which takes longer than most commands do
	}
	if len(args) != 2 {
		return run(ctx, app, args)
	}
	var document string
	var err error
	shell, isCompletion := strings.CutPrefix(args[1], generateCompletion)
	switch {
	case args[1] == generateMan:
		document = manPage(app)
	case isCompletion:
		document, err = Completion(app, shell)
	default:
		return run(ctx, app, args)
	}
	if err == nil {
		_, err = io.WriteString(app.Writer, document)
	}
	return err
}

// run executes what is left to the parser. When help is asked for behind arguments, it takes the first of them for a command.
func run(ctx context.Context, app *urfave.App, args []string) error {
	var explained error
	app.CommandNotFound = func(c *urfave.Context, _ string) {
		switch {
		case len(c.App.Commands) == 0:
			explained = urfave.ShowAppHelp(c)
		case Path(c) != c.App.HelpName && len(c.Command.Subcommands) == 0:
			explained = urfave.ShowSubcommandHelp(c)
		default:
			explained = Group(c)
		}
	}
	if err := app.RunContext(ctx, args); err != nil {
		return err
	}
	return explained
}

// Arrange brings the arguments of a tool without commands into the form that the parser
// takes: flags first, then what are none. A flag made by [Several] may be followed by several values.
func Arrange(args []string, flags []urfave.Flag) []string {
	if len(args) == 0 || args[len(args)-1] == askCompletion {
		return args
	}
	front, positional := args[:1:1], []string(nil)
	for rest := args[1:]; len(rest) > 0; {
		token := rest[0]
		rest = rest[1:]
		switch {
		case token == "--":
			positional, rest = append(positional, rest...), nil
			continue
		case !isFlag(token):
			positional = append(positional, token)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(token, "-"), "=")
		values := 0
		if !hasValue {
			values = min(valuesOf(find(flags, name), rest), len(rest))
		}
		if values == 0 {
			front = append(front, token)
			if needsValue(find(flags, name)) && !hasValue {
				return front // nothing may follow: the parser would take it for the value
			}
		}
		for _, value := range rest[:values] {
			front = append(front, token, value)
		}
		rest = rest[values:]
	}
	if len(positional) > 0 {
		front = append(append(front, "--"), positional...)
	}
	return front
}

// A SeveralFlag is one that takes all the values behind it, as flags of the reference's tools do. It is for those only: where
// arguments may follow, they would be taken for values.
type SeveralFlag struct{ urfave.StringSliceFlag }

// Several returns f as a SeveralFlag.
func Several(f urfave.StringSliceFlag) urfave.Flag { return &SeveralFlag{f} }

func isFlag(token string) bool { return len(token) > 1 && token[0] == '-' }

func find(flags []urfave.Flag, name string) urfave.Flag {
	for _, flag := range flags {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

func needsValue(flag urfave.Flag) bool {
	_, isBool := flag.(*urfave.BoolFlag)
	return flag != nil && !isBool
}

// valuesOf counts the tokens in rest that belong to flag.
func valuesOf(flag urfave.Flag, rest []string) int {
	_, many := flag.(*SeveralFlag)
	switch {
	case !needsValue(flag):
		return 0
	case !many:
		return 1
	}
	n := 0
	for n < len(rest) && !isFlag(rest[n]) {
		n++
	}
	return n
}

// NoArguments refuses arguments that are no flags.
func NoArguments(c *urfave.Context) error {
	if c.Args().Present() {
		return WithHint(fmt.Errorf("unexpected argument %q", c.Args().First()), "see %s --help", c.App.Name)
	}
	return nil
}
