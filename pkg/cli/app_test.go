package cli

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

func TestArrange(t *testing.T) {
	flags := []urfave.Flag{
		Several(urfave.StringSliceFlag{Name: "file"}),
		&urfave.StringSliceFlag{Name: "only"},
		&urfave.StringFlag{Name: "one"},
		&urfave.BoolFlag{Name: "json"},
	}
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "t", "t"},
		{"flags after arguments", "t url --json --one x", "t --json --one x -- url"},
		{"one value each time", "t --only a b --only c", "t --only a --only c -- b"},
		{"several values", "t --file a b --json --file c", "t --file a --file b --json --file c"},
		{"equals sign", "t --file=a b --one=x", "t --file=a --one=x -- b"},
		{"value that is missing", "t url --one", "t --one"},
		{"value that is missing before a flag", "t --file --json url", "t --file"},
		{"value that looks like a flag", "t --one -x url", "t --one -x -- url"},
		{"after two dashes nothing is a flag", "t -- --json", "t -- --json"},
		{"unknown flag", "t --nope url", "t --nope -- url"},
		{"a lone dash is an argument", "t - --json", "t --json -- -"},
		{"completion stays", "t --one x --generate-bash-completion", "t --one x --generate-bash-completion"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Arrange(strings.Fields(c.in), flags); !slices.Equal(got, strings.Fields(c.want)) {
				t.Errorf("%q becomes %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func TestDocuments(t *testing.T) {
	document := func(t *testing.T, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		app := NewApp("cauase-thing", "do things", &out, &out)
		app.Flags = []urfave.Flag{&urfave.StringFlag{Name: "one", Usage: "the `ONE`"}}
		if err := Run(t.Context(), app, append([]string{"cauase-thing"}, args...)); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	man := document(t, "--generate-man")
	if !strings.Contains(man, `.TH CAUASE\-THING 1 `) || !strings.Contains(man, `\-\-one`) {
		t.Errorf("manual page:\n%s", man)
	}
	if again := document(t, "--generate-man"); again != man {
		t.Error("the manual page is another one each time")
	}
	for shell, want := range map[string]string{
		"bash": "-F _cauase_thing cauase-thing",
		"zsh":  "#compdef cauase-thing",
		"fish": "complete -c cauase-thing",
	} {
		script := document(t, "--generate-completion="+shell)
		if !strings.Contains(script, want) {
			t.Errorf("%s:\n%s", shell, script)
		}
		if path, err := exec.LookPath(shell); err == nil {
			check := exec.Command(path, "-n")
			check.Stdin = strings.NewReader(script)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s -n: %v\n%s", shell, err, out)
			}
		}
	}
	var out bytes.Buffer
	if err := Run(t.Context(), NewApp("x", "", &out, &out), []string{"x", "--generate-completion=tcsh"}); err == nil {
		t.Error("a completion script for tcsh:", out.String())
	}
}
