package deployment

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// Manual pages have all that manual pages have, of every command there is, and mandoc finds nothing to say about them.
func TestManualPages(t *testing.T) {
	need(t, "mandoc", "mandoc")
	tools, err := makefileTools()
	if err != nil {
		t.Fatal(err)
	}
	for tool := range tools {
		t.Run(tool, func(t *testing.T) {
			section := "1"
			if tool == "cauased" || tool == "cauase-updater" {
				section = "8"
			}
			dir := t.TempDir()
			path := filepath.Join(dir, tool+"."+section)
			write(t, path, must(t, dir, tool, "--generate-man"), 0o644)
			if out, err := exec.Command("mandoc", "-Tlint", path).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("mandoc -Tlint: %v\n%s", err, out)
			}
			page := must(t, dir, "mandoc", "-Tutf8", "-O", "width=500", path)
			page = regexp.MustCompile(".\b").ReplaceAllString(page, "") // what is overstruck is bold
			for _, heading := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"} {
				if !strings.Contains("\n"+page, "\n"+heading+"\n") {
					t.Errorf("there is no %s", heading)
				}
			}
			for _, command := range commandsOf(t, tool) {
				if !strings.Contains(page, "\n   "+command+"\n") {
					t.Errorf("there is no %s", command)
				}
			}
		})
	}
}

// commandsOf are all the commands of a tool, as their help lists them.
func commandsOf(t *testing.T, words ...string) (all []string) {
	t.Helper()
	help := must(t, t.TempDir(), append(slices.Clone(words), "--help")...)
	_, list, found := strings.Cut(help, "\nCOMMANDS:\n")
	// serve is what the daemon does without a command, and its help the same.
	if !found || !strings.HasPrefix(help, "NAME:\n   "+strings.Join(words, " ")+" - ") {
		return nil
	}
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		if name := strings.Fields(line); strings.HasPrefix(line, "   ") && !strings.HasPrefix(line, "    ") && len(name) > 0 {
			path := append(slices.Clone(words), name[0])
			all = append(append(all, strings.Join(path, " ")), commandsOf(t, path...)...)
		}
	}
	return all
}

// The help of each command says with what it exits, and has an example.
func TestHelpOfCommands(t *testing.T) {
	for _, tool := range []string{"cauase", "cauased"} {
		commands := commandsOf(t, tool)
		if len(commands) < 20 {
			t.Fatalf("%s has %d commands only: %q", tool, len(commands), commands)
		}
		for _, command := range commands {
			words := strings.Fields(command)
			help := must(t, t.TempDir(), append(words, "--help")...)
			if strings.Contains(help, "\nCOMMANDS:\n") {
				continue
			}
			if !strings.Contains(help, "EXIT CODES:\n   0  ") {
				t.Errorf("%s does not say with what it exits", command)
			}
			if !strings.Contains(help, "EXAMPLES:\n") && !regexp.MustCompile(`(?m)^   Examples?:$`).MatchString(help) {
				t.Errorf("%s has no example", command)
			}
			if tool == "cauase" && command != "cauase completion" && !strings.Contains(help, "\nGLOBAL OPTIONS that it uses") {
				t.Errorf("%s does not say which global options matter", command)
			}
		}
	}
}

// A completion is what a shell offers behind a command line, whose last word is at work. Files are those of site.
type completion struct {
	words []string
	want  []string // exactly; nil: whatever there is
	among []string // at least
	not   []string

	patient bool // a daemon is asked, which is given up after a second: a busy machine may need more than one try
}

var completions = []completion{
	{words: []string{"cauase", "cs"}, want: []string{"csr"}},
	{words: []string{"cauase", "csr", ""}, want: []string{"get", "list", "reject", "send", "show", "sign"}},
	{words: []string{"cauase", "--json", "csr", "re"}, want: []string{"reject"}},
	{words: []string{"cauase", "csr", "sign", "--d"}, want: []string{"--decimal", "--digest"}},
	{words: []string{"cauase", "csr", "sign", "--user-k"}, want: []string{"--user-key"}},
	{words: []string{"cauase", "crt", "revoke", "--reason", "key"}, want: []string{"keyCompromise"}},
	{words: []string{"cauase", "request", "--eku", "se"}, want: []string{"server"}},
	{words: []string{"cauase", "request", "--profile", "server"}, want: []string{"server", "server-client"}},
	{words: []string{"cauase", "--key-type", "ed"}, want: []string{"ed25519"}},
	{words: []string{"cauase", "--mode", ""}, want: []string{"service", "user"}},
	{words: []string{"cauase", "--context", ""}, want: []string{"home", "ids", "lab"}},
	{words: []string{"cauase", "completion", "b"}, want: []string{"bash"}},
	{words: []string{"cauase", "csr", "list", "x"}, want: []string{}},
	{words: []string{"cauase", "sign", "--crt", "w"}, among: []string{"www.pem"}, not: []string{"www.toml", "www.csr"}},
	{words: []string{"cauase", "csr", "sign", "--csr", "w"}, among: []string{"www.csr"}, not: []string{"www.toml"}},
	{words: []string{"cauase", "crt", "show", "w"}, among: []string{"www.pem", "www.toml"}},
	{words: []string{"cauase", "crt", "renew", "w"}, among: []string{"www.pem"}, not: []string{"www.toml"}},
	{words: []string{"cauase", "--context", "ids", "csr", "sign", "10"}, want: []string{"1000", "1001"}, patient: true},
	{words: []string{"cauase", "--context", "ids", "csr", "reject", "1001"}, want: []string{"1001"}, patient: true},
	{words: []string{"cauase", "--context", "ids", "csr", "show", ""}, among: []string{"1000", "1001", "www.csr"}, patient: true},
	{words: []string{"cauased", "--fork", "re"}, want: []string{"refuse"}},
	{words: []string{"cauased", "--log-level", "w"}, want: []string{"warn"}},
	{words: []string{"cauased", "manage", "authority", "a"}, want: []string{"add"}},
	{words: []string{"cauased", "manage", "authority", "add", "--rol"}, want: []string{"--role"}},
	{words: []string{"cauased", "manage", "authority", "add", "--role", "r"}, want: []string{"root"}},
	{words: []string{"cauased", "--config", "w"}, among: []string{"www.toml"}, not: []string{"www.pem"}},
	{words: []string{"cauase-updater", "--mode", "u"}, want: []string{"user"}},
	{words: []string{"cauase-updater", "--log-format", ""}, want: []string{"json", "text"}},
	{words: []string{"cauase-probe", "--authority", ""}, want: []string{"cas", "cau"}},
	{words: []string{"cauase-rerequest", "--template", "w"}, among: []string{"www.csr"}, not: []string{"www.toml"}},
	{words: []string{"cauase-key-id", "--pl"}, want: []string{"--plain"}},
}

// withPending starts a daemon with requests that are pending, and returns a context of it.
func withPending(t *testing.T, dir string) string {
	t.Helper()
	daemon := clienttest.Start(t, clock.NewFake(time.Now()))
	c, err := client.New(client.Options{URL: daemon.URL, Authority: client.CAS, Clock: daemon.Clock})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one: a", "two"} {
		if _, err := c.Submit(t.Context(), pkitest.NamedRequest(t, pkitest.Key(t), name)); err != nil {
			t.Fatal(err)
		}
	}
	key := pkitest.Key(t)
	secret, err := pki.EncodePrivateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	crt := daemon.CAU.Issue(pkitest.ParsedRequest(t, key, pkitest.Named("user")).CSR, key.Public())
	user := filepath.Join(dir, "config/cauase/user.pem")
	write(t, user, string(secret)+string(pki.EncodeCertificatePEM(crt.Raw)), 0o600)
	if err := os.Mkdir(filepath.Join(dir, "config/cauase/ids"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config/cauase/ids/cas.crt.pem"), string(pki.EncodeCertificatePEM(daemon.CAS.Oldest().Raw)), 0o600)
	return "[context.ids]\nca-url = \"" + daemon.URL + "\"\nuser-key = \"user.pem\"\n"
}

// offers runs a shell that prints what it offers.
func offers(t *testing.T, dir string, argv []string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%q: %v", argv, err)
		return nil
	}
	got := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if offered, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); offered != "" {
			got[offered] = true
		}
	}
	return slices.Sorted(maps.Keys(got))
}

// testCompletion asks a shell what it offers.
func testCompletion(t *testing.T, shell, name string, ask func(c completion) (argv []string)) {
	need(t, shell, name)
	dir := t.TempDir()
	for _, file := range []string{"www.pem", "www.csr", "www.toml", "with space.pem"} {
		write(t, filepath.Join(dir, file), "", 0o644)
	}
	if err := os.MkdirAll(filepath.Join(dir, "config/cauase"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config/cauase/cauase.toml"), "[context.lab]\nca-url = \"http://lab.example\"\n[context.home]\nca-url = \"http://home.example\"\n"+withPending(t, dir), 0o600)
	for _, c := range completions {
		var offered []string
		for range 20 {
			if offered = offers(t, dir, ask(c)); !c.patient || slices.Contains(offered, "1001") {
				break
			}
		}
		got := map[string]bool{}
		for _, one := range offered {
			got[one] = true
		}
		if c.want != nil && !slices.Equal(offered, c.want) {
			t.Errorf("%s: %q is completed to %q, want %q", shell, c.words, offered, c.want)
		}
		for _, one := range c.among {
			if !got[one] {
				t.Errorf("%s: %q is completed to %q, which lacks %s", shell, c.words, offered, one)
			}
		}
		for _, one := range c.not {
			if got[one] {
				t.Errorf("%s: %q is completed to %q, which has %s", shell, c.words, offered, one)
			}
		}
	}
}

func TestCompletionInBash(t *testing.T) {
	testCompletion(t, "bash", "bash", func(c completion) []string {
		// As readline does: the words and which of them is at work, then what the function has found.
		script := `tool=$1; source <("$tool" --generate-completion=bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "_${tool//-/_}" "$tool" "${COMP_WORDS[COMP_CWORD]}"; printf '%s\n' "${COMPREPLY[@]}"`
		return append([]string{"bash", "-c", script, "bash"}, c.words...)
	})
	// Readline parts words at equals signs.
	out := must(t, t.TempDir(), "bash", "-c", `source <(cauase --generate-completion=bash)
COMP_WORDS=(cauase --mode = u); COMP_CWORD=3; _cauase; echo "${COMPREPLY[@]}"
COMP_WORDS=(cauase --mode =); COMP_CWORD=2; _cauase; echo "${COMPREPLY[@]}"`)
	if out != "user\nservice user\n" {
		t.Errorf("behind an equals sign: %q", out)
	}
}

func TestCompletionInZsh(t *testing.T) {
	testCompletion(t, "zsh", "zsh", func(c completion) []string {
		// The functions of zsh's own that the script calls put in a terminal what these print.
		script := `compdef() {}
_describe() { local one; for one in "${(@P)2}"; do print -r -- "${${one//\\:/$'\1'}%%:*}"; done }
_files() { if [[ $1 == -g ]]; then print -rl -- ${word}*${~2}(N) ; else print -rl -- ${word}*(N); fi }
tool=$1 words=("$@") CURRENT=$# word=${@[-1]}
source =("$tool" --generate-completion=zsh)
"_${tool//-/_}" || true`
		return append([]string{"zsh", "-f", "-o", "extendedglob", "-c", script, "zsh"}, c.words...)
	})
}

func TestCompletionInFish(t *testing.T) {
	testCompletion(t, "fish", "fish", func(c completion) []string {
		line := strings.Join(c.words, " ")
		return []string{"fish", "--no-config", "-c", c.words[0] + " --generate-completion=fish | source; complete -C " + "'" + line + "'"}
	})
}
