package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/updater"
)

// onMachine has the configuration of all users of this host be content, and no variable of ours be set.
func onMachine(t *testing.T, content string) (file string) {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "CAUASE_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	file = filepath.Join(t.TempDir(), "cauase.toml")
	if content != "" {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := machineFile
	machineFile = file
	t.Cleanup(func() { machineFile = before })
	return file
}

const twoContexts = `current-context = "home"
threshold = "20d"

[context.home]
ca-url = "http://home.example:8009"
store = "trust"
on-renew = "reload"
ca-fingerprint = ["sha256:0c2ec373027b22dc7f29af79ebab18e64bcb8a50afce9a11a7bf18398c3ef2c2"]
user-key = "someone.pem"

[context.lab]
ca-url = "http://lab.example"
ca-crt = "lab/ca.pem"
crl = "/srv/lab.crl.pem"
key-type = "ed25519"
`

// A host is told once which CA to work with: jobs that say nothing of it take it from where all tools have it, and what is
// trusted there is trusted once.
func TestMachine(t *testing.T) {
	file := onMachine(t, twoContexts)
	dir := filepath.Dir(file)
	jobs, err := parseConfig([]byte("[[job]]\nname = \"a\"\ncrt = \"a.pem\"\n[[job]]\nname = \"b\"\ncontext = \"lab\"\nthreshold = 5\n"+
		"[[job]]\nname = \"c\"\nca-url = \"http://other.example\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\n"), "/srv", &machine{path: file})
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := jobs[0], jobs[1], jobs[2]
	if a.CAURL != "http://home.example:8009" || a.CA != dir+"/trust/cas.crt.pem" || a.CRL != dir+"/trust/cas.crl.pem" || len(a.Pins) != 1 ||
		a.Threshold != 20*24*time.Hour || a.OnRenew != dir+"/reload" || a.Crt != "/srv/a.pem" {
		t.Errorf("the current context: %+v", a)
	}
	if b.CAURL != "http://lab.example" || b.CA != dir+"/lab/ca.pem" || b.CRL != "/srv/lab.crl.pem" || b.KeyType != "ed25519" || b.Threshold != 5*24*time.Hour || len(b.Pins) != 0 {
		t.Errorf("the context that is named: %+v", b)
	}
	// What is said of one CA is not meant for another, and a configuration of before means what it meant.
	if c.CAURL != "http://other.example" || c.CA != "/srv/ca.pem" || len(c.Pins) != 0 || c.Threshold != updater.DefaultThreshold || c.OnRenew != "" || c.KeyType != "" {
		t.Errorf("an address of its own: %+v", c)
	}
}

// The command line and the environment come first.
func TestMachineAndCommandLine(t *testing.T) {
	file := onMachine(t, twoContexts)
	t.Chdir(t.TempDir())
	says := func(want string, args ...string) {
		t.Helper()
		if _, stdout, stderr := execute(t.Context(), append([]string{"--status"}, args...)...); !strings.Contains(stdout+stderr, want) {
			t.Errorf("%v: %s%s, want …%s…", args, stdout, stderr, want)
		}
	}
	says("http://home.example:8009")
	says("http://lab.example", "--context", "lab")
	says("http://x.example", "--context", "lab", "--ca-url", "http://x.example")
	says("--ca is not given", "--ca-url", "http://x.example")
	says(`there is no such context`, "--context", "labb")
	t.Setenv("CAUASE_CONTEXT", "lab")
	says("http://lab.example")
	if err := os.WriteFile(file, []byte("ca-url = \"http://ca.example\"\nstore = \"trust\"\nmode = \"usr\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Unsetenv("CAUASE_CONTEXT")
	says(file + `: line 3, column 1: mode: "usr" is not one of service, user`)
	says(`--mode: "x" is not one of`, "--mode", "x")
	t.Setenv("CAUASE_MODE", "y")
	says(`CAUASE_MODE: "y" is not one of`)
	t.Setenv("CAUASE_MODE", "")
	for setting, want := range map[string]string{
		`ca-url = "ftp://x"`: `line 2, column 1: ca-url: CA URL "ftp://x"`, `key-type = "dsa"`: `line 2, column 1: key-type: "dsa"`,
		`threshold = "soon"`: `line 2, column 1: threshold: "soon"`, `catch-up = "x"`: "line 2, column 1: catch-up: must be a number",
		`mode = 5`: "line 2, column 1: mode: must be a text in quotes", `ca-fingerprint = ["x"]`: "line 2, column 1: ca-fingerprint: ",
		`colour = 1`: `line 2, column 1: there is no setting "colour"`,
	} {
		if err := os.WriteFile(file, []byte("store = \"trust\"\n"+setting+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		says(file + ": " + want)
	}
}

// Whoever could write the file would have the agent's rights: it is refused then, and one of a user is not looked for.
func TestMachineIsGuarded(t *testing.T) {
	file := onMachine(t, twoContexts)
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := execute(t.Context(), "--status")
	if code != 1 || !strings.Contains(stderr, file) || strings.Contains(stdout, "home.example") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = execute(t.Context(), "--status", "--ca-url", "http://x.example", "--store", t.TempDir())
	if strings.Contains(stderr, file) || !strings.Contains(stdout, "http://x.example") {
		t.Errorf("a job that takes nothing from it: exit code %d, %s%s", code, stdout, stderr)
	}
	home := t.TempDir()
	onMachine(t, "")
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	if err := os.MkdirAll(filepath.Join(home, ".config", "cauase"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".config", "cauase", "cauase.toml"), []byte(twoContexts), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := execute(t.Context(), "--status"); code != 1 || !strings.Contains(stderr, "--ca-url is not given") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}

// Every time takes a plain number, a number of days with its unit, and hours; of the reference's settings a plain number is
// in days.
func TestTimesOfEveryOption(t *testing.T) {
	onMachine(t, "")
	units := map[string]time.Duration{"threshold": 24 * time.Hour, "crl-threshold": 24 * time.Hour, "max-sleep": 24 * time.Hour, "crl-refresh": 24 * time.Hour, "hook-timeout": time.Second}
	values := func(j updater.Job) map[string]time.Duration {
		return map[string]time.Duration{"threshold": j.Threshold, "crl-threshold": j.CRLThreshold, "max-sleep": j.MaxSleep, "crl-refresh": j.CRLRefresh, "hook-timeout": j.HookTimeout}
	}
	walked := 0
	for _, flag := range flags() {
		name := flag.Names()[0]
		usage := flag.(interface{ GetUsage() string }).GetUsage()
		if !strings.Contains(usage, "`DURATION`") && !strings.Contains(usage, "`DAYS`") {
			continue
		}
		walked++
		unit, known := units[name]
		if !known {
			t.Errorf("--%s is a time that is not tested", name)
		}
		if word := map[time.Duration]string{time.Second: "in seconds", 24 * time.Hour: "in days"}[unit]; strings.Contains(usage, "`DURATION`") && !strings.Contains(usage, "a number without a unit is "+word) {
			t.Errorf("--%s does not say what a plain number is: %s", name, usage)
		}
		for text, want := range map[string]time.Duration{"31": 31 * unit, "31d": 31 * 24 * time.Hour, "12h": 12 * time.Hour, "0.5": unit / 2} {
			if name == "crl-refresh" && text == "0.5" {
				want = 12 * time.Hour
			}
			for _, form := range []string{text, `"` + text + `"`} {
				if form == text && strings.Trim(text, "0123456789.") != "" {
					continue // is no number in a file
				}
				jobs, err := parseConfig([]byte("[[job]]\nname = \"a\"\nca-url = \"http://x\"\nstore = \"s\"\n"+name+" = "+form+"\n"), "/", noMachine)
				if err != nil || values(jobs[0])[name] != want {
					t.Errorf("%s = %s: %v, %v", name, form, jobs, err)
				}
			}
			args := []string{"--status", "--ca-url", "http://x.example", "--store", "/nonexistent", "--" + name, text}
			if _, _, stderr := execute(t.Context(), args...); strings.Contains(stderr, name) {
				t.Errorf("--%s %s: %s", name, text, stderr)
			}
		}
		args := []string{"--status", "--ca-url", "http://x.example", "--store", "/nonexistent", "--" + name, "soon"}
		if code, _, stderr := execute(t.Context(), args...); code != 1 || !strings.Contains(stderr, "--"+name+": \"soon\"") {
			t.Errorf("--%s soon: %s", name, stderr)
		}
	}
	if walked != len(units) {
		t.Errorf("%d options take times, and %d are known", walked, len(units))
	}
}
