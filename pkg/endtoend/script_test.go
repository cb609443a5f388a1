package endtoend

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"

	"cauase/pkg/pgtest"
	"cauase/pkg/testkit"
)

var postgres = pgtest.Shared(pgtest.Options{})

// TestScripts runs testdata/script. What scripts can do besides testscript's own commands is
// said at each function below; a script begins with NETLOC, URL and CAUASE_CA_URL pointing
// at where its daemon will be, and DB being its database. NEW_DB is one to begin with anew, should that be lost.
func TestScripts(t *testing.T) { runScripts(t, setupScript, "sqlite") }

// TestScriptsOnPostgreSQL runs them again, with daemons on PostgreSQL, each in a database of its own.
func TestScriptsOnPostgreSQL(t *testing.T) {
	cluster := postgres(t)
	runScripts(t, func(env *testscript.Env) error {
		if err := setupScript(env); err != nil {
			return err
		}
		env.Setenv("DB", cluster.NewDatabase(t))
		env.Setenv("NEW_DB", cluster.NewDatabase(t))
		env.Setenv("CAUASED_DB", env.Getenv("DB"))
		return nil
	}, "postgres")
}

func runScripts(t *testing.T, setup func(*testscript.Env) error, database string) {
	testscript.Run(t, scripts(t, "../../testdata/script", setup, database))
}

func scripts(t *testing.T, dir string, setup func(*testscript.Env) error, database string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Condition:           func(cond string) (bool, error) { return condition(cond, database) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon":  cmdDaemon,
			"ok":      cmdOK,
			"code":    cmdCode,
			"refused": cmdRefused,
			"until":   cmdUntil,
			"json":    cmdJSON,
			// schema OBJECT: what was printed is that object of docs/json.md.
			"schema": func(ts *testscript.TestScript, _ bool, args []string) {
				testkit.CheckJSON(t, "../../docs/json.md", strings.Join(args, " "), ts.ReadFile("stdout"))
			},
			"capture": cmdCapture,
			"mode":    cmdMode,
			"nofile":  cmdNoFile,
			"make":    cmdMake,
			"serve":   cmdServe,
			"sql":     cmdSQL,
			"raw":     cmdRaw,
		},
	}
}

// state is what a script has running.
type state struct {
	daemon *daemon
	bin    string       // folder of cauased
	answer atomic.Value // http.HandlerFunc, of serve
	close  func()
}

type stateKey struct{}

func stateOf(ts *testscript.TestScript) *state { return ts.Value(stateKey{}).(*state) }

func setupScript(env *testscript.Env) error {
	netloc, err := freeNetloc()
	if err != nil {
		return err
	}
	s := &state{bin: binDir}
	env.Values[stateKey{}] = s
	env.Defer(func() {
		if s.daemon != nil && s.daemon.running() {
			s.daemon.kill()
		}
		if s.close != nil {
			s.close()
		}
	})
	_, port, _ := strings.Cut(netloc, ":")
	env.Setenv("NETLOC", netloc)
	env.Setenv("PORT", port)
	env.Setenv("URL", "http://"+netloc)
	env.Setenv("CAUASE_CA_URL", "http://"+netloc)
	env.Setenv("CAUASE_STORE", ".") // scripts look at all that is written
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
	env.Setenv("TZ", "UTC")
	env.Setenv("DB", caDir+"/cauase.sqlite")
	env.Setenv("NEW_DB", caDir+"/cauase.sqlite")
	env.Setenv("CAUASED_KEY_SECRET", filepath.Join(env.WorkDir, caDir, "key-secret")) // where the daemon makes it
	env.Setenv("CAUASED_CONTROL_SOCKET", filepath.Join(env.WorkDir, caDir, "cauased.sock"))
	return os.Mkdir(filepath.Join(env.WorkDir, caDir), 0o700)
}

// condition knows [tool:NAME], which is true if that program is installed. Scripts skip
// what they cannot test: [!tool:openssl] skip. [postgres] is true if the daemon is on PostgreSQL.
func condition(cond, database string) (bool, error) {
	if cond == "postgres" {
		return database == cond, nil
	}
	if name, ok := strings.CutPrefix(cond, "tool:"); ok {
		return haveTool(name)
	}
	if cond == "root" {
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// caDir is where a script's daemon works.
const caDir = "ca"

// daemon start [FLAG...] starts cauased in $WORK/ca and waits until it is ready, with what
// it has to say in daemon.out; daemon
// stop ends it by SIGTERM, upon which it has to exit with 0; daemon kill ends it by SIGKILL;
// daemon start-locked starts one that need not be ready, as it has no keys;
// daemon log [!] REGEXP looks into what it has written to stderr, daemon out into stdout; daemon told runs, in a shell, the
// command that it tells its operator to type next; daemon reload REGEXP sends SIGHUP, and waits until it has logged that.
func cmdDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: daemon start|stop|kill|reload|log|out")
	}
	s := stateOf(ts)
	if !strings.HasPrefix(args[0], "start") && s.daemon == nil {
		ts.Fatalf("no daemon was started")
	}
	switch args[0] {
	case "start", "start-locked":
		if s.daemon != nil && s.daemon.running() {
			ts.Fatalf("a daemon is running")
		}
		d, err := startDaemonOf(s.bin, ts.MkAbs(ts.Getenv("WORK")+"/"+caDir), ts.Getenv("NETLOC"), environ(ts), args[0] == "start-locked", args[1:]...)
		ts.Check(err)
		s.daemon = d
		ts.Check(os.WriteFile(ts.Getenv("WORK")+"/daemon.out", []byte(d.stdout.String()), 0o600))
	case "stop":
		ts.Check(s.daemon.stop())
		checkPrintable(ts, "stderr of cauased", s.daemon.stderr.String())
		checkPrintable(ts, "stdout of cauased", s.daemon.stdout.String())
	case "kill":
		s.daemon.kill()
	case "told":
		// It is the last line, so that it stands just above the prompt.
		lines := strings.Split(strings.TrimSpace(s.daemon.stdout.String()), "\n")
		line := strings.TrimSpace(lines[len(lines)-1])
		if !strings.Contains(line, "cauase --ca-url ") {
			ts.Fatalf("the daemon tells no command to type:\n%s", s.daemon.stdout.String())
		}
		cmdCode(ts, neg, []string{"0", "sh", "-c", line})
	case "reload":
		ts.Check(s.daemon.reload(args[1]))
	case "log", "out":
		text := s.daemon.stderr.String()
		if args[0] == "out" {
			text = s.daemon.stdout.String()
		}
		if matches(ts, args[1], text) == neg {
			ts.Fatalf("match of %q in the daemon's %s is %v:\n%s", args[1], args[0], !neg, text)
		}
	default:
		ts.Fatalf("unknown: daemon %s", args[0])
	}
}

// environ is the script's environment, of which testscript keeps the variables to itself.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"HOME", "PATH", "TMPDIR", "TZ", "GORACE", "SOFTHSM2_CONF", "SLOW_TOKEN", "SLOW_WHILE"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	for _, flag := range []string{"NETLOC", "DB", "KEY_TYPE", "LOG_FORMAT", "LOG_LEVEL", "USER_AUTO_APPROVE_COUNT"} {
		if v := ts.Getenv("CAUASED_" + flag); v != "" {
			env = append(env, "CAUASED_"+flag+"="+v)
		}
	}
	return env
}

func matches(ts *testscript.TestScript, pattern, text string) bool {
	re, err := regexp.Compile("(?m)" + pattern)
	ts.Check(err)
	return re.MatchString(text)
}

// ok PROGRAM ARG... is code 0.
func cmdOK(ts *testscript.TestScript, neg bool, args []string) {
	cmdCode(ts, neg, append([]string{"0"}, args...))
}

// code N PROGRAM ARG... runs a program, which has to exit with N and to write nothing that
// does not print.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil {
		ts.Fatalf("usage: code N PROGRAM [ARG...]")
	}
	got := exitCode(ts, args[1:])
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	checkPrintable(ts, "stdout", ts.ReadFile("stdout"))
	checkPrintable(ts, "stderr", ts.ReadFile("stderr"))
}

func exitCode(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Fatalf("%v: %v", args, err)
	return -1
}

// refused N PROGRAM ARG... is code N for a command that is to fail well: it writes nothing
// to stdout, to stderr one or more lines that say who speaks, and no file anywhere below
// $WORK (but for what the daemon keeps) appears, disappears or changes.
func cmdRefused(ts *testscript.TestScript, neg bool, args []string) {
	before := snapshot(ts)
	cmdCode(ts, neg, args)
	if diff := before.diff(snapshot(ts)); diff != "" {
		ts.Fatalf("a refused command left traces: %s", diff)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("a refused command wrote to stdout: %s", out)
	}
	stderr := ts.ReadFile("stderr")
	tool := filepath.Base(args[1])
	if !matches(ts, "^"+tool+": error: .", stderr) {
		ts.Fatalf("stderr says no error of %s:\n%s", tool, stderr)
	}
	for line := range strings.Lines(stderr) {
		if !matches(ts, "^"+tool+": (error|hint|note|warning): ", line) {
			ts.Fatalf("stderr has a line that is no message of %s: %s", tool, line)
		}
		if len(line) > 1000 {
			ts.Fatalf("a message of %d bytes", len(line))
		}
	}
}

// files describes a tree: by path, everything about a file but its content's meaning.
type files map[string]string

func snapshot(ts *testscript.TestScript) files {
	root := ts.Getenv("WORK")
	found := files{}
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.IsDir() {
			found[rel] = info.Mode().String()
			if rel == caDir {
				return filepath.SkipDir
			}
			return nil
		}
		content := ""
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(data)
		}
		found[rel] = fmt.Sprintf("%s %s %q", info.Mode(), info.ModTime(), content)
		return nil
	})
	ts.Check(err)
	return found
}

func (f files) diff(g files) string {
	var list []string
	for path, was := range f {
		switch is, there := g[path]; {
		case !there:
			list = append(list, path+" is gone")
		case is != was:
			list = append(list, path+" has changed")
		}
	}
	for path := range g {
		if _, was := f[path]; !was {
			list = append(list, path+" is new")
		}
	}
	return strings.Join(list, ", ")
}

// checkPrintable makes sure that nothing can fool a terminal.
func checkPrintable(ts *testscript.TestScript, what, text string) {
	for i, r := range text {
		if r != '\n' && r != '\t' && (!unicode.IsPrint(r) || r == unicode.ReplacementChar) {
			ts.Fatalf("%s has the raw character %U at %d: %q", what, r, i, text)
		}
	}
}

// until REGEXP PROGRAM ARG... runs a program again and again until its stdout matches.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	for expired := time.Now().Add(deadline); ; {
		code := exitCode(ts, args[1:])
		if code == 0 && matches(ts, args[0], ts.ReadFile("stdout")) != neg {
			return
		}
		if time.Now().After(expired) {
			ts.Fatalf("%q does not come to match", args[0])
		}
		// Programs that are started as fast as they end keep the one that is waited for from getting on.
		time.Sleep(100 * time.Millisecond)
	}
}

// capture NAME REGEXP [FILE] sets a variable to the first group of REGEXP in stdout or FILE.
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	file := "stdout"
	if len(args) == 3 {
		file = args[2]
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	found := re.FindStringSubmatch(ts.ReadFile(file))
	if found == nil {
		ts.Fatalf("no match of %q in %s", args[1], file)
	}
	ts.Setenv(args[0], found[1])
}

// mode PERM FILE... checks permissions, given in octal.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, name := range args[1:] {
		info, err := os.Lstat(ts.MkAbs(name))
		ts.Check(err)
		if (info.Mode().Perm() == os.FileMode(want)) == neg {
			ts.Fatalf("%s has mode %v", name, info.Mode())
		}
	}
}

// nofile GLOB... checks that nothing has such a name.
func cmdNoFile(ts *testscript.TestScript, neg bool, args []string) {
	for _, pattern := range args {
		found, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if (len(found) == 0) == neg {
			ts.Fatalf("%s: found %v", pattern, found)
		}
	}
}
