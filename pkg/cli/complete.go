package cli

import (
	"io"
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// A place is where the words of a command line lead to.
type place struct {
	path      string // of the command, without the tool's name
	command   *urfave.Command
	commands  []*urfave.Command // that may follow
	flags     []urfave.Flag     // that may stand here
	open      urfave.Flag       // whose value is to follow
	arguments int
	plain     bool // after two dashes
	unknown   []string
}

// follow reads the words of a command line behind the tool's name.
func follow(app *urfave.App, words []string) place {
	at := place{commands: app.Commands, flags: app.Flags}
	for _, word := range words {
		next := named(at.commands, word)
		switch {
		case at.open != nil:
			at.open = nil
		case at.plain:
			at.arguments++
		case word == "--":
			at.plain = true
		case isFlag(word):
			name, _, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
			flag := find(at.flags, name)
			if flag == nil && !slices.Contains([]string{"help", "h", "version", "v"}, name) {
				at.unknown = append(at.unknown, word)
			}
			if takesValue(flag) && !hasValue {
				at.open = flag
			}
		case next != nil && at.arguments == 0:
			at.command, at.commands = next, next.Subcommands
			at.path = strings.TrimPrefix(at.path+" "+next.Name, " ")
			at.flags = append(slices.Clone(next.Flags), at.flags...)
		default:
			at.arguments++
		}
	}
	return at
}

func takesValue(flag urfave.Flag) bool {
	documented, is := flag.(urfave.DocGenerationFlag)
	return is && documented.TakesValue()
}

// complete writes what the last of words may be meant to become: one of a line, with what it is behind a tab. Names of
// files are the shell's to find: a line that begins with a colon says of which kind.
func complete(app *urfave.App, words []string) error {
	words, prefix := joinWords(words)
	word := words[len(words)-1]
	at := follow(app, words[:len(words)-1])
	var lines []string
	switch name, value, hasValue := strings.Cut(word, "="); {
	case at.open != nil:
		lines = valuesOfFlag(app, at.open, word)
	case !at.plain && strings.HasPrefix(word, "-") && hasValue:
		if flag := find(at.flags, strings.TrimLeft(name, "-")); flag != nil {
			lines = valuesOfFlag(app, flag, value)
			if prefix == "" {
				lines = prefixed(name+"=", lines)
			}
		}
	case !at.plain && strings.HasPrefix(word, "-"):
		lines = flagLines(app, at, word)
	case !at.plain && at.arguments == 0 && len(at.commands) > 0:
		for _, command := range at.commands {
			if !command.Hidden && strings.HasPrefix(command.Name, word) {
				lines = append(lines, command.Name+"\t"+command.Usage)
			}
		}
	case at.command != nil:
		lines = append(foundArguments(app, at, words), argumentLines(at.command.ArgsUsage, at.arguments, word)...)
	}
	_, err := io.WriteString(app.Writer, strings.Join(append(lines, ""), "\n"))
	return err
}

// joinWords undoes that bash takes an equals sign for a word. It returns what is then before the word it asks about.
func joinWords(words []string) (joined []string, prefix string) {
	for i := 0; i < len(words); i++ {
		last := len(joined) - 1
		if words[i] == "=" && last >= 0 && strings.HasPrefix(joined[last], "--") && !strings.Contains(joined[last], "=") {
			prefix, joined[last] = joined[last]+"=", joined[last]+"="
			if i+1 < len(words) {
				i++
				joined[last] += words[i]
			}
			if i < len(words)-1 {
				prefix = ""
			}
			continue
		}
		joined = append(joined, words[i])
	}
	if len(joined) == 0 {
		joined = []string{""}
	}
	return joined, prefix
}

func prefixed(prefix string, lines []string) (out []string) {
	for _, line := range lines {
		if !strings.HasPrefix(line, ":") {
			out = append(out, prefix+line)
		}
	}
	return out
}

// flagLines are the options of the command at hand, or the tool's if there is none yet, and those of the tool that it uses.
func flagLines(app *urfave.App, at place, word string) (lines []string) {
	flags := slices.Clone(app.Flags)
	if at.command != nil {
		flags = append(slices.Clone(at.command.Flags), manualOf(app).globals(app, at.path)...)
	}
	if at.command != nil && at.command.Name == "serve" {
		flags = app.Flags
	}
	for _, flag := range flags {
		if shown, ok := flag.(urfave.VisibleFlag); ok && !shown.IsVisible() {
			continue
		}
		for _, name := range flag.Names() {
			line := dashed(name)
			if strings.HasPrefix(line, word) && !slices.Contains(lines, line) && (len(name) > 1 || word == line) && name != "generate-bash-completion" {
				lines = append(lines, line+"\t"+usageOf(flag))
			}
		}
	}
	if strings.HasPrefix("--help", word) && find(flags, "help") == nil {
		lines = append(lines, "--help\tshow help")
	}
	return lines
}

func usageOf(flag urfave.Flag) string {
	documented, is := flag.(urfave.DocGenerationFlag)
	if !is {
		return ""
	}
	return strings.ReplaceAll(documented.GetUsage(), "`", "")
}

var (
	inBackticks = regexp.MustCompile("`([^`]+)`")
	// alternatives are the arguments of a command that takes one of few words.
	alternatives = regexp.MustCompile(`^[a-z0-9-]+(\|[a-z0-9-]+)+$`)
)

// valuesOfFlag are the values of an option that begin with word, in any case.
func valuesOfFlag(app *urfave.App, flag urfave.Flag, word string) (lines []string) {
	m, name := manualOf(app), flag.Names()[0]
	values := m.Values[name]
	if look := m.Lookup[name]; look != nil {
		values = look()
	}
	for _, value := range values {
		if len(value) >= len(word) && strings.EqualFold(value[:len(word)], word) && !strings.ContainsAny(value, "\t\n") {
			lines = append(lines, value)
		}
	}
	if len(values) > 0 {
		return lines
	}
	documented, is := flag.(urfave.DocGenerationFlag)
	if !is {
		return nil
	}
	found := inBackticks.FindStringSubmatch(documented.GetUsage())
	if found == nil {
		return nil
	}
	return filesOf(name, found[1])
}

// kinds are how names of files end, by what they are of.
var kinds = map[string]string{
	"csr": "csr pem der", "template": "csr pem der", "with": "csr pem der",
	"crt": "pem crt cer der", "other": "pem crt cer der", "key": "pem key", "user-key": "pem key", "private-key": "pem key crt csr", "server-key": "pem",
	"ca-crt": "pem crt", "user-ca-crt": "pem crt", "root-ca": "pem crt", "root": "pem crt", "ca": "pem crt", "cas-ca": "pem crt",
	"crl": "pem crl", "user-crl": "pem crl", "external": "pem crt", "import": "pem",
	"config": "toml", "db": "sqlite db", "to": "sqlite db", "backup": "caucased",
	"invite": "invite", "invite-file": "invite", "first-user-invite": "invite", "environment-file": "env",
}

// filesOf says of which kind a file is.
func filesOf(name, placeholder string) []string {
	switch placeholder {
	case "FILE", "PATH", "EXECUTABLE", "DB", "SECRET-FILE":
		return []string{strings.TrimSpace(":files " + kinds[name])}
	case "FOLDER", "DIRECTORY":
		return []string{":directories"}
	}
	return nil
}

// foundArguments are arguments that have to be looked for, where a first one or another one may stand.
func foundArguments(app *urfave.App, at place, words []string) (lines []string) {
	find := manualOf(app).Arguments[at.path]
	if find == nil || at.arguments > 0 && !strings.HasSuffix(at.command.ArgsUsage, "…") {
		return nil
	}
	before, word := words[:len(words)-1], words[len(words)-1]
	for _, line := range find(before) {
		value, _, _ := strings.Cut(line, "\t")
		if strings.HasPrefix(value, word) && !slices.Contains(before, value) && !strings.Contains(line, "\n") {
			lines = append(lines, line)
		}
	}
	return lines
}

// argumentLines are arguments of a command, as far as its usage tells: one of few words, or a file.
func argumentLines(usage string, before int, word string) (lines []string) {
	usage = strings.TrimSpace(usage)
	if alternatives.MatchString(usage) {
		for value := range strings.SplitSeq(usage, "|") {
			if before == 0 && strings.HasPrefix(value, word) {
				lines = append(lines, value)
			}
		}
		return lines
	}
	usage, _, _ = strings.Cut(usage, ", or")
	options := regexp.MustCompile(`\[--[^\]]*\]`)
	tokens := strings.Fields(options.ReplaceAllString(usage, ""))
	if len(tokens) == 0 {
		return nil
	}
	last := tokens[len(tokens)-1]
	if before >= len(tokens) && !strings.HasSuffix(strings.TrimSuffix(last, "]"), "…") {
		return nil
	}
	for one := range strings.SplitSeq(strings.Trim(tokens[min(before, len(tokens)-1)], "[]…"), "|") {
		switch one {
		case "FILE", "PATH":
			return []string{":files"}
		case "CRT":
			return []string{":files " + kinds["crt"]}
		case "CSR":
			return []string{":files " + kinds["csr"]}
		case "KEY":
			return []string{":files " + kinds["key"]}
		case "BACKUP":
			return []string{":files " + kinds["backup"]}
		case "DIRECTORY":
			return []string{":directories"}
		}
	}
	return nil
}
