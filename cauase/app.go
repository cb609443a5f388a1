package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/clock"

	manners "cauase/pkg/cli"
)

const toolName = "cauase"

// An environment is everything outside a run that it depends on, so that tests can replace it.
type environment struct {
	args    []string // the program's name first
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	clock   clock.Clock
	prompt  func(text string) ([]byte, error) // asks at the terminal, nil if there is none
	display func(text string) error           // shows something at the terminal, nil if there is none
	width   int                               // of the terminal at stdout, in columns; 0 if that is none
}

// run executes one command line and returns the code to exit with.
func run(ctx context.Context, env environment) int {
	env.stderr = manners.Messages(env.stderr, env.args, "CAUASE_JSON")
	app := newApp(env)
	return manners.Report(env.stderr, toolName, manners.Run(ctx, app, reorderArgs(env.args, app.Flags, app.Commands)))
}

func newApp(env environment) *cli.App {
	t := &tool{environment: env}
	app := &cli.App{
		Name:  toolName,
		Usage: "request, renew and administer certificates of a private CA",
		Description: `Requests are made here, with keys that stay here, and signed by a user of the CA, or at once if the daemon or an
invitation says so. What is done as a user, which --user-key names, goes over HTTPS. Most options can also be given as
environment variables or in the configuration that cauase init makes; the command line comes first.`,
		Version:                manners.Version(),
		HideHelpCommand:        true,
		EnableBashCompletion:   true,
		UseShortOptionHandling: false,
		// Organisations, URIs and paths may have commas in them.
		DisableSliceFlagSeparator: true,
		Writer:                    env.stdout,
		ErrWriter:                 env.stderr,
		Flags:                     globalFlags(),
		Before:                    t.readSettings,
		Action:                    manners.Group,
		// The default one exits the process.
		ExitErrHandler: func(*cli.Context, error) {},
		Commands: []*cli.Command{
			t.initCommand(),
			t.requestCommand(),
			t.signCommand(),
			t.selfSignedCommand(),
			t.p12Command(),
			t.inviteCommand(),
			group("csr", "certificate signing requests",
				t.csrSend(), t.csrList(), t.csrShow(), t.csrGet(), t.csrSign(), t.csrReject()),
			group("crt", "certificates",
				t.crtGet(), t.crtRenew(), t.crtRevoke(), t.crtShow(), t.crtProof()),
			group("lineage", "certificates with their renewals, for users", t.lineageList(), t.lineageShow(), t.lineageRevoke()),
			group("cors", "what web pages may do in your name, for users", t.corsList(), t.corsWithdraw()),
			group("ca", "CA certificates", t.caUpdate(), t.caRoot(), t.caShow(), t.caCard(), t.caInstall(), t.caRemove()),
			group("log", "the CA's log of what it has done", t.logCheck(), t.logAccept()),
			group("crl", "certificate revocation lists", t.crlUpdate(), t.crlShow()),
			group(cmdConfig, "the settings of this user", t.configShow()),
			completionCommand(),
		},
	}
	described := manual()
	described.Arguments = map[string]func([]string) []string{}
	for _, path := range commandsOfIDs {
		described.Arguments[path] = func(words []string) []string { return pendingIDs(env, words) }
	}
	manners.Describe(app, described)
	return app
}

func group(name, usage string, commands ...*cli.Command) *cli.Command {
	return &cli.Command{Name: name, Usage: usage, Subcommands: commands, Action: manners.Group}
}

// errUsage says how a command is used.
func errUsage(c *cli.Context, problem string) error {
	return manners.WithHint(errors.New(problem), "usage: %s", strings.TrimSpace(c.Command.HelpName+" "+c.Command.ArgsUsage))
}

// reorderArgs accepts flags in any position. The parser expects global flags before the
// command and its own flags before its arguments.
func reorderArgs(args []string, globals []cli.Flag, commands []*cli.Command) []string {
	if len(args) == 0 || args[len(args)-1] == "--generate-bash-completion" {
		return args
	}
	var front, path, local, positional []string
	var flags []cli.Flag
	rest := args[1:]
	for len(rest) > 0 {
		token := rest[0]
		rest = rest[1:]
		if token == "--" {
			positional = append(positional, rest...)
			break
		}
		if len(token) < 2 || token[0] != '-' {
			if next := findCommand(commands, token); next != nil && len(positional) == 0 {
				path, commands, flags = append(path, token), next.Subcommands, next.Flags
			} else {
				positional = append(positional, token)
			}
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(token, "-"), "=")
		group, flag := &local, findFlag(flags, name)
		if flag == nil {
			if flag = findFlag(globals, name); flag != nil {
				group = &front
			}
		}
		*group = append(*group, token)
		if flag == nil || hasValue || !takesValue(flag) {
			continue
		}
		if len(rest) == 0 {
			// Nothing may follow: the parser would take it for the value that is missing.
			if group == &front {
				path = nil
			}
			return append(append(args[:1:1], path...), token)
		}
		*group = append(*group, rest[0])
		rest = rest[1:]
	}
	out := append([]string{args[0]}, front...)
	out = append(append(out, path...), local...)
	if len(positional) > 0 {
		out = append(append(out, "--"), positional...)
	}
	return out
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	for _, command := range commands {
		if command.HasName(name) {
			return command
		}
	}
	return nil
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, flag := range flags {
		for _, n := range flag.Names() {
			if n == name {
				return flag
			}
		}
	}
	return nil
}

func takesValue(flag cli.Flag) bool {
	documented, ok := flag.(cli.DocGenerationFlag)
	return !ok || documented.TakesValue()
}
