package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/config"
)

const environmentPrefix = "CAUASED_"

// ofContainers are variables that Kubernetes and Docker set in every container for a service that is named
// cauased. They are nobody's settings.
var ofContainers = regexp.MustCompile(`^CAUASED_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP)(_(ADDR|PORT|PROTO))?|NAME|ENV_[A-Za-z0-9_]+)$`)

// checkEnvironment refuses variables that look like settings of ours and are none: whoever misspells one
// believes it to be in force.
func checkEnvironment(app *urfave.App, names []string) error {
	known := append(cli.Variables(app), identityPassphrase)
	var all error
	for _, name := range names {
		if !strings.HasPrefix(name, environmentPrefix) || slices.Contains(known, name) || ofContainers.MatchString(name) {
			continue
		}
		err := fmt.Errorf("environment variable %s: there is no such setting", name)
		if meant := cli.Closest(name, known); meant != "" {
			err = cli.WithHint(err, "did you mean %s?", meant)
		} else {
			err = cli.WithHint(err, "cauased --help lists the options; each is a variable, too: --key-type is %sKEY_TYPE", environmentPrefix)
		}
		all = errors.Join(all, err)
	}
	return all
}

// An environmentFile holds what systemd gives a unit by EnvironmentFile= (systemd.exec(5)).
type environmentFile map[string]string

func readEnvironmentFile(path string) (environmentFile, error) {
	content, err := config.Read(path)
	if err != nil {
		return nil, err
	}
	vars, err := parseEnvironment(string(content))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return vars, nil
}

// parseEnvironment reads lines NAME=VALUE as systemd does: a value may be in quotes, a backslash takes the next
// character literally and continues a line at its end, and lines that begin with # or ; are comments.
func parseEnvironment(text string) (environmentFile, error) {
	vars := environmentFile{}
	lines := strings.Split(strings.TrimPrefix(text, "\uFEFF"), "\n") // editors on Windows begin files with that mark
	for i := 0; i < len(lines); i++ {
		number := i + 1
		line := strings.TrimSpace(lines[i])
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if strings.HasPrefix(name, "export ") {
			return nil, fmt.Errorf("line %d: export belongs in shell scripts: write NAME=VALUE, as systemd reads this", number)
		}
		if !found || name == "" || strings.ContainsAny(name, " \t\"'") {
			return nil, fmt.Errorf("line %d: not NAME=VALUE", number)
		}
		value = strings.TrimLeft(value, " \t")
		for {
			plain, open := unquote(value)
			if !open {
				vars[name] = plain
				break
			}
			if i++; i == len(lines) {
				return nil, fmt.Errorf("line %d: the value of %s does not end", number, name)
			}
			value += "\n" + lines[i]
		}
	}
	return vars, nil
}

// unquote returns what a value means, and whether it goes on in the next line.
func unquote(value string) (plain string, open bool) {
	var out strings.Builder
	var quote byte
	kept := 0 // length of what white space at the end must not shorten
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && quote != '\'':
			if i++; i == len(value) {
				return "", true
			}
			if value[i] != '\n' {
				if quote == '"' && !strings.ContainsRune("\"\\`$", rune(value[i])) {
					out.WriteByte('\\')
				}
				out.WriteByte(value[i])
			}
			kept = out.Len()
		case quote == 0 && (c == '"' || c == '\''):
			quote, kept = c, out.Len()
		case quote != 0 && c == quote:
			quote, kept = 0, out.Len()
		default:
			out.WriteByte(c)
			if quote != 0 {
				kept = out.Len()
			}
		}
	}
	plain = out.String()
	return plain[:kept] + strings.TrimRight(plain[kept:], " \t\r\n"), quote != 0
}
