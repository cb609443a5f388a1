package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

// What gives an option is the command line, else the first variable that is there, and an empty one gives none.
func TestGivenBy(t *testing.T) {
	for _, test := range []struct{ line, first, second, want string }{
		{"", "none", "none", ""},
		{"--ca-url x", "y", "z", "--ca-url"},
		{"--ca-url=x", "", "none", "--ca-url"},
		{"", "y", "z", "TOOL_ONE"},
		{"", "none", "z", "TOOL_TWO"},
		{"", "", "none", ""},
	} {
		for name, value := range map[string]string{"TOOL_ONE": test.first, "TOOL_TWO": test.second} {
			t.Setenv(name, value)
			if value == "none" {
				os.Unsetenv(name)
			}
		}
		var out bytes.Buffer
		got := "not run"
		app := NewApp("tool", "", &out, &out)
		app.Flags = []urfave.Flag{&urfave.StringFlag{Name: "ca-url", EnvVars: []string{"TOOL_ONE", "TOOL_TWO"}}}
		app.Action = func(c *urfave.Context) error { got = GivenBy(c, "ca-url"); return nil }
		if err := Run(t.Context(), app, append([]string{"tool"}, strings.Fields(test.line)...)); err != nil || got != test.want {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}
