package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/folder"
	"cauase/pkg/policy"
	"cauase/pkg/testkit"
)

// safeDir is a folder that nobody else can write, on a way of such.
func safeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// script writes a shell script that is a hook.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(safeDir(t), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func logged() (*slog.Logger, *testkit.Buffer) {
	buffer := &testkit.Buffer{}
	return slog.New(slog.NewTextHandler(buffer, nil)), buffer
}

func TestAProgramIsToldAndAnswers(t *testing.T) {
	log, buffer := logged()
	t.Setenv("CAUASED_DB", "postgres://u:secret@h/d")
	path := script(t, `printf 'a\033[31mb\n' >&2; pwd; env | sort; cat; [ -e /dev/fd/3 ] && echo "a file is open"; exit 0`)
	answer, err := NewProgram(Authorize, path, 0, log).Run(t.Context(), []byte(`{"x":1}`))
	if err != nil {
		t.Fatal(err)
	}
	text := string(answer)
	if !strings.HasPrefix(text, "/\n") || !strings.HasSuffix(text, `{"x":1}`) || !strings.Contains(text, "CAUASE_HOOK=authorize\n") {
		t.Errorf("answer %q", text)
	}
	for _, foreign := range []string{"secret", "CAUASED", "HOME=", "a file is open"} {
		if strings.Contains(text, foreign) {
			t.Errorf("%s: %q", foreign, text)
		}
	}
	if got := buffer.String(); !strings.Contains(got, `a\\x1b[31mb`) && !strings.Contains(got, `a\x1b[31mb`) || strings.Contains(got, "\x1b") {
		t.Errorf("log %q", got)
	}
}

// TestFaults is the table of what may be wrong with a hook: each is a Failure that says what, within bounds.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("some of them take a second")
	}
	short := 2 * time.Second
	for _, test := range []struct {
		name, script string
		timeout      time.Duration
		want         error
		text         string
	}{
		{name: "hangs", script: "exec sleep 1000", timeout: short, want: ErrTimeout},
		{name: "hangs and ignores signals", script: "trap '' TERM INT HUP; while :; do sleep 1; done", timeout: short, want: ErrTimeout},
		{name: "its children hang", script: "sleep 1000 & sleep 1000 & wait", timeout: short, want: ErrTimeout},
		{name: "forks", script: "i=0; while [ $i -lt 50 ]; do sleep 1000 & i=$((i+1)); done; wait", timeout: short, want: ErrTimeout},
		{name: "never reads, and hangs", script: "exec sleep 1000 <&-", timeout: short, want: ErrTimeout},
		{name: "floods", script: "exec cat /dev/zero", want: ErrFlood},
		{name: "floods messages", script: "exec cat /dev/zero >&2", want: ErrFlood},
		{name: "floods in a child", script: "cat /dev/zero & wait", want: ErrFlood},
		{name: "fails", script: "exit 3", text: "exit code 3"},
		{name: "answers and fails", script: `echo '{"decision":"allow"}'; exit 1`, text: "exit code 1"},
		{name: "is killed", script: "kill -9 $$", text: "signal 9"},
		{name: "crashes", script: "kill -SEGV $$", text: "signal 11"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := script(t, test.script) // while nothing forks, which would have it open for writing
			t.Parallel()
			log, _ := logged()
			timeout := test.timeout
			if timeout == 0 {
				timeout = time.Minute
			}
			p := NewProgram(Authorize, path, timeout, log)
			answer, err := p.Run(t.Context(), []byte(strings.Repeat("x", 1<<20)))
			failure := (*Failure)(nil)
			if !errors.As(err, &failure) || answer != nil {
				t.Fatalf("answer %q, error %v", answer, err)
			}
			if test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v", err)
			}
			if public := failure.Public(); strings.Contains(public, "/") || public == "" {
				t.Errorf("an asker is told %q", public)
			}
			if p.places.count() != 0 || len(p.slots) != 0 {
				t.Error("its place is not free again")
			}
		})
	}
}

// TestWhatAHookLeavesBehind: a process that has left the group, and holds the pipes, delays the answer for a moment only; one in
// the group is ended.
func TestWhatAHookLeavesBehind(t *testing.T) {
	testkit.Need(t, "setsid", "util-linux")
	log, _ := logged()
	mark := filepath.Join(t.TempDir(), "pids")
	path := script(t, fmt.Sprintf(`setsid sh -c 'echo $$ > %[1]s; exec sleep 30' & while [ ! -s %[1]s ]; do :; done; sleep 1000 & echo $! >> %[1]s; echo done`, mark))
	answer, err := NewProgram(Postsign, path, time.Minute, log).Run(t.Context(), nil)
	if err != nil || string(answer) != "done\n" {
		t.Fatalf("%q, %v", answer, err)
	}
	var outside, inside int
	text, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := fmt.Sscan(string(text), &outside, &inside); n != 2 {
		t.Fatal(err)
	}
	if running(inside) {
		t.Errorf("process %d of its group is left", inside)
	}
	if process, err := os.FindProcess(outside); err == nil {
		_ = process.Kill()
	}
}

// running reports whether a process runs, and is no zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestWhatIsNoHook(t *testing.T) {
	log, _ := logged()
	dir := safeDir(t)
	file := func(name string, mode os.FileMode, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	exposed := filepath.Join(dir, "exposed")
	if err := os.Mkdir(exposed, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(exposed, "hook"), link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(exposed, "hook"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(exposed, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, text string
		is         error
	}{
		{path: filepath.Join(dir, "none"), is: os.ErrNotExist},
		{path: "hook", text: "not an absolute path"},
		{path: "./hook", text: "not an absolute path"},
		{path: "", text: "not an absolute path"},
		{path: dir, text: "is not a regular file"},
		{path: "/dev/null", text: "is not a regular file"},
		{path: file("everybody", 0o777, "#!/bin/sh\n"), is: folder.ErrExposed},
		{path: file("group", 0o770, "#!/bin/sh\n"), is: folder.ErrExposed},
		{path: link, is: folder.ErrExposed},
		{path: file("not-executable", 0o600, "#!/bin/sh\n"), text: "chmod +x"},
		{path: file("windows", 0o700, "#!/bin/sh\r\n"), text: "Windows line ends"},
		{path: file("interpreter", 0o700, "#!/no/such/thing\n"), text: "interpreter"},
		{path: file("format", 0o700, "nothing"), text: "neither a program"},
	} {
		answer, err := NewProgram(Authorize, test.path, 0, log).Run(t.Context(), nil)
		if err == nil || answer != nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: answer %q, error %v", test.path, answer, err)
		}
	}
}

// TestAHookIsExchangedWhileTheDaemonRuns: what could be put in its place is noticed when it is called.
func TestAHookIsExchangedWhileTheDaemonRuns(t *testing.T) {
	log, _ := logged()
	path := script(t, "echo yes")
	p := NewProgram(Authorize, path, 0, log)
	if answer, err := p.Run(t.Context(), nil); err != nil || string(answer) != "yes\n" {
		t.Fatalf("%q, %v", answer, err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), nil); !errors.Is(err, folder.ErrExposed) {
		t.Errorf("in a folder that everybody can write: %v", err)
	}
}

// TestACrowdBeforeAHook: some run, some wait, and the others are refused at once; the end of the daemon ends all of them.
func TestACrowdBeforeAHook(t *testing.T) {
	log, _ := logged()
	began := filepath.Join(t.TempDir(), "began")
	p := NewProgram(Authorize, script(t, "echo x >> "+began+"; exec sleep 1000"), time.Hour, log)
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, atOnce+waiting)
	var running sync.WaitGroup
	for range atOnce + waiting {
		running.Go(func() {
			_, err := p.Run(ctx, nil)
			results <- err
		})
	}
	for p.places.count() < atOnce+waiting || len(p.slots) < atOnce {
		time.Sleep(time.Millisecond)
	}
	if _, err := p.Run(ctx, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	other := NewProgram(Authorize, script(t, "echo yes"), time.Hour, log)
	if answer, err := other.Run(ctx, nil); err != nil || string(answer) != "yes\n" {
		t.Errorf("another hook: %q, %v", answer, err)
	}
	cancel()
	running.Wait()
	close(results)
	for err := range results {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	}
	if text, err := os.ReadFile(began); err != nil || len(text) > 2*atOnce {
		t.Errorf("more ran at a time than may: %q, %v", text, err)
	}
}

// TestWhatHooksSayIsBounded, however often strangers have them called.
func TestWhatHooksSayIsBounded(t *testing.T) {
	log, buffer := logged()
	p := NewProgram(Authorize, script(t, "i=0; while [ $i -lt 60 ]; do echo line $i >&2; i=$((i+1)); done; exit 1"), 0, log)
	for range 20 {
		if _, err := p.Run(t.Context(), nil); err == nil {
			t.Fatal("it does not fail")
		}
	}
	if lines := strings.Count(buffer.String(), "\n"); lines > maxSpoken || lines < maxSpoken/2 {
		t.Errorf("%d lines", lines)
	}
}

// TestWhoeverHasGone is no reason to say that a hook fails, and nothing was decided.
func TestWhoeverHasGone(t *testing.T) {
	log, buffer := logged()
	c, _ := caseOf(t)
	began := filepath.Join(t.TempDir(), "began")
	holder := NewHolder(policy.NewEngine(nil))
	holder.Replace(nil, &Set{Authorize: []*Program{NewProgram(Authorize, script(t, "echo x > "+began+"; exec sleep 1000"), time.Hour, log)}})
	p := &Policy{Rules: always{Decision: policy.Approve}, Hooks: holder}
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		for {
			if text, err := os.ReadFile(began); err == nil && len(text) > 0 {
				leave()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if v, err := p.Decide(ctx, c); !errors.Is(err, context.Canceled) || v.Decision != "" {
		t.Errorf("%+v %v", v, err)
	}
	if strings.Contains(buffer.String(), "level=ERROR") {
		t.Errorf("the log says\n%s", buffer.String())
	}
}
