package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// A Manual is what the help, the manual page and the completions of a tool say beside its commands and options.
type Manual struct {
	Codes       []ExitCode
	Environment []Fact // variables that are those of no option
	Files       []Fact
	Examples    []Example
	SeeAlso     []string // pages, such as openssl(1)

	// Foreign says of options of other tools, the reference's above all, what does the same here.
	Foreign map[string]string

	// Globals are the tool's options that matter for a command, by the command's path without the tool's name. Those
	// of a group are those of all its commands.
	Globals map[string][]string

	// Values are those that an option takes, by its name, and Lookup finds them where they are not always the same.
	Values map[string][]string
	Lookup map[string]func() []string

	// Arguments finds what may be an argument of a command, by the command's path and from the words before it: one of a
	// line, what it is behind a tab.
	Arguments map[string]func(words []string) []string
}

// A Fact is a name and what there is to say about it.
type Fact struct{ Name, Text string }

// A ExitCode is a code to exit with.
type ExitCode struct {
	Code int
	Text string
	Of   []string // commands that exit with it, like those of Globals; all if there are none
}

// An Example is a command line, which shows the command that it calls.
type Example struct{ Line, Text string }

const manualKey = "manual"

// Describe has the help, manual page and completions of a tool say what m has.
func Describe(app *urfave.App, m Manual) {
	if app.Metadata == nil {
		app.Metadata = map[string]any{}
	}
	app.Metadata[manualKey] = m
}

func manualOf(app *urfave.App) Manual {
	m, _ := app.Metadata[manualKey].(Manual)
	return m
}

// codes are those with which a command exits. path is without the tool's name.
func (m Manual) codes(path string) (all []Fact) {
	for _, code := range m.Codes {
		if len(code.Of) == 0 || slices.ContainsFunc(code.Of, func(of string) bool { return within(path, of) }) {
			all = append(all, Fact{strconv.Itoa(code.Code), code.Text})
		}
	}
	return all
}

func (m Manual) globals(app *urfave.App, path string) (flags []urfave.Flag) {
	for _, flag := range app.Flags {
		for of, names := range m.Globals {
			if within(path, of) && slices.Contains(names, flag.Names()[0]) {
				flags = append(flags, flag)
				break
			}
		}
	}
	return flags
}

func (m Manual) examples(app *urfave.App, path string) (all []Example) {
	for _, example := range m.Examples {
		if at := follow(app, strings.Fields(example.Line)[1:]); at.path == path {
			all = append(all, example)
		}
	}
	return all
}

// within reports whether a command is another one or below it.
func within(path, of string) bool { return path == of || strings.HasPrefix(path, of+" ") }

// explain adds to the help of a tool and of its commands which of the tool's options matter there, what it exits with,
// and examples.
func explain(app *urfave.App) {
	m := manualOf(app)
	if app.CustomAppHelpTemplate == "" {
		app.CustomAppHelpTemplate = urfave.AppHelpTemplate + literal(m.more(app, ""))
	}
	eachCommand(app.Commands, "", func(path string, command *urfave.Command) {
		template := urfave.CommandHelpTemplate
		if len(command.Subcommands) > 0 {
			template = urfave.SubcommandHelpTemplate
		}
		command.CustomHelpTemplate = template + literal(m.more(app, strings.TrimPrefix(path, " ")))
	})
}

// literal is a text in a template, as it stands.
func literal(text string) string { return "{{" + strconv.Quote(text) + "}}" }

func (m Manual) more(app *urfave.App, path string) string {
	var b strings.Builder
	if flags := m.globals(app, path); len(flags) > 0 && path != "" {
		b.WriteString("\nGLOBAL OPTIONS that it uses, of those in " + app.Name + " --help:\n")
		for _, flag := range flags {
			names, _, _ := strings.Cut(flag.String(), "\t")
			names, _, _ = strings.Cut(names, " [ ")
			fmt.Fprintf(&b, "   %s\t%s\n", names, briefly(usageOf(flag)))
		}
	}
	if codes := m.codes(path); len(codes) > 0 && !isGroup(app, path) {
		b.WriteString("\nEXIT CODES:\n")
		for _, code := range codes {
			fmt.Fprintf(&b, "   %s  %s\n", code.Name, code.Text)
		}
	}
	if examples := m.examples(app, path); len(examples) > 0 {
		b.WriteString("\nEXAMPLES:\n")
		for _, example := range examples {
			fmt.Fprintf(&b, "   %s:\n     %s\n", example.Text, example.Line)
		}
	}
	return b.String()
}

// briefly is the beginning of what an option means, which the help of the tool tells in full.
func briefly(usage string) string {
	for _, end := range []string{"; ", " (", ": ", ", PATH like", ", such as"} {
		if i := strings.Index(usage, end); i > len("FILE (TOML)") {
			usage = usage[:i]
		}
	}
	return usage
}

// isGroup reports whether a command has others, and does nothing itself but show them.
func isGroup(app *urfave.App, path string) bool {
	at := follow(app, strings.Fields(path))
	return path != "" && at.command != nil && len(at.command.Subcommands) > 0 && len(at.command.Flags) == 0
}
