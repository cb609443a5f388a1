package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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

// authorityArgument describes an argument that names an authority.
const authorityArgument = "the NAME of an authority"

// An authorityCall is one run of a command about authorities: the command line, read and checked.
type authorityCall struct {
	c              *urfave.Context
	clk            clock.Clock
	stdout, stderr io.Writer

	args   []string
	name   store.AuthorityName // the first argument, where that is authorityArgument
	netloc string              // of --netloc; empty if it is not given
	out    *outFile            // of --out, of commands that have it; not yet written
}

// authorityAction returns the action of a command about authorities that takes the described arguments.
func authorityAction(clk clock.Clock, stdout, stderr io.Writer, run func(*authorityCall) error, described ...string) urfave.ActionFunc {
	return func(c *urfave.Context) (err error) {
		call := &authorityCall{c: c, clk: clk, stdout: stdout, stderr: stderr}
		if call.args, err = arguments(c, described...); err != nil {
			return err
		}
		if len(described) > 0 && described[0] == authorityArgument {
			if call.name, err = authorityName(c, call.args[0]); err != nil {
				return err
			}
		}
		if call.netloc, err = readNetloc(c); err != nil {
			return err
		}
		if takes(c, flagOut) {
			// Before anything is done of which the result could not be written.
			if call.out, err = createOut(c, flagOut); err != nil {
				return err
			}
			defer call.out.discard()
		}
		return run(call)
	}
}

// takes reports whether the command that runs has a flag of this name.
func takes(c *urfave.Context, flag string) bool {
	return slices.ContainsFunc(c.Command.Flags, func(f urfave.Flag) bool { return slices.Contains(f.Names(), flag) })
}

// view returns the state of an authority.
func (call *authorityCall) view(st store.Store, name store.AuthorityName) (manage.AuthorityView, error) {
	return manage.ViewAuthority(call.c.Context, st, call.clk, name)
}

// show prints the result of the command.
func (call *authorityCall) show(view any, text func(p *printer)) error {
	return show(call.c, call.stdout, view, text)
}

// authorityHint is where to read more about the command that runs.
func authorityHint(c *urfave.Context) string {
	if c.Command.Name == nameRotate {
		return "see cauased manage " + nameRotate + " --help"
	}
	return "see cauased manage authority " + c.Command.Name + " --help"
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

// withAuthorities opens the database for the command and closes it again.
func (call *authorityCall) withAuthorities(do func(store.Store) error) error {
	return withAuthorityHint(withDatabase(call.c, do))
}

// withAuthorityHint gives an error about authorities its hint.
func withAuthorityHint(err error) error {
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

// readNetloc returns the value of --netloc, empty when it is not given, or no flag of the command.
func readNetloc(c *urfave.Context) (string, error) {
	if !takes(c, flagNetloc) || c.String(flagNetloc) == "" {
		return "", nil
	}
	netloc, err := server.ParseNetloc(c.String(flagNetloc))
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flagNetloc, err)
	}
	return netloc.String(), nil
}

func yesFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: flagYes, Usage: "do it without asking"}
}

// confirm asks on the terminal whether to go on, unless --yes says so.
func (call *authorityCall) confirm(question string) error {
	if call.c.Bool(flagYes) {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return cli.WithHint(errors.New("this has to be confirmed, and there is no terminal to ask on"), "look at it, then give --%s", flagYes)
	}
	fmt.Fprint(call.stderr, pki.EscapeText(question)+" Type yes to go on: ")
	answer, err := bufio.NewReader(io.LimitReader(os.Stdin, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(answer) != "yes" {
		return errors.New("not confirmed, nothing was changed")
	}
	return nil
}

// remark prints a note or warning, of a command that goes on.
func (call *authorityCall) remark(level, format string, args ...any) {
	remark(call.stderr, level, format, args...)
}
