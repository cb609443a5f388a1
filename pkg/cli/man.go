package cli

import (
	"fmt"
	"regexp"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// manPage is the manual page of a tool, of section 1, or 8 for what a system runs and not a
// person (make install knows them, too). The same binary gives the same page on every machine
// and day. It is written in man(7), for mandoc and groff.
func manPage(app *urfave.App) string {
	section := 1
	if app.Name == "cauased" || app.Name == "cauase-updater" {
		section = 8
	}
	m, p := manualOf(app), &page{}
	p.line(`.TH %s %d %s "cauase %s" "cauase"`, strings.ToUpper(roff(app.Name)), section, revised(), roff(strings.Trim(app.Version, "()")))
	p.section("NAME")
	p.text(app.Name + " \\- " + app.Usage)
	p.section("SYNOPSIS")
	p.block(synopsis(app))
	if app.Description != "" {
		p.section("DESCRIPTION")
		p.prose(app.Description)
	}
	p.section("OPTIONS")
	p.flags(app.Flags)
	if len(app.Commands) > 0 {
		p.section("COMMANDS")
		p.prose("Options of a command may stand before and behind its arguments.")
		eachCommand(app.Commands, app.Name, func(path string, command *urfave.Command) { p.command(m, path, command) })
	}
	p.facts("ENVIRONMENT", append(variables(app), m.Environment...))
	p.facts("FILES", m.Files)
	p.facts("EXIT STATUS", m.allCodes())
	if len(m.Examples) > 0 {
		p.section("EXAMPLES")
		for i, example := range m.Examples {
			if i > 0 {
				p.line(".PP")
			}
			p.text(example.Text + ":")
			p.line(".PP")
			p.block("    " + example.Line)
		}
	}
	if len(m.SeeAlso) > 0 {
		p.section("SEE ALSO")
		var pages []string
		for _, page := range m.SeeAlso {
			name, rest, _ := strings.Cut(page, "(")
			pages = append(pages, `\fB`+roff(name)+`\fP(`+rest)
		}
		p.wrapped(strings.Fields(strings.Join(pages, ", ")))
	}
	return p.String()
}

// revised is when what the page is about was changed: the time of the commit, or that of the last rewriting of pages.
func revised() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if at, err := time.Parse(time.RFC3339, setting.Value); setting.Key == "vcs.time" && err == nil {
				return at.UTC().Format(time.DateOnly)
			}
		}
	}
	return "2026-11-27"
}

func synopsis(app *urfave.App) string {
	if app.UsageText != "" {
		return app.UsageText
	}
	return app.Name + " [global options] command [options] [arguments]"
}

func (m Manual) allCodes() (all []Fact) {
	for _, code := range m.Codes {
		text := code.Text
		if len(code.Of) > 0 {
			text += " (" + strings.Join(code.Of, ", ") + ")"
		}
		all = append(all, Fact{fmt.Sprint(code.Code), text})
	}
	return all
}

// variables are those of the environment that options are taken from.
func variables(app *urfave.App) (all []Fact) {
	of := map[string]string{}
	add := func(flags []urfave.Flag) {
		for _, flag := range flags {
			documented, is := flag.(urfave.DocGenerationFlag)
			if shown, ok := flag.(urfave.VisibleFlag); !is || ok && !shown.IsVisible() {
				continue
			}
			for _, name := range documented.GetEnvVars() {
				of[name] = "what --" + flag.Names()[0] + " says, unless that is given"
			}
		}
	}
	add(app.Flags)
	eachCommand(app.Commands, "", func(_ string, command *urfave.Command) { add(command.Flags) })
	for name, text := range of {
		all = append(all, Fact{name, text})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// A page is one in man(7).
type page struct{ strings.Builder }

// maxLine is how long lines of the source may be, in bytes.
const maxLine = 78

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) section(name string) { p.line(".SH %s", name) }

// text is a paragraph that is filled.
func (p *page) text(text string) { p.wrapped(strings.Fields(roff(text))) }

func (p *page) wrapped(words []string) {
	line := ""
	flush := func() {
		if line != "" {
			p.line("%s", guarded(line))
		}
		line = ""
	}
	for _, word := range words {
		if line != "" && len(line)+1+len(word) > maxLine-2 {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	flush()
}

// guarded is a line of text that no request of roff is read in.
func guarded(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// block is a text whose lines stay as they are.
func (p *page) block(text string) {
	p.line(".nf")
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		line = guarded(roff(strings.TrimRight(line, " ")))
		// A backslash at the end of a line has the next one belong to it.
		for len(line) > maxLine {
			cut := strings.LastIndexByte(line[:maxLine-1], ' ')
			if cut <= 0 {
				break
			}
			p.line("%s\\", line[:cut])
			line = line[cut:]
		}
		p.line("%s", line)
	}
	p.line(".fi")
}

// prose is a description as the help has it: paragraphs, and indented lines that stay as they are.
func (p *page) prose(text string) {
	first := true
	for paragraph := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		for _, part := range byIndentation(paragraph) {
			if !first {
				p.line(".PP")
			}
			first = false
			if strings.HasPrefix(part, " ") {
				p.block(part)
			} else {
				p.text(part)
			}
		}
	}
}

// byIndentation parts a paragraph where lines begin, or cease, to be indented.
func byIndentation(paragraph string) (parts []string) {
	for line := range strings.SplitSeq(paragraph, "\n") {
		last := len(parts) - 1
		if last >= 0 && strings.HasPrefix(parts[last], " ") == strings.HasPrefix(line, " ") {
			parts[last] += "\n" + line
			continue
		}
		parts = append(parts, line)
	}
	return parts
}

func (p *page) flags(flags []urfave.Flag) {
	for _, flag := range flags {
		if shown, ok := flag.(urfave.VisibleFlag); ok && !shown.IsVisible() {
			continue
		}
		// As the help has it: names, and a tab before what they mean.
		names, usage, _ := strings.Cut(flag.String(), "\t")
		p.line(".TP")
		p.line("%s", guarded(highlighted(names)))
		p.text(usage)
	}
}

// highlighted has options in bold, and what stands for a value in italics.
func highlighted(names string) string {
	var words []string
	for word := range strings.FieldsSeq(names) {
		name, rest := word, ""
		if i := strings.IndexAny(word, ",["); i > 0 {
			name, rest = word[:i], word[i:]
		}
		switch {
		case strings.HasPrefix(name, "-"):
			words = append(words, `\fB`+roff(name)+`\fP`+roff(rest))
		case strings.Trim(name, "[]") == "":
			words = append(words, roff(word))
		default:
			words = append(words, `\fI`+roff(name)+`\fP`+roff(rest))
		}
	}
	return strings.Join(words, " ")
}

func (p *page) command(m Manual, path string, command *urfave.Command) {
	p.line(".SS %s", roff(path))
	usage := strings.TrimSuffix(command.Usage, ".")
	if usage != "" {
		p.text(strings.ToUpper(usage[:1]) + usage[1:] + ".")
		p.line(".PP")
	}
	arguments := ""
	if len(command.Flags) > 0 {
		arguments += " [options]"
	}
	if len(command.Subcommands) > 0 && command.ArgsUsage == "" {
		arguments += " command"
	}
	if command.ArgsUsage != "" {
		arguments += " " + command.ArgsUsage
	}
	p.block(path + arguments)
	if command.Description != "" {
		p.line(".PP")
		p.prose(command.Description)
	}
	p.flags(command.Flags)
	_, short, _ := strings.Cut(path, " ")
	if globals := m.Globals[short]; len(globals) > 0 {
		p.line(".PP")
		p.text("Of the options above, these matter: --" + strings.Join(globals, ", --") + ".")
	}
}

func (p *page) facts(section string, facts []Fact) {
	if len(facts) == 0 {
		return
	}
	p.section(section)
	for _, fact := range facts {
		p.line(".TP")
		p.line("%s", guarded(`\fB`+roff(fact.Name)+`\fP`))
		p.text(fact.Text)
	}
}

var dash = regexp.MustCompile(` \\- `)

// roff escapes a text.
func roff(text string) string {
	// The dash between name and purpose is one already.
	text = dash.ReplaceAllString(text, " \x00 ")
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-', r == '\x00':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString("\\(ga")
		case r == '^', r == '~':
			b.WriteString(map[rune]string{'^': `\(ha`, '~': `\(ti`}[r])
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
