// Command cauased is a private certificate authority: it serves the user and the service
// authority over HTTP and HTTPS, and keeps them going.
package main

import (
	"context"
	"io"
	"os"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
)

const tool = "cauased"

func main() {
	cli.NoCores()
	hideMemory()
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}

// run does what args ask for and returns the exit code. The end of ctx is taken like a
// SIGTERM.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	messages := cli.Messages(stderr, args, "")
	if len(args) < 2 || args[1] != "manage" { // which has no log
		messages = cli.LogMessages(stderr, args, environmentPrefix+"LOG_FORMAT")
	}
	app := newApp(clock.System(), stdout, messages)
	err := cli.Run(ctx, app, arrangeManage(app, canonicalArgs(args)))
	if len(args) > 1 && args[1] == "manage" {
		err = hintTokens(err)
	}
	return cli.Report(messages, tool, err)
}

func newApp(clk clock.Clock, stdout, stderr io.Writer) *urfave.App {
	app := &urfave.App{
		Name:                   tool,
		Usage:                  "serve a certificate authority that renews itself",
		UsageText:              "cauased [serve] --netloc HOST[:PORT] [options]\ncauased manage COMMAND [options]",
		Description:            "Every option can also be given as an environment variable: --key-type as CAUASED_KEY_TYPE.",
		Version:                cli.Version(),
		Writer:                 stdout,
		ErrWriter:              stderr,
		HideHelpCommand:        true,
		EnableBashCompletion:   true,
		UseShortOptionHandling: false,
		Flags:                  serveFlags(),
		Before:                 func(c *urfave.Context) error { return checkEnvironment(c.App, cli.EnvironmentNames()) },
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return cli.Group(c)
			}
			return serve(c, clk, stdout, stderr)
		},
		Commands: []*urfave.Command{
			{
				Name:            "serve",
				Usage:           "serve; this is what cauased does without a command, and the options are the same",
				HideHelpCommand: true,
				Action:          func(c *urfave.Context) error { return serve(c, clk, stdout, stderr) },
			},
			{
				Name:            "manage",
				Usage:           "inspect and administer the database",
				HideHelpCommand: true,
				Before:          optionsBehind,
				Subcommands: withSettings(withKeys(withNotations([]*urfave.Command{
					authorityCommand(clk, stdout, stderr),
					rotateCommand(clk, stdout, stderr),
					inviteCommand(clk, stdout, stderr),
					approveCommand(clk, stdout),
					auditCommand(clk, stdout, stderr),
					lineageCommand(clk, stdout),
					keyTypeCommand(clk, stdout),
					ownSubjectsCommand(clk, stdout),
					importCaucaseCommand(clk, stdout, stderr),
					importCACommand(clk, stdout, stderr),
					createIdentityCommand(clk, stdout, stderr),
					importIdentityCommand(clk, stdout, stderr),
					importCRLCommand(clk, stdout, stderr),
					exportCACommand(clk, stdout, stderr),
					backupCommand(clk, stdout, stderr),
					restoreCommand(clk, stdout, stderr),
					drillCommand(clk, stdout, stderr),
					sealCommand(stdout),
					unlockCommand(stdout, stderr),
					rekeyCommand(stdout, stderr),
					copyCommand(clk, stdout, stderr),
					checkCommand(clk, stdout, stderr),
					policyCommand(clk, stdout, stderr),
					statusCommand(clk, stdout),
					migrateCommand(stdout),
				})), stderr),
				Action: cli.NeedsCommand,
			},
		},
		// Errors are ours to print, once and in one place.
		ExitErrHandler: func(*urfave.Context, error) {},
	}
	cli.Describe(app, manual())
	return app
}

// canonicalArgs brings a command line into the form that the flag parser takes.
func canonicalArgs(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case i == 1 && arg == "serve":
			// The options are those of the program, wherever they stand.
		case arg == "--cors-whitelist" || arg == "-cors-whitelist":
			// The reference takes several values after one flag.
			for i+1 < len(args) && args[i+1] != "" && args[i+1][0] != '-' {
				i++
				out = append(out, arg, args[i])
			}
		default:
			out = append(out, arg)
		}
	}
	return out
}
