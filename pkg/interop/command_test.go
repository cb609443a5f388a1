//go:build interop

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// commandLimit bounds every command line. The reference takes a fifth of a second.
const commandLimit = time.Minute

// An outcome is the result of a command line. Its methods fail the test when it is not
// the expected one.
type outcome struct {
	t       *testing.T
	command string
	stdout  string
	stderr  string
	code    int
}

func run(t *testing.T, dir string, argv ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = environment()
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	o := outcome{t: t, stdout: stdout.String(), stderr: withoutFrames(stderr.String()), code: cmd.ProcessState.ExitCode()}
	o.command = strings.Join(append([]string{filepath.Base(argv[0])}, argv[1:]...), " ")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", o.command, errors.Join(err, ctx.Err()), o.output())
	}
	return o
}

// environment returns ours without the variables that configure the programs under test, but for where our client
// keeps what it trusts: where it runs, as the reference does.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CAUASE_") && !strings.HasPrefix(v, "CAUASED_") {
			env = append(env, v)
		}
	}
	return append(env, "CAUASE_STORE=.", "PYTHONUNBUFFERED=1", "TZ=UTC", "LC_ALL=C.UTF-8")
}

// withoutFrames reduces a Python traceback to the error, without the places: the frames quote
// the reference's source, which is none of our business.
func withoutFrames(text string) string {
	var kept strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		if inside = strings.HasPrefix(line, "Traceback ") || inside && strings.HasPrefix(line, " "); !inside {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func (o outcome) output() string {
	return fmt.Sprintf("$ %s\n%s%sexit code %d", o.command, o.stdout, o.stderr, o.code)
}

func (o outcome) exits(code int) outcome {
	o.t.Helper()
	if o.code != code {
		o.t.Fatalf("want exit code %d:\n%s", code, o.output())
	}
	return o
}

func (o outcome) ok() outcome {
	o.t.Helper()
	return o.exits(0)
}

// prints wants text on standard output.
func (o outcome) prints(text string) outcome {
	o.t.Helper()
	if !strings.Contains(o.stdout, text) {
		o.t.Fatalf("want %q on stdout:\n%s", text, o.output())
	}
	return o
}

// omits wants text nowhere.
func (o outcome) omits(text string) outcome {
	o.t.Helper()
	if strings.Contains(o.stdout+o.stderr, text) {
		o.t.Fatalf("want no %q:\n%s", text, o.output())
	}
	return o
}

// complains wants text on standard error.
func (o outcome) complains(text string) outcome {
	o.t.Helper()
	if !strings.Contains(o.stderr, text) {
		o.t.Fatalf("want %q on stderr:\n%s", text, o.output())
	}
	return o
}

// refused wants the failure of the reference's client that an HTTP status leads to: the last
// line of a traceback.
func (o outcome) refused(status int) outcome {
	o.t.Helper()
	return o.exits(1).complains(fmt.Sprintf("CaucaseHTTPError: (%d, ", status))
}

var idLine = regexp.MustCompile(`(?m)^([0-9]+) (\S+)$`)

// ids are those of submitted requests, by their files. Both clients print them alike.
func (o outcome) ids() map[string]string {
	o.t.Helper()
	ids := map[string]string{}
	for _, match := range idLine.FindAllStringSubmatch(o.ok().stdout, -1) {
		ids[match[2]] = match[1]
	}
	if len(ids) == 0 {
		o.t.Fatalf("want the ids of requests:\n%s", o.output())
	}
	return ids
}

// eventually polls until done, which says what is still missing, returns "".
func eventually(t *testing.T, limit time.Duration, done func() string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(limit)
	for {
		missing := done()
		if missing == "" {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("after %s: %s", limit, missing)
		}
	}
}

// A transcript collects the output of a process that is still running.
type transcript struct{ testkit.Buffer }

func (s *transcript) String() string { return withoutFrames(s.Buffer.String()) }
