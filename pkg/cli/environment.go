package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/pki"
)

// Variables of the tools of hosts begin with the first of these, those that are the agent's alone with the second.
const (
	clientPrefix = "CAUASE_"
	agentPrefix  = "CAUASE_UPDATER_"
)

// shared are the variables of the tools of hosts: what is for one of them is no mistake in the environment of another.
var shared = []string{
	"CAUASE_AUTHORITY", "CAUASE_CATCH_UP", "CAUASE_CAUCASE", "CAUASE_CA_CRT", "CAUASE_CA_FINGERPRINT", "CAUASE_CA_URL", "CAUASE_CONFIG",
	"CAUASE_CONTEXT", "CAUASE_CRL", "CAUASE_INVITE", "CAUASE_JSON", "CAUASE_KEY_TYPE", "CAUASE_MODE", "CAUASE_ON_RENEW", "CAUASE_QUIET",
	"CAUASE_ROOT_CA", "CAUASE_STORE", "CAUASE_STRICT_HTTPS", "CAUASE_THRESHOLD", "CAUASE_USER_CA_CRT", "CAUASE_USER_CRL", "CAUASE_USER_KEY",
}

// told are variables by which a program of --on-renew is told what has changed. It may call our tools.
var told = []string{"CAUASE_CA", "CAUASE_CAS_CA", "CAUASE_CHANGED", "CAUASE_CRT", "CAUASE_KEY", "CAUASE_NAME", "CAUASE_ROOT"}

// foreign are variables that are nobody's settings: of the tests, and those that Kubernetes and Docker set in every container
// for a service named cauase, or cauase-something.
var foreign = regexp.MustCompile(`^CAUASE_((TEST|BENCH|PGTEST|VERIFIERS|FLOOD)_.+|REQUIRE_ALL|SOAK|MILLIONS|FLOOD|CRASH|CRASH_LEDGER|FAULTS|FAULTS_RECEIVES|CLOCK_OFFSET|` +
	`([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP)(_(ADDR|PORT|PROTO))?)|ENV_[A-Za-z0-9_]+)$`)

// Variables returns the environment variables that the options of a tool, and those of its commands, have their values from.
func Variables(app *urfave.App) []string {
	names := flagVariables(app.Flags)
	var add func(commands []*urfave.Command)
	add = func(commands []*urfave.Command) {
		for _, command := range commands {
			names = append(names, flagVariables(command.Flags)...)
			add(command.Subcommands)
		}
	}
	add(app.Commands)
	slices.Sort(names)
	return slices.Compact(names)
}

func flagVariables(flags []urfave.Flag) (names []string) {
	for _, flag := range flags {
		if f, ok := flag.(urfave.DocGenerationFlag); ok {
			names = append(names, f.GetEnvVars()...)
		}
	}
	return names
}

// EnvironmentNames are the names of the variables in our environment.
func EnvironmentNames() (names []string) {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// checkEnvironment refuses variables that are settings of a tool of hosts but for a slip, as whoever misspells one believes it to
// be in force. Others that look like settings and are none may be somebody else's: of those w is told.
func checkEnvironment(w io.Writer, app *urfave.App, names []string) error {
	if app.Name != "cauase" && !strings.HasPrefix(app.Name, "cauase-") {
		return nil // the daemon has its own, and refuses all that it does not know
	}
	known := slices.Concat(shared, Variables(app))
	var all error
	for _, name := range names {
		prefix := prefixOf(name)
		ours := slices.ContainsFunc(known, func(k string) bool { return prefixOf(k) == prefix })
		if !ours || slices.Contains(known, name) || slices.Contains(told, name) || foreign.MatchString(name) {
			continue
		}
		meant, slip := meantVariable(name, known)
		err := fmt.Errorf("environment variable %s: there is no such setting", pki.EscapeText(name))
		switch {
		case slip:
			all = errors.Join(all, WithHint(err, "did you mean %s?", meant))
		case meant != "":
			Warn(w, app.Name, err.Error(), "did you mean "+meant+"?")
		default:
			Warn(w, app.Name, err.Error(), app.Name+" --help names those that there are")
		}
	}
	return all
}

// messagesOf is where warnings go before a command runs, in the form that its own have.
func messagesOf(app *urfave.App, args []string) io.Writer {
	if _, done := app.ErrWriter.(jsonMessages); !done && WantsJSON(app, args) {
		return jsonMessages{app.ErrWriter}
	}
	return app.ErrWriter
}

// onlyExplains reports whether a command line asks about the tool itself, by which one finds out what to write into the
// environment.
func onlyExplains(app *urfave.App, args []string) bool {
	if len(args) < 2 {
		return len(app.Commands) > 0
	}
	return follow(app, args[1:]).path == "completion" || slices.ContainsFunc(args[1:], func(arg string) bool {
		return asksHelp(arg) || slices.Contains([]string{"--version", "-version", "-v", "--v", generateMan}, arg) || strings.HasPrefix(arg, generateCompletion)
	})
}

// prefixOf is what variables of the same tools have in front, whatever its case; "" for what is none of ours.
func prefixOf(name string) string {
	for _, prefix := range []string{agentPrefix, clientPrefix} {
		if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return prefix
		}
	}
	return ""
}

// meantVariable is which of known somebody may have meant, "" for none, and whether but for a slip of the pen it is that one.
func meantVariable(name string, known []string) (meant string, slip bool) {
	prefix := prefixOf(name)
	word := plainName(name[len(prefix):])
	best := min(len(word)/4, 3) + 1 // fewer slips than in what somebody has just typed: others may have variables, too
	for _, candidate := range known {
		if prefixOf(candidate) != prefix {
			continue
		}
		if d := slips(word, plainName(candidate[len(prefix):])); d < best {
			best, meant = d, candidate
		}
	}
	if meant != "" {
		return meant, true
	}
	for _, candidate := range known {
		rest, found := strings.CutPrefix(candidate, prefix)
		if whole := "_" + rest + "_"; found && len(word) > 2 && (strings.Contains(whole, "_"+strings.ToUpper(name[len(prefix):])+"_")) {
			return candidate, false
		}
	}
	return "", false
}
