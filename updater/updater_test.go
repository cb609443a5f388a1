package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
	"cauase/pkg/updater"
)

// noMachine is a host without a configuration of all users.
var noMachine = &machine{path: "/nonexistent/cauase.toml"}

func TestParseConfig(t *testing.T) {
	jobs, err := parseConfig([]byte(`
ca-url = "http://ca.example:8009"
ca = "ca.pem"
threshold = 10.5
key-len = 3072
ca-fingerprint = ["sha256:`+strings.Repeat("ab", 32)+`"]

[[job]]
name = "web"
crt = "web.crt"
key = "/etc/web.key"
csr = "web.csr"
crl = "crl.pem"
on-renew = "./reload"
hook-timeout = "90s"
file-mode = "0640"
owner = "0"
key-type = "ed25519"

[[job]]
name = "alice"
mode = "user"
crt = "alice.pem"
ca = "cau.pem"
cas-ca = "ca.pem"
crl = "cau.crl.pem"
max-sleep = 0.5
`), "/srv", noMachine)
	if err != nil {
		t.Fatal(err)
	}
	web, alice := jobs[0], jobs[1]
	if web.Crt != "/srv/web.crt" || web.Key != "/etc/web.key" || web.CA != "/srv/ca.pem" || web.OnRenew != "/srv/reload" ||
		web.HookTimeout != 90*time.Second || web.FileMode != 0o640 || *web.Owner != 0 || web.KeyType != pki.KeyEd25519 ||
		web.Threshold != 252*time.Hour || len(web.Pins) != 1 || web.Authority != client.CAS {
		t.Errorf("%+v", web)
	}
	if alice.Authority != client.CAU || alice.CA != "/srv/cau.pem" || alice.CASCA != "/srv/ca.pem" || alice.MaxSleep != 12*time.Hour || alice.KeyType != pki.KeyRSA3072 {
		t.Errorf("%+v", alice)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	const good = "ca-url = \"http://ca:80\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing":           {"", "no [[job]]"},
		"unknown key":       {good + "[[job]]\nname = \"a\"\ncolour = 1\n", `line 6, column 1: there is no setting "colour"`},
		"unknown key above": {"colour = 1\n" + good, "line 1, column 1"},
		"syntax":            {good + "[[job\n", "line 4"},
		"wrong type":        {good + "[[job]]\nname = \"a\"\nthreshold = \"soon\"\n", "line 6"},
		"no name":           {good + "[[job]]\n", "job 1 has no name"},
		"no URL":            {"ca = \"a\"\ncrl = \"b\"\n[[job]]\nname = \"a\"\n", "ca-url is not given"},
		"https":             {strings.Replace(good, "http:", "https:", 1) + "[[job]]\nname = \"a\"\n", "line 1, column 1: ca-url: "},
		"days":              {good + "[[job]]\nname = \"a\"\nthreshold = -1\n", "line 6, column 1: threshold: -1 is not a number of days"},
		"nan":               {good + "[[job]]\nname = \"a\"\nmax-sleep = nan\n", `line 6, column 1: max-sleep: "nan" is not a time such as`},
		"mode":              {good + "[[job]]\nname = \"a\"\nmode = \"root\"\n", `line 6, column 1: mode: "root" is not one of service, user`},
		"authority's name":  {good + "[[job]]\nname = \"a\"\nauthority = \"Web\"\n", `line 6, column 1: authority: "Web" is not the name of an authority`},
		"authority above":   {"authority = \"../cas\"\n" + good + "[[job]]\nname = \"a\"\n", "line 1, column 1: authority: "},
		"authority, mode":   {good + "[[job]]\nname = \"a\"\nmode = \"user\"\nauthority = \"web\"\n", "line 7, column 1: authority and line 6, column 1: mode say the same"},
		"chain alone":       {good + "[[job]]\nname = \"a\"\nchain = true\n", "a chain without a certificate"},
		"roots for CAs":     {good + "[[job]]\nname = \"a\"\nroot = \"ca.pem\"\n", "location of both"},
		"user without CAS":  {good + "[[job]]\nname = \"a\"\nmode = \"user\"\ncrt = \"x\"\n", "service CA certificates is not given"},
		"key without crt":   {good + "[[job]]\nname = \"a\"\nkey = \"x\"\n", "a key without a certificate"},
		"file mode":         {good + "[[job]]\nname = \"a\"\nfile-mode = \"rw\"\n", "line 6, column 1: file-mode: \"rw\" is no mode such as 0640"},
		"file mode unread":  {good + "[[job]]\nname = \"a\"\nfile-mode = \"0040\"\n", "lets the owner read"},
		"owner":             {good + "[[job]]\nname = \"a\"\nowner = \"no such user\"\n", "line 6, column 1: owner: "},
		"timeout":           {good + "[[job]]\nname = \"a\"\nhook-timeout = \"0s\"\n", "not a duration"},
		"two key types":     {good + "[[job]]\nname = \"a\"\nkey-len = 2048\nkey-type = \"ed25519\"\n", "say the same"},
		"key length":        {good + "[[job]]\nname = \"a\"\nkey-len = 1024\n", "line 6, column 1: key-len: 1024 is none of 2048"},
		"fingerprint":       {good + "[[job]]\nname = \"a\"\nca-fingerprint = [\"x\"]\n", "line 6, column 1: ca-fingerprint: "},
		"hook by name":      {good + "[[job]]\nname = \"a\"\non-renew = \"reload\"\n", "write ./reload"},
		"same file twice":   {good + "[[job]]\nname = \"a\"\ncrt = \"crl.pem\"\n", "location of both"},
		"same job twice":    {good + "[[job]]\nname = \"a\"\ncrt = \"a\"\n[[job]]\nname = \"a\"\ncrt = \"b\"\n", "two jobs are named"},
		"same key twice":    {good + "[[job]]\nname = \"a\"\ncrt = \"a\"\nkey = \"k\"\n[[job]]\nname = \"b\"\ncrt = \"b\"\nkey = \"k\"\n", "kept up to date by \"a\" already"},
		"two errors":        {good + "[[job]]\nname = \"a\"\nmode = \"x\"\n[[job]]\nname = \"b\"\nthreshold = -2\n", "line 9, column 1: threshold: -2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(c.text), "/srv", noMachine)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want …%s…", err, c.want)
			}
		})
	}
}

// TestConfigAuthority: a job's own mode or authority goes before what holds for all.
// TestHookBesideConfig: the file may be named from within its folder, where the hook is, too.
func TestHookBesideConfig(t *testing.T) {
	for folder, want := range map[string]string{".": "./reload", "/etc/cauase": "/etc/cauase/reload", "sub": "sub/reload"} {
		jobs, err := parseConfig([]byte("[[job]]\nname = \"a\"\nca-url = \"http://x\"\nstore = \"s\"\non-renew = \"./reload\"\n"), folder, noMachine)
		if err != nil || jobs[0].OnRenew != want {
			t.Errorf("of a file in %s: %+v, %v", folder, jobs, err)
		}
	}
}

func TestConfigAuthority(t *testing.T) {
	const text = "ca-url = \"http://ca:80\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\nauthority = \"web\"\nprofile = \"server\"\nroot = \"root.pem\"\n" +
		"[[job]]\nname = \"a\"\ncrt = \"a.crt\"\nchain = true\n[[job]]\nname = \"b\"\ncrt = \"b.crt\"\nmode = \"service\"\nprofile = \"client\"\n"
	jobs, err := parseConfig([]byte(text), "/srv", noMachine)
	if err != nil || len(jobs) != 2 {
		t.Fatal(err)
	}
	a, b := jobs[0], jobs[1]
	if a.Authority != "web" || a.Profile != "server" || !a.Chain || a.Root != "/srv/root.pem" {
		t.Errorf("%+v", a)
	}
	if b.Authority != "cas" || b.Profile != "client" || b.Chain {
		t.Errorf("%+v", b)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("ca-url = \"http://ca:80\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\n[[job]]\nname = \"a\"\n"))
	f.Add([]byte("job = [{name = 1}]"))
	f.Add([]byte("[[job]]\n\"\\u0000\" = nan"))
	f.Fuzz(func(t *testing.T, content []byte) {
		jobs, err := parseConfig(content, "/srv", noMachine)
		if err == nil && len(jobs) == 0 {
			t.Error("neither jobs nor an error")
		}
	})
}

// execute runs a command line in this process.
func execute(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, append([]string{tool}, args...), clock.System(), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommandLine(t *testing.T) {
	job := []string{"--ca-url", "http://127.0.0.1:1", "--cas-ca", "ca.pem", "--ca", "ca.pem", "--crl", "crl.pem"}
	with := func(args ...string) []string { return append(append([]string{}, job...), args...) }
	for name, c := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"nothing":        {nil, 1, "--ca-url is not given"},
		"no ca":          {job[:4], 1, "--ca is not given"},
		"argument":       {with("extra"), 1, `unexpected argument "extra"`},
		"unknown flag":   {with("--colour"), 1, "there is no option --colour"},
		"no config":      {[]string{"--config", "nowhere.toml"}, 1, "no such file"},
		"both":           {with("--once", "--status"), 1, "exclude each other"},
		"refresh, once":  {with("--refresh", "--once"), 1, "exclude each other"},
		"refresh, alone": {with("--refresh"), 1, "no running agent keeps these files"},
		"crl-refresh":    {with("--crl-refresh", "soon"), 1, "--crl-refresh"},
		"too often":      {with("--crl-refresh", "10ms"), 1, "more often than"},
		"no push":        {with("--crl-push=false", "--crl-refresh", "10m", "--status"), 2, "pending"},
		"log":            {with("--log-format", "xml"), 1, "is not one of text, json"},
		"fractions":      {with("--threshold", "0.5", "--crl-threshold", "0.1", "--max-sleep", "1.5", "--key-len", "2048", "--status"), 2, "pending"},
		"status":         {with("--status"), 2, ""},
		"once, no CA":    {with("--once"), 1, "connection refused"},
		"a file beneath": {with("--crt", "nowhere/web.crt", "--once"), 1, "there is no folder nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			code, stdout, stderr := execute(t.Context(), c.args...)
			if code != c.code || !strings.Contains(stderr, c.stderr) {
				t.Errorf("exit %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	if _, stdout, _ := execute(t.Context(), "--help"); !strings.Contains(stdout, "--hook-timeout") {
		t.Errorf("help:\n%s", stdout)
	}
}

// TestNotify is systemd for an agent.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	socket := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "200000")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		code, _, _ := execute(ctx, "--ca-url", "http://127.0.0.1:1", "--cas-ca", "ca.pem", "--ca", "ca.pem", "--crl", "crl.pem")
		ended <- code
	}()
	var all string
	buffer := make([]byte, 1000)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for !strings.Contains(all, "READY=1") || !strings.Contains(all, "WATCHDOG=1") || !strings.Contains(all, "STATUS=failing") {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatalf("%v after %q", err, all)
		}
		all += string(buffer[:n]) + "\n"
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d", code)
	}
	n, _ := conn.Read(buffer)
	for !strings.Contains(string(buffer[:n]), "STOPPING=1") {
		if n, err = conn.Read(buffer); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManual reads the configuration in the manual, and misses no option there.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../docs/updater.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```toml config\n")
	config, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("the manual has no configuration")
	}
	if jobs, err := parseConfig([]byte(config), "/etc/cauase", noMachine); err != nil || len(jobs) < 2 {
		t.Errorf("the manual's configuration: %v", err)
	}
	for _, flag := range flags() {
		if name := flag.Names()[0]; !strings.Contains(string(page), "`"+name+"`") && !strings.Contains(string(page), "--"+name) {
			t.Errorf("the manual does not mention --%s", name)
		}
	}
}

// TestMain lets this program be the process of an owner.
func TestMain(m *testing.M) {
	if updater.Separated(os.Args) {
		os.Exit(updater.ServeSeparated(clock.System()))
	}
	if os.Getenv("UPDATER_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestFoldersOfOthers: a folder of another user's is refused with a word on what to do, and is fine with that; a
// configuration that others can write to is not read.
func TestFoldersOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can become another user")
	}
	base := t.TempDir()
	must(t, os.Chmod(filepath.Dir(base), 0o755))
	dir := filepath.Join(base, "folder")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Chown(dir, 54321, 54321))
	t.Chdir(dir)
	job := []string{"--ca-url", "http://127.0.0.1:1", "--ca", "ca.pem", "--crl", "crl.pem"}
	for _, how := range []string{"--once", "--status"} {
		code, _, stderr := execute(t.Context(), append(job, how)...)
		if code != 1 || !strings.Contains(stderr, "belongs to user 54321") || !strings.Contains(stderr, "hint: ") || !strings.Contains(stderr, "--owner") {
			t.Errorf("%s: exit %d\n%s", how, code, stderr)
		}
	}
	if code, _, stderr := execute(t.Context(), append(job, "--once", "--owner", "54321")...); code != 1 || !strings.Contains(stderr, "connection refused") {
		t.Errorf("as the owner: exit %d\n%s", code, stderr)
	}
	if info, err := os.Stat(".crl.pem.updater.json"); err != nil || info.Sys().(*syscall.Stat_t).Uid != 54321 {
		t.Errorf("the state: %v, %v", info, err)
	}
	if code, stdout, stderr := execute(t.Context(), append(job, "--status", "--owner", "54321")...); code != 1 || !strings.Contains(stdout, "connection refused") {
		t.Errorf("status: exit %d\n%s%s", code, stdout, stderr)
	}
	must(t, os.Chmod(base, 0o755))
	config := filepath.Join(base, "updater.toml")
	must(t, os.WriteFile(config, []byte("ca-url = \"http://127.0.0.1:1\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\n[[job]]\nname = \"a\"\non-renew = \"/bin/true\"\n"), 0o644))
	for name, c := range map[string]struct {
		change func()
		says   string
	}{
		"root's":              {func() {}, "connection refused"},
		"someone's":           {func() { must(t, os.Chown(config, 54321, 0)) }, "belongs to user 54321"},
		"for all to write":    {func() { must(t, os.Chmod(config, 0o666)) }, "can be written by everybody"},
		"in someone's folder": {func() { must(t, os.Chown(base, 54321, 0)) }, "belongs to user 54321"},
	} {
		must(t, os.Chown(config, 0, 0))
		must(t, os.Chmod(config, 0o644))
		must(t, os.Chown(base, 0, 0))
		c.change()
		if code, _, stderr := execute(t.Context(), "--config", config, "--once"); code != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit %d\n%s", name, code, stderr)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSignals: an agent whose log nobody reads any more goes on, and so it does when its terminal is closed.
func TestSignals(t *testing.T) {
	for name, args := range map[string][]string{"an agent": nil, "with a configuration": {"--config", "updater.toml"}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			settings := "ca-url = \"http://127.0.0.1:1\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\n"
			must(t, os.WriteFile(filepath.Join(dir, "updater.toml"), []byte(settings+"[[job]]\nname = \"a\"\n"), 0o600))
			if args == nil {
				args = []string{"--ca-url", "http://127.0.0.1:1", "--ca", "ca.pem", "--crl", "crl.pem"}
			}
			socket := filepath.Join(dir, "notify")
			conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
			must(t, err)
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			hears := func(what string) {
				t.Helper()
				buffer := make([]byte, 1000)
				for text := ""; !strings.Contains(text, what); {
					n, err := conn.Read(buffer)
					if err != nil {
						t.Fatalf("%v, waiting for %s", err, what)
					}
					text = string(buffer[:n])
				}
			}
			nobody, end, err := os.Pipe()
			must(t, err)
			must(t, nobody.Close())
			cmd := exec.Command(os.Args[0], args...)
			cmd.Dir, cmd.Stdout, cmd.Stderr = dir, end, end
			cmd.Env = append(os.Environ(), "UPDATER_TEST_MAIN=1", "NOTIFY_SOCKET="+socket)
			must(t, cmd.Start())
			_ = end.Close()
			hears("READY=1")
			hears("failing") // of which it has written a line by now
			must(t, cmd.Process.Signal(syscall.SIGHUP))
			if len(args) == 2 {
				hears("RELOADING=1")
				hears("READY=1")
			}
			must(t, cmd.Process.Signal(syscall.SIGPIPE))
			must(t, os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("x"), 0o600)) // which it has a word about
			hears("blocked")
			must(t, cmd.Process.Signal(syscall.SIGTERM))
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOneFailureIsToldOnce: what --once prints, on both streams together, names a failure once, however much fails for it.
func TestOneFailureIsToldOnce(t *testing.T) {
	page, err := filepath.Abs("../docs/json.md")
	must(t, err)
	t.Chdir(t.TempDir())
	key := pkitest.Key(t)
	must(t, os.WriteFile("web.key", pkitest.KeyPEM(t, key), 0o600))
	must(t, os.WriteFile("web.csr", pkitest.NamedRequest(t, key, "web", "web.example"), 0o644))
	code, stdout, stderr := execute(t.Context(), "--ca-url", "http://127.0.0.1:1", "--ca", "ca.pem", "--crl", "crl.pem",
		"--crt", "web.crt", "--key", "web.key", "--csr", "web.csr", "--once")
	if all := stdout + stderr; code != 1 || strings.Count(all, "connection refused") != 1 || strings.Count(all, "is the daemon running") != 1 {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if !strings.Contains(stderr, "error: ") || !strings.Contains(stderr, "connection refused") {
		t.Errorf("not on the stream for errors: %s", stderr)
	}
	// JSON is for programs, which get all of it.
	_, stdout, _ = execute(t.Context(), "--ca-url", "http://127.0.0.1:1", "--ca", "ca.pem", "--crl", "crl.pem", "--once", "--json")
	testkit.CheckVerbs(t, page, tool, cli.Verbs(newApp(nil, nil, nil)))
	testkit.CheckPrinted(t, page, tool, stdout)
	if !strings.Contains(stdout, "connection refused") {
		t.Errorf("JSON:\n%s", stdout)
	}
}

// TestOnePlaceForTrust: with the folder of the client's, the agent trusts what that trusts, and nobody else at its own first contact.
func TestOnePlaceForTrust(t *testing.T) {
	folder := t.TempDir()
	for _, c := range []struct{ config, ca, crl, casca string }{
		{`store = "trust"`, "trust/cas.crt.pem", "trust/cas.crl.pem", ""},
		{"store = \"/trust\"\nmode = \"user\"", "/trust/cau.crt.pem", "/trust/cau.crl.pem", "/trust/cas.crt.pem"},
		{"store = \"trust\"\nauthority = \"lab\"\ncrl = \"lists.pem\"", "trust/lab.crt.pem", "lists.pem", "trust/cas.crt.pem"},
	} {
		jobs, err := parseConfig([]byte("ca-url = \"http://127.0.0.1:1\"\n"+c.config+"\n[[job]]\nname = \"a\"\n"), folder, noMachine)
		if err != nil || len(jobs) != 1 {
			t.Fatalf("%s: %v", c.config, err)
		}
		for got, want := range map[string]string{jobs[0].CA: c.ca, jobs[0].CRL: c.crl, jobs[0].CASCA: c.casca} {
			if want != "" && !filepath.IsAbs(want) {
				want = filepath.Join(folder, want)
			}
			if got != want {
				t.Errorf("%s: %s, want %s", c.config, got, want)
			}
		}
	}
	if _, err := parseConfig([]byte("ca-url = \"http://127.0.0.1:1\"\n[[job]]\nname = \"a\"\n"), folder, noMachine); err == nil {
		t.Error("nowhere is fine, too")
	}
}
