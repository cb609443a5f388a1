package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

const flagYes = "yes"

// authorityCommand is about the authorities of a daemon: which there are, and which is below which.
func authorityCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "authority",
		Usage: "add, look at and retire authorities; carry sign-offs to and from an offline root",
		Description: "A daemon has the authorities cau, of its users, cas, of services, and https, of its own certificate.\n" +
			"Others can be added beside them, each served under /NAME/… like cas, and roots that certify others.\n" +
			"All commands may run beside the daemon, which takes notice within a second. The manual is docs/authorities.md.",
		HideHelpCommand: true,
		Subcommands: []*urfave.Command{
			authorityAddCommand(clk, stdout),
			authorityListCommand(clk, stdout),
			authorityShowCommand(clk, stdout),
			authoritySetParentCommand(clk, stdout),
			authorityRetireCommand(clk, stdout, stderr),
			authorityRequestCommand(clk, stdout),
			authoritySignCommand(clk, stdout, stderr),
			authorityInstallCommand(clk, stdout, stderr),
			authorityRevokeCommand(clk, stdout, stderr),
			authorityRevokeBelowCommand(clk, stdout, stderr),
			authorityExportCommand(clk, stdout),
		},
		Action: func(c *urfave.Context) error {
			err := errors.New("authority needs a command")
			if c.Args().Present() {
				err = fmt.Errorf("authority has no command %q", c.Args().First())
			}
			return cli.WithHint(err, "see cauased manage authority --help")
		},
	}
}

// authorityHint is where to read more about the command that runs.
func authorityHint(c *urfave.Context) string {
	return "see cauased manage authority " + c.Command.Name + " --help"
}

// theName returns the one argument of a command, which is the name of an authority.
func theName(c *urfave.Context) (store.AuthorityName, error) {
	args, err := arguments(c, "the NAME of an authority")
	if err != nil {
		return "", err
	}
	return authorityName(c, args[0])
}

// arguments returns the arguments of a command, each of which is described.
func arguments(c *urfave.Context, described ...string) ([]string, error) {
	args := c.Args().Slice()
	switch {
	case len(args) < len(described):
		return nil, cli.WithHint(fmt.Errorf("%s is needed", described[len(args)]), "%s", authorityHint(c))
	case len(args) > len(described):
		return nil, cli.WithHint(fmt.Errorf("unexpected argument: %s", args[len(described)]), "%s", authorityHint(c))
	}
	return args, nil
}

func authorityName(c *urfave.Context, text string) (store.AuthorityName, error) {
	name := store.AuthorityName(text)
	if !name.Valid() {
		return "", cli.WithHint(fmt.Errorf("%q is not the name of an authority: it begins with a letter and has at most 32 of a-z, 0-9 and -", text), "%s", authorityHint(c))
	}
	return name, nil
}

// withAuthorities opens the database for a command and closes it again.
func withAuthorities(c *urfave.Context, do func(store.Store) error) error {
	db, err := openExisting(c)
	if err != nil {
		return err
	}
	return authorityAdvice(errors.Join(do(db), db.Close()))
}

// authorityAdvice gives an error about authorities its hint.
func authorityAdvice(err error) error {
	switch {
	case errors.Is(err, manage.ErrNoAuthority):
		err = cli.WithHint(err, "cauased manage authority list lists them; is --%s the database that was meant?", flagDB)
	case errors.Is(err, manage.ErrNetloc):
		err = cli.WithHint(err, "start the daemon once, which records it, or give --%s HOST[:PORT] as to the daemon", flagNetloc)
	}
	return err
}

func netlocFlag() urfave.Flag {
	return text("", flagNetloc, "", "`HOST[:PORT]` at which verifiers reach the daemon (default: what the daemon has recorded)")
}

// theNetloc returns the value of --netloc, empty when it is not given.
func theNetloc(c *urfave.Context) (string, error) {
	value := c.String(flagNetloc)
	if value == "" {
		return "", nil
	}
	netloc, err := server.ParseNetloc(value)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flagNetloc, err)
	}
	return netloc.String(), nil
}

func yesFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: flagYes, Usage: "do it without asking"}
}

// confirm asks on the terminal whether to go on, unless --yes says so.
func confirm(c *urfave.Context, stderr io.Writer, question string) error {
	if c.Bool(flagYes) {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return cli.WithHint(errors.New("this has to be confirmed, and there is no terminal to ask on"), "look at it, then give --%s", flagYes)
	}
	fmt.Fprint(stderr, pki.EscapeText(question)+" Type yes to go on: ")
	answer, err := bufio.NewReader(io.LimitReader(os.Stdin, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(answer) != "yes" {
		return errors.New("not confirmed, nothing was changed")
	}
	return nil
}

func authorityRetireCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "retire",
		Usage:     "have an authority issue nothing any more but revocation lists",
		ArgsUsage: "NAME",
		Description: "The authority signs no certificates from now on. Those it has signed stay valid and can be revoked; its\n" +
			"revocation lists are signed for as long as its CA certificates last. This cannot be undone.\n" +
			"A root is not retired while there are authorities below it, nor what the daemon itself needs.\n\n" +
			"Example:\n" +
			"  cauased manage authority retire lab",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag(), yesFlag()},
		Action: func(c *urfave.Context) error {
			name, err := theName(c)
			if err != nil {
				return err
			}
			return withAuthorities(c, func(st store.Store) error {
				if _, err := manage.ViewAuthority(c.Context, st, clk, name); err != nil {
					return err
				}
				if err := confirm(c, stderr, fmt.Sprintf("%s will never issue a certificate again.", name)); err != nil {
					return err
				}
				if err := manage.RetireAuthority(c.Context, st, clk, name); err != nil {
					return err
				}
				v, err := manage.ViewAuthority(c.Context, st, clk, name)
				if err != nil {
					return err
				}
				p := printer{w: stdout}
				if v.SignsUntil == nil {
					p.line("%s is retired", name)
				} else {
					p.line("%s is retired: its revocation lists are signed until %s", name, stamp(*v.SignsUntil))
				}
				return p.err
			})
		},
	}
}

func authoritySetParentCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "set-parent",
		Usage:     "have a root sign an authority's CA certificates from the next one on",
		ArgsUsage: "NAME ROOT|--none",
		Description: "The CA certificates that NAME has stay as they are. Its next one is signed by ROOT, or by NAME itself\n" +
			"with --none, and each is vouched for by the one before it as always, so that clients which know\n" +
			"NAME follow by themselves; those of caucase do not, see docs/from-caucase.md. Sign-offs that were asked for\n" +
			"or are in stock are dropped.\n\n" +
			"Examples:\n" +
			"  cauased manage authority set-parent cas home-root\n" +
			"  cauased manage authority set-parent lab --none",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag(), &urfave.BoolFlag{Name: "none", Usage: "have it sign its CA certificates itself again"}},
		Action: func(c *urfave.Context) error {
			described := []string{"the NAME of an authority", "the name of a ROOT, or --none,"}
			if c.Bool("none") {
				described = described[:1]
			}
			args, err := arguments(c, described...)
			if err != nil {
				return err
			}
			names := make([]store.AuthorityName, 2)
			for i, arg := range args {
				if names[i], err = authorityName(c, arg); err != nil {
					return err
				}
			}
			return withAuthorities(c, func(st store.Store) error {
				if err := manage.SetParent(c.Context, st, clk, names[0], names[1]); err != nil {
					return err
				}
				v, err := manage.ViewAuthority(c.Context, st, clk, names[0])
				if err != nil {
					return err
				}
				p := printer{w: stdout}
				by := "itself"
				if v.Parent != "" {
					by = string(v.Parent)
				}
				if v.NextCA == nil {
					p.line("%s: its first CA certificate will be signed by %s", v.Name, by)
				} else {
					p.line("%s: the next CA certificate will be signed by %s; it is due at %s (%s)", v.Name, by, stamp(*v.NextCA), due(clk.Now(), *v.NextCA))
				}
				printSignoffNeeded(&p, v)
				return p.err
			})
		},
	}
}
