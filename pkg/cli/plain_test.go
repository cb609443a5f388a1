package cli

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// goTexts are words that only those know who know Go.
var goTexts = []string{"strconv", "json:", "asn1:", "x509:", "tls:", "dial tcp", "Get \"", "net/http", "parse error", "flag provided", "flag needs", "for flag -", "lookup ", "unmarshal", "jsontext", "deadline exceeded", "toml:", "time: "}

// The errors are those that the libraries make themselves, not what this test takes for them.
func TestLibrariesAreTranslated(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	listener.Close()
	get := func(url string) error {
		response, err := http.Get(url) //nolint:noctx // it is the message that counts
		if err == nil {
			response.Body.Close()
		}
		return err
	}
	var number struct{ N int }
	_, atoi := strconv.Atoi("x1")
	_, wide := strconv.ParseUint("99999999999999999999", 10, 64)
	_, duration := time.ParseDuration("soon")
	_, der := asn1.Unmarshal([]byte{0x30, 0x05, 1}, &struct{ A int }{})
	_, lookup := new(net.Dialer).DialContext(t.Context(), "tcp", "no-such-host.invalid:80")
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, late := new(net.Dialer).DialContext(expired, "tcp", "192.0.2.1:80")
	for want, err := range map[string]error{
		"http://" + nobody + ": nothing listens at " + nobody + " (connection refused)": get("http://" + nobody),
		"it is from a CA that is not trusted here":                                      get(secure.URL),
		"what answers there speaks no TLS: is it the port of HTTP?":                     get("https://" + plain.Listener.Addr().String()),
		`"x1" is not a number`:                                 atoi,
		`"99999999999999999999" is out of range`:               wide,
		`"soon" is not a duration such as`:                     duration,
		"not valid DER: ":                                      der,
		"not valid JSON (unexpected end of JSON input)":        json.Unmarshal([]byte("{"), &number),
		"not valid JSON (invalid character":                    json.Unmarshal([]byte("x"), &number),
		"JSON has a string where something else":               json.Unmarshal([]byte(`{"N": "x"}`), &number),
		"JSON has an array where something else is expected\n": errors.New("json: unable to unmarshal JSON array into Go envelope.wire"), // or: cannot
		"no-such-host.invalid":                                 lookup,
		"cannot find the host ca.example (no such host)\n":     errors.New("lookup ca.example on 192.0.2.1:53: no such host"),
		"cannot look up the host ca.example: the name server":  errors.New("dial tcp: lookup ca.example on 192.0.2.1:53: read udp 192.0.2.9:4711->192.0.2.1:53: i/o timeout"),
		"name server does not answer (server misbehaving)\n":   errors.New("lookup ca.example on 192.0.2.1:53: server misbehaving"),
		"cannot connect: unknown port\n":                       errors.New("dial tcp: unknown port"),
		"in time":                                              late,
	} {
		if err == nil {
			t.Errorf("%s: no error", want)
			continue
		}
		var out bytes.Buffer
		Report(&out, "x", err)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q becomes %q, want %q", err, out.String(), want)
		}
		for _, word := range goTexts {
			if strings.Contains(out.String(), word) {
				t.Errorf("%q becomes %q, which still says %q", err, out.String(), word)
			}
		}
	}
	// What is ours stays as it is, also where a path looks like it.
	for _, text := range []string{"/etc/nginx/tls: is a directory", "web.pem holds no private key", `CN="json: x"`} {
		if got := Plain(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// sampleApp has commands in groups, as our tools do.
func sampleApp(out io.Writer) *urfave.App {
	app := NewApp("tool", "", out, out)
	done := func(c *urfave.Context) error { _, err := io.WriteString(out, "ran "+c.Command.Name); return err }
	app.Action = Group
	app.Flags = []urfave.Flag{
		Days(urfave.Float64Flag{Name: "threshold", EnvVars: []string{"TOOL_THRESHOLD"}}), Int(urfave.IntFlag{Name: "count", EnvVars: []string{"TOOL_COUNT"}}),
		Duration(urfave.DurationFlag{Name: "wait"}), &urfave.BoolFlag{Name: "json", EnvVars: []string{"TOOL_JSON"}}, &urfave.StringFlag{Name: "ca-url"},
	}
	app.Commands = []*urfave.Command{
		{Name: "csr", Subcommands: []*urfave.Command{{Name: "list", Action: done}, {Name: "sign", Action: done, Flags: []urfave.Flag{&urfave.StringFlag{Name: "profile"}}}}},
		{Name: "crt", Subcommands: []*urfave.Command{{Name: "renew", Action: done}, {Name: "list", Action: done}}},
	}
	return app
}

// TestHelpBehindArguments: whoever adds --help to a line that is written already is told of its command. The parser has
// options first, as tools arrange them.
func TestHelpBehindArguments(t *testing.T) {
	help := func(app *urfave.App, out *bytes.Buffer, line string) string {
		out.Reset()
		if err := Run(t.Context(), app, append([]string{"tool"}, strings.Fields(line)...)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		return out.String()
	}
	var out bytes.Buffer
	for line, same := range map[string]string{"csr sign --help 1 2": "csr sign --help", "csr sign --profile x -h 1": "csr sign --help", "crt list --help x": "crt list --help"} {
		if got, want := help(sampleApp(&out), &out, line), help(sampleApp(&out), &out, same); got != want || !strings.Contains(got, "USAGE:") {
			t.Errorf("%s says %s", line, got)
		}
	}
	single := func() *urfave.App {
		app := sampleApp(&out)
		app.Commands = nil
		return app
	}
	if got, want := help(single(), &out, "--help http://x"), help(single(), &out, "--help"); got != want || !strings.Contains(got, "USAGE:") {
		t.Errorf("a tool without commands says %s", got)
	}
}

func TestCommandLinesThatAreWrong(t *testing.T) {
	for line, want := range map[string]string{
		"--treshold 3":          "did you mean --threshold?",
		"csr list --treshold 3": "error: there is no option --treshold\ntool: hint: did you mean --threshold? tool csr list --help lists the options",
		"csr sign --profil x":   "did you mean --profile?",
		"csr list --profile x":  "hint: tool csr sign has it; tool csr list --help",
		"--ca_url x":            "did you mean --ca-url?",
		"--CA-URL x":            "did you mean --ca-url?",
		"--frobnicate":          "error: there is no option --frobnicate\ntool: hint: tool --help lists the options",
		"--ca-url":              "error: --ca-url needs a value",
		"--threshold soon":      `error: --threshold: "soon" is not a time such as 31 (days), 31d or 12h`,
		"--count 1.5":           `error: --count: "1.5" is not a whole number in decimal digits`,
		"--wait 3x":             `error: --wait: "3x" is neither a number nor a duration such as 90s`,
		"--wait -3":             `error: --wait: "-3" is out of range`,
		"--json=perhaps":        `error: --json "perhaps": it is on or off`,
		"csr lst":               "error: there is no command \"csr lst\"\ntool: hint: did you mean tool csr list? tool csr --help lists the commands",
		"list":                  "did you mean tool csr list or tool crt list?",
		"renew":                 "did you mean tool crt renew?",
		"CRT renew":             "did you mean tool crt?",
		"manage list":           "hint: cauased manage administers the database",
		"frobnicate":            "hint: tool --help lists the commands",
		"csr frobnicate":        "hint: tool csr --help lists the commands",
		"csr --help lst":        "did you mean tool csr list?",
		"--help frobnicate":     "error: there is no command \"frobnicate\"\ntool: hint: tool --help lists the commands",
	} {
		var out bytes.Buffer
		code := Report(&out, "tool", Run(t.Context(), sampleApp(&out), append([]string{"tool"}, strings.Fields(line)...)))
		if code != ExitError || !strings.Contains(out.String(), want) || strings.Contains(out.String(), "ran ") {
			t.Errorf("%s: exit %d: %s\nwant %s", line, code, out.String(), want)
		}
		for _, word := range goTexts {
			if strings.Contains(out.String(), word) {
				t.Errorf("%s: says %q: %s", line, word, out.String())
			}
		}
	}
	for variable, want := range map[string]string{"TOOL_THRESHOLD": "is not a time such as 31", "TOOL_COUNT": "is not a whole number", "TOOL_JSON": "TOOL_JSON=true does what --json does"} {
		t.Setenv(variable, "perhaps")
		var out bytes.Buffer
		if code := Report(&out, "tool", Run(t.Context(), sampleApp(&out), []string{"tool", "csr", "list"})); code != ExitError || !strings.Contains(out.String(), "environment variable "+variable+": ") || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit %d: %s", variable, code, out.String())
		}
		os.Unsetenv(variable)
	}
}

func TestHelpAndVersionAreCommands(t *testing.T) {
	for line, want := range map[string]string{
		"help": "tool [global options] command", "version": "tool version", "help csr": "tool csr [command options]", "csr help": "tool csr [command options]",
		"help csr sign": "tool csr sign", "csr help sign": "tool csr sign", "csr sign --help": "tool csr sign", "-- help csr sign": "tool csr sign", "csr -- help sign": "tool csr sign",
		"--json version": `"version": "`, "--json help csr sign": "tool csr sign", "--threshold 5 csr help sign": "tool csr sign", "--threshold=5 help": "tool [global options] command",
		"csr sign help": "ran sign", // an argument
		"csr":           "tool csr [command options]",
	} {
		var out bytes.Buffer
		if err := Run(t.Context(), sampleApp(&out), append([]string{"tool"}, strings.Fields(line)...)); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v: %s\nwant %s", line, err, out.String(), want)
		}
	}
}

func TestClosest(t *testing.T) {
	known := []string{"keyCompromise", "superseded", "ca-url", "authority", "list"}
	for word, want := range map[string]string{
		"keycompromise": "keyCompromise", "key-compromise": "keyCompromise", "KEY_COMPROMISE": "keyCompromise", "supersede": "superseded", "auth": "authority",
		"lits": "list", "": "", "xyz": "", "frobnicate": "", "li": "", "caurl": "ca-url", "ca-ulr": "ca-url", "ca-rlu": "", "ilst": "list",
	} {
		if got := Closest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if got, err := Choice("--reason", "KEY-compromise", known); got != "keyCompromise" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Choice("--reason", "keykompromise", known); err == nil {
		t.Error("what is only like a name passes for it")
	}
}

// Colours are for terminals.
func TestNoColoursInFiles(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, w := range []io.Writer{f, new(bytes.Buffer)} {
		if got := Label(w, "error"); got != "error:" {
			t.Errorf("%q", got)
		}
	}
}
