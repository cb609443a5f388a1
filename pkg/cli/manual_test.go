package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

func describedApp(out *bytes.Buffer) *urfave.App {
	app := NewApp("thing", "do things", out, out)
	app.Flags = []urfave.Flag{
		&urfave.StringFlag{Name: "mode", Usage: "in which `MODE` it works; not told briefly", EnvVars: []string{"THING_MODE"}},
		&urfave.StringFlag{Name: "config", Usage: "the `FILE`"},
		&urfave.BoolFlag{Name: "secret", Hidden: true},
	}
	app.Commands = []*urfave.Command{{
		Name: "group", Usage: "some", Subcommands: []*urfave.Command{
			{Name: "make", Usage: "make it", ArgsUsage: "FILE…", Flags: []urfave.Flag{&urfave.StringFlag{Name: "how", Usage: "the `WAY`"}},
				Description: "Makes it.\n\n  make \\ it\n.dot 'quote'\n"},
			{Name: "pick", ArgsUsage: "one|two", Usage: "pick one"},
			{Name: "hidden", Hidden: true},
		},
	}}
	Describe(app, Manual{
		Codes:    []ExitCode{{Code: 0, Text: "done"}, {Code: 2, Text: "half", Of: []string{"group make"}}},
		Globals:  map[string][]string{"group": {"mode"}},
		Values:   map[string][]string{"mode": {"Fast", "slow"}, "how": {"so"}},
		Files:    []Fact{{"/etc/thing", "what it is"}},
		Examples: []Example{{"thing group make --how so a.txt", "make one"}, {"thing --mode slow group pick two", "pick"}},
		SeeAlso:  []string{"other(1)"},
	})
	return app
}

func TestHelpOfCommand(t *testing.T) {
	var out bytes.Buffer
	if err := Run(t.Context(), describedApp(&out), []string{"thing", "group", "make", "--help"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"GLOBAL OPTIONS that it uses, of those in thing --help:\n   --mode MODE  in which MODE it works\n",
		"EXIT CODES:\n   0  done\n   2  half\n", "EXAMPLES:\n   make one:\n     thing group make --how so a.txt\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := Run(t.Context(), describedApp(&out), []string{"thing", "group", "pick", "--help"}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "half") || strings.Contains(out.String(), "make one") || !strings.Contains(out.String(), "--mode slow group pick two") {
		t.Errorf("help of another command:\n%s", out.String())
	}
}

func TestManPage(t *testing.T) {
	page := manPage(describedApp(&bytes.Buffer{}))
	for _, want := range []string{
		".SS thing group make\n", "Make it.\n", "thing group make [options] FILE\\[u2026]\n", "  make \\e it\n", "\\&.dot \\(aqquote\\(aq\n",
		".SH ENVIRONMENT\n.TP\n\\fBTHING_MODE\\fP\n", ".SH FILES\n", ".SH EXIT STATUS\n", ".SH EXAMPLES\n", ".SH SEE ALSO\n\\fBother\\fP(1)\n",
		"\\fB\\-\\-mode\\fP \\fIMODE\\fP\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("there is no %q in\n%s", want, page)
		}
	}
	if strings.Contains(page, "secret") || strings.Contains(page, "hidden") {
		t.Errorf("the page shows what is hidden:\n%s", page)
	}
	for line := range strings.Lines(page) {
		if len(line) > 81 {
			t.Errorf("longer than mandoc likes: %s", line)
		}
	}
}

func TestComplete(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  []string
	}{
		{[]string{""}, []string{"group"}},
		{[]string{"group", ""}, []string{"make", "pick"}},
		{[]string{"--mode", ""}, []string{"Fast", "slow"}},
		{[]string{"--mode", "f"}, []string{"Fast"}},
		{[]string{"--mode=S"}, []string{"--mode=slow"}},
		{[]string{"--mode", "=", "s"}, []string{"slow"}},
		{[]string{"--mode", "="}, []string{"Fast", "slow"}},
		{[]string{"--mode", "=", "slow", "gr"}, []string{"group"}},
		{[]string{"--config", ""}, []string{":files toml"}},
		{[]string{"--config="}, nil},
		{[]string{"--se"}, nil},
		{[]string{"group", "make", "-"}, []string{"--how", "--mode", "--help"}},
		{[]string{"group", "make", "--how", ""}, []string{"so"}},
		{[]string{"group", "make", "a", "b", ""}, []string{":files"}},
		{[]string{"group", "make", "--", "--h"}, []string{":files"}},
		{[]string{"group", "pick", "t"}, []string{"two"}},
		{[]string{"group", "pick", "two", ""}, nil},
		{[]string{"nowhere", ""}, nil},
		{nil, []string{"group"}},
	} {
		var out bytes.Buffer
		args := append(append([]string{"thing"}, c.words...), askCompletion)
		if err := Run(t.Context(), describedApp(&out), args); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			if value, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); value != "" {
				got = append(got, value)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q is completed to %q, want %q", c.words, got, c.want)
		}
	}
}
