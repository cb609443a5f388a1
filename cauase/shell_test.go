package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/pemfile"
)

// A shell runs command lines in a folder of its own, against a daemon of its own.
type shell struct {
	*testing.T
	daemon *clienttest.Daemon
	width  int                               // of the terminal
	prompt func(text string) ([]byte, error) // what is typed there, nil for nobody
	shown  *strings.Builder                  // what is to be seen at the terminal only, nil if there is none
	out    string                            // of the last command
	err    string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "CAUASE_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("CAUASE_STORE", ".") // so that all that is written is seen
	d := clienttest.Start(t, clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
	t.Setenv("CAUASE_CA_URL", d.URL)
	return &shell{T: t, daemon: d}
}

// run runs a command line, split at spaces, and returns the exit code.
func (s *shell) run(line string) int {
	s.Helper()
	return s.runContext(context.Background(), line)
}

func (s *shell) runContext(ctx context.Context, line string) int {
	s.Helper()
	return s.runWords(ctx, strings.Fields(line)...)
}

// runArgs runs a command whose arguments may have spaces in them.
func (s *shell) runArgs(args ...string) int {
	s.Helper()
	return s.runWords(context.Background(), args...)
}

func (s *shell) runWords(ctx context.Context, words ...string) int {
	s.Helper()
	var stdout, stderr bytes.Buffer
	var display func(string) error
	if s.shown != nil {
		display = func(text string) error {
			_, err := s.shown.WriteString(text)
			return err
		}
	}
	code := run(ctx, environment{
		display: display,
		args:    append([]string{toolName}, words...), stdout: &stdout, stderr: &stderr, clock: s.daemon.Clock, width: s.width, prompt: s.prompt,
	})
	s.out, s.err = stdout.String(), stderr.String()
	return code
}

// ok runs a command line that must succeed.
func (s *shell) ok(line string) {
	s.Helper()
	s.exits(line, 0)
}

func (s *shell) exits(line string, code int) {
	s.Helper()
	if got := s.run(line); got != code {
		s.Fatalf("cauase %s: exit %d, want %d\n%s%s", line, got, code, s.out, s.err)
	}
}

// says checks what the last command wrote, on either stream.
func (s *shell) says(pattern string) {
	s.Helper()
	if !regexp.MustCompile(pattern).MatchString(s.out + s.err) {
		s.Errorf("does not say %s:\n%s%s", pattern, s.out, s.err)
	}
}

func (s *shell) files() []string {
	s.Helper()
	names := []string{}
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if path != "." {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return names
}

// admin makes a user and acts as it from now on.
func (s *shell) admin() {
	s.Helper()
	s.daemon.CAU.AutoApprove = 1
	s.ok("request --mode user --cn admin")
	s.Setenv("CAUASE_USER_KEY", "admin.pem")
}

func (s *shell) id() string {
	s.Helper()
	id, _, _ := strings.Cut(s.out, " ")
	if _, err := client.ParseID(id); err != nil {
		s.Fatalf("no id in %q", s.out)
	}
	return id
}

func (s *shell) serial(path string) string {
	s.Helper()
	crts, err := pemfile.ReadCertificates(path)
	if err != nil || len(crts) != 1 {
		s.Fatalf("%s: %d certificates, %v", path, len(crts), err)
	}
	return crts[0].SerialNumber.String()
}
