package cli

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// numberApp prints the values of its flags.
func numberApp(out *bytes.Buffer) *urfave.App {
	app := NewApp("tool", "", out, out)
	app.Flags = []urfave.Flag{
		Int(urfave.IntFlag{Name: "count", Aliases: []string{"n"}, Value: 7, EnvVars: []string{"TOOL_COUNT"}}),
		Float64(urfave.Float64Flag{Name: "days", Value: 1.5, EnvVars: []string{"TOOL_DAYS"}}),
		Duration(urfave.DurationFlag{Name: "for", Value: time.Minute, EnvVars: []string{"TOOL_FOR"}}),
	}
	app.Action = func(c *urfave.Context) error {
		_, err := fmt.Fprint(out, c.Int("count"), " ", c.Float64("days"), " ", c.Duration("for"), " ", c.IsSet("count") || c.IsSet("n"), c.IsSet("days"), c.IsSet("for"))
		return err
	}
	return app
}

func TestNumbersAreDecimal(t *testing.T) {
	for _, test := range []struct{ flag, value, want string }{
		{"count", "12", "12 1.5 1m0s true false false"},
		{"count", "-3", "-3 1.5 1m0s true false false"},
		{"count", "010", "10 1.5 1m0s true false false"},
		{"days", "0.5", "7 0.5 1m0s false true false"},
		{"days", "1e3", "7 1000 1m0s false true false"},
		{"days", "-1", "7 -1 1m0s false true false"},
		{"for", "90s", "7 1.5 1m30s false false true"},
		{"for", "1d12h", "7 1.5 36h0m0s false false true"},
		{"for", "90", "7 1.5 1m30s false false true"}, // seconds

		{"count", "0x10", ""}, {"count", "0b1", ""}, {"count", "0o7", ""}, {"count", "1_000", ""}, {"count", "1e3", ""}, {"count", "1.0", ""},
		{"count", "+1", ""}, {"count", " 1", ""}, {"count", "--1", ""}, {"count", "-", ""}, {"count", "9223372036854775808", ""}, {"count", "१", ""},
		{"days", "0x1p4", ""}, {"days", "inf", ""}, {"days", "NaN", ""}, {"days", "Infinity", ""}, {"days", "1_0", ""}, {"days", "1e999", ""}, {"days", "1,5", ""},
		{"for", "+1h", ""}, {"for", "-1h", ""}, {"for", "-5", ""}, {"for", "1e99", ""}, {"for", "0x1h", ""}, {"for", "1h-5m", ""},
	} {
		for _, how := range []string{"--" + test.flag + "=", "TOOL_" + strings.ToUpper(test.flag) + "="} {
			t.Run(how+test.value, func(t *testing.T) {
				args := []string{"tool"}
				if name, isVariable := strings.CutSuffix(how, "="); isVariable && strings.HasPrefix(how, "TOOL") {
					t.Setenv(name, test.value)
				} else {
					args = append(args, how+test.value)
				}
				var out bytes.Buffer
				err := numberApp(&out).RunContext(t.Context(), args)
				switch {
				case test.want == "" && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", test.value))):
					t.Errorf("taken, or not named: %v, %s", err, out.String())
				case test.want != "" && (err != nil || out.String() != test.want):
					t.Errorf("%s, want %s: %v", out.String(), test.want, err)
				}
			})
		}
	}
	// An empty variable is none, and what a command line says comes before one.
	t.Setenv("TOOL_COUNT", "")
	t.Setenv("TOOL_DAYS", "8")
	var out bytes.Buffer
	if err := numberApp(&out).RunContext(t.Context(), []string{"tool", "-n", "5", "--days", "9"}); err != nil || out.String() != "5 9 1m0s true true false" {
		t.Errorf("%s, %v", out.String(), err)
	}
	out.Reset()
	t.Setenv("TOOL_FOR", "2h")
	if err := numberApp(&out).RunContext(t.Context(), []string{"tool", "--help"}); err != nil || !strings.Contains(out.String(), "(default: 1m0s) [$TOOL_FOR]") || !strings.Contains(out.String(), "(default: 7)") {
		t.Errorf("%s, %v", out.String(), err)
	}
}

// Whoever adds a flag of a number takes one of these.
func TestAllToolsReadNumbersAlike(t *testing.T) {
	library := regexp.MustCompile(`&(urfave|cli)\.(Int|Int64|Uint|Uint64|Float64|Duration)(Slice)?Flag\{`)
	looked := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if found := library.Find(source); found != nil {
			t.Errorf("%s has a flag %s…}: numbers are read by cli.Int, cli.Float64 and cli.Duration", path, found)
		}
		looked++
		return err
	})
	if err != nil || looked < 100 {
		t.Errorf("%d files, %v", looked, err)
	}
}
