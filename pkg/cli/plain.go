package cli

import (
	"regexp"
	"strings"
	"sync"

	urfave "github.com/urfave/cli/v2"
)

// plainTexts are what the libraries below us say, in their own terms, and what people are told instead. The first that
// fits at a place counts; what other tools are searched for stays in parentheses. They are made when first needed: a daemon at rest needs none.
var plainTexts = sync.OnceValue(func() []plainText {
	return []plainText{
		{regexp.MustCompile(`(?:Get|Post|Put|Delete|Head|Patch) "([^"]+)": `), `$1: `},
		{regexp.MustCompile(`dial (?:tcp|udp)[46]? ([^ ]+): (?:connect: )?connection refused`), `nothing listens at $1 (connection refused)`},
		{regexp.MustCompile(`dial (?:tcp|udp)[46]? ([^ ]+): (?:connect: )?(no route to host|network is unreachable|host is down)`), `$1 cannot be reached ($2)`},
		{regexp.MustCompile(`dial (?:tcp|udp)[46]? ([^ ]+): i/o timeout`), `no answer from $1 in time (i/o timeout)`},
		{regexp.MustCompile(`(?:dial (?:tcp|udp)[46]?(?: [^ ]+)?: )?\blookup ([^ :]+)(?: on [^ ]+)?: no such host`), `cannot find the host $1 (no such host)`},
		{regexp.MustCompile(`(?:dial (?:tcp|udp)[46]?(?: [^ ]+)?: )?\blookup ([^ :]+)(?: on [^ ]+:\d+)?: (?:(?:read|dial) udp [^ ]+: )?(server misbehaving|Temporary failure in name resolution|i/o timeout|no answer from DNS server|.*connection refused)`), `cannot look up the host $1: the name server does not answer ($2)`},
		{regexp.MustCompile(`dial (?:tcp|udp)[46]?(?: [^ ]+)?: lookup ([^ :]+)(?: on [^ ]+)?: (.+)`), `cannot look up the host $1: $2`},
		{regexp.MustCompile(`dial (?:tcp|udp)[46]?(?: [^ ]+)?: (?:connect: )?(.+)`), `cannot connect: $1`},
		{regexp.MustCompile(`(?:read|write) (?:tcp|udp)[46]? [^ ]+->([^ ]+): (?:read: |write: )?(connection reset by peer|broken pipe)`), `$1 has cut off the connection ($2)`},
		{regexp.MustCompile(`context deadline exceeded(?: \(Client\.Timeout[^)]*\))?|net/http: request canceled(?: while waiting for connection)? \(Client\.Timeout[^)]*\)`), `no answer in time`},
		{regexp.MustCompile(`context canceled`), `interrupted (canceled)`},
		{regexp.MustCompile(`(?:net/http: )?(?:HTTP/1\.x transport connection broken: )?malformed HTTP (?:response|status code|version).*`), `what answers there does not speak HTTP: is it the port of HTTPS?`},
		{regexp.MustCompile(`http: server gave HTTP response to HTTPS client|tls: first record does not look like a TLS handshake`), `what answers there speaks no TLS: is it the port of HTTP?`},
		{regexp.MustCompile(`tls: failed to verify certificate: `), `the certificate cannot be verified: `},
		{regexp.MustCompile(`x509: certificate signed by unknown authority(?: \(possibly because of .*\))?`), `it is from a CA that is not trusted here (unknown authority)`},
		{regexp.MustCompile(`x509: certificate has expired or is not yet valid: (.*)`), `it has expired or is not yet valid: $1`},
		{regexp.MustCompile(`x509: certificate is valid for (.+), not (\S+)`), `it is for $1, not for $2`},
		{regexp.MustCompile(`x509: cannot validate certificate for (\S+) because it doesn't contain any IP SANs`), `it is not for the address $1`},
		{regexp.MustCompile(`asn1: (?:structure|syntax) error: `), `not valid DER: `},
		{regexp.MustCompile(`strconv\.\w+: parsing ("(?:[^"\\]|\\.)*"): value out of range`), `$1 is out of range`},
		{regexp.MustCompile(`strconv\.\w+: parsing ("(?:[^"\\]|\\.)*"): invalid syntax`), `$1 is not a number`},
		{regexp.MustCompile(`time: (?:invalid duration|unknown unit .* in duration|missing unit in duration) ("(?:[^"\\]|\\.)*")`), `$1 is not a duration such as 90s, 36h or 30d`},
		{regexp.MustCompile(`json: (?:cannot|unable to) unmarshal (?:JSON )?([aeiou]\w+)(?: into Go (?:.*?(?:field \S*?\.?(\w+) of type|value of type) )?\S+)?`), `JSON has an $1 where something else is expected`},
		{regexp.MustCompile(`json: (?:cannot|unable to) unmarshal (?:JSON )?(\w+)(?: into Go (?:.*?(?:field \S*?\.?(\w+) of type|value of type) )?\S+)?`), `JSON has a $1 where something else is expected`},
		{regexp.MustCompile(`json: unknown field `), `JSON has the unknown member `},
		{regexp.MustCompile(`(?:unexpected end of JSON input|invalid character '.+' (?:looking for beginning of|after|in (?:string|numeric|literal|\\u)) .*)`), `not valid JSON ($0)`},
		{regexp.MustCompile(`jsontext: `), `not valid JSON: `},
		{regexp.MustCompile(`(^|: )(?:x509|tls|net/http|pem|toml): `), `$1`},
	}
})

// A plainText is what a library says, and what people are told.
type plainText struct {
	said *regexp.Regexp
	tell string
}

// Plain says in words for users what a library has said.
func Plain(text string) string {
	for _, p := range plainTexts() {
		text = p.said.ReplaceAllString(text, p.tell)
	}
	return text
}

// What the flag parser says of a command line.
var (
	notDefined  = regexp.MustCompile(`^flag provided but not defined: -(.+)$`)
	needsMore   = regexp.MustCompile(`^flag needs an argument: -(.+)$`)
	badValue    = regexp.MustCompile(`(?s)^invalid value ("(?:[^"\\]|\\.)*") for flag -([^:]+): (.*)$`)
	badBoolean  = regexp.MustCompile(`^invalid boolean value ("(?:[^"\\]|\\.)*") for -([^:]+): (.*)$`)
	badSyntax   = regexp.MustCompile(`^bad flag syntax: (.*)$`)
	environment = regexp.MustCompile(`(?s)^could not parse ("(?:[^"\\]|\\.)*") (?:as ([\w ]+) value )?from environment variable ("[^"]*") (?:as value )?for flag ([^:]+): (.*)$`)
)

// UsageError says what is wrong with a command line, where the parser does not understand it, and what may have been meant.
func UsageError(c *urfave.Context, err error, _ bool) error {
	text := err.Error()
	help := Path(c) + " --help lists the options"
	switch {
	case notDefined.MatchString(text):
		name := notDefined.FindStringSubmatch(text)[1]
		err := plainError{err, "there is no option " + dashed(name)}
		if known := manualOf(c.App).Foreign[strings.TrimLeft(name, "-")]; known != "" {
			return WithHint(err, "%s", known)
		}
		if meant := Closest(name, optionNames(c)); meant != "" && meant != strings.TrimLeft(name, "-") {
			return WithHint(err, "did you mean %s? %s", dashed(meant), help)
		}
		if owner := commandWith(c, name); owner != "" {
			return WithHint(err, "%s has it; %s", owner, help)
		}
		return WithHint(err, "%s", help)
	case needsMore.MatchString(text):
		return WithHint(plainError{err, dashed(needsMore.FindStringSubmatch(text)[1]) + " needs a value"}, "%s", help)
	case badBoolean.MatchString(text):
		m := badBoolean.FindStringSubmatch(text)
		if !strings.Contains(m[3], "parse error") && !strings.Contains(m[3], "strconv.") {
			return WithHint(plainError{err, dashed(m[2]) + ": " + Plain(m[3])}, "%s", help)
		}
		return WithHint(plainError{err, dashed(m[2]) + " " + m[1] + ": it is on or off, and takes true or false at most"}, "leave out the value; %s", help)
	case badValue.MatchString(text):
		m := badValue.FindStringSubmatch(text)
		why := Plain(m[3])
		if why == "parse error" {
			why = m[1] + " is not what it takes"
		}
		if !strings.Contains(why, m[1]) {
			why = m[1] + ": " + why
		}
		return WithHint(plainError{err, dashed(m[2]) + ": " + why}, "%s", help)
	case badSyntax.MatchString(text):
		return WithHint(plainError{err, badSyntax.FindStringSubmatch(text)[1] + " is not an option"}, "%s", help)
	case environment.MatchString(text):
		m := environment.FindStringSubmatch(text)
		variable := strings.Trim(m[3], `"`)
		if m[2] == "bool" {
			return WithHint(plainError{err, "environment variable " + variable + ": " + m[1] + " is neither true nor false"},
				"%s=true does what %s does, and =false or an empty value what happens without it", variable, dashed(m[4]))
		}
		return WithHint(plainError{err, "environment variable " + variable + ": " + m[1] + " is not what " + dashed(m[4]) + " takes: " + Plain(m[5])}, "%s", help)
	}
	return WithHint(err, "%s", help)
}

// A plainError has another text than the error it is about.
type plainError struct {
	err  error
	text string
}

func (e plainError) Error() string { return e.text }
func (e plainError) Unwrap() error { return e.err }

func dashed(name string) string {
	if name = strings.TrimLeft(name, "-"); len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// optionNames are the options that may stand on the command line at hand.
func optionNames(c *urfave.Context) (names []string) {
	for _, level := range c.Lineage() {
		if level.Command != nil {
			names = append(names, flagNames(level.Command.Flags)...)
		}
	}
	return append(names, flagNames(c.App.Flags)...)
}

func flagNames(flags []urfave.Flag) (names []string) {
	for _, flag := range flags {
		if hidden, ok := flag.(urfave.VisibleFlag); ok && !hidden.IsVisible() {
			continue
		}
		for _, name := range flag.Names() {
			if len(name) > 1 {
				names = append(names, name)
			}
		}
	}
	return names
}

// commandWith is a command that has an option, "" if none has.
func commandWith(c *urfave.Context, name string) (found string) {
	eachCommand(c.App.Commands, c.App.HelpName, func(path string, command *urfave.Command) {
		if found == "" && find(command.Flags, name) != nil {
			found = path
		}
	})
	return found
}

// eachCommand calls do for each command that is shown, with its whole path.
func eachCommand(commands []*urfave.Command, path string, do func(path string, command *urfave.Command)) {
	for _, command := range commands {
		if command.Hidden {
			continue
		}
		do(path+" "+command.Name, command)
		eachCommand(command.Subcommands, path+" "+command.Name, do)
	}
}

// Path is the command at work as it is typed, the program's name first.
func Path(c *urfave.Context) string {
	if c.Command != nil && strings.HasPrefix(c.Command.HelpName, c.App.Name) {
		return c.Command.HelpName
	}
	return c.App.Name
}
