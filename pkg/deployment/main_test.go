// Package deployment tests what the manual says about deployment: that make
// install installs files that systemd and shells accept, and that third-party servers, set up as
// docs/ shows, keep serving while their certificates are renewed and refuse revoked clients.
package deployment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cauase/pkg/testkit"
)

// bin holds our tools. It is first in PATH.
var bin string

func TestMain(m *testing.M) {
	testkit.Parallel(4) // all servers
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cauase-deployment-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Others than root have to reach files of servers in it.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	tools, err := makefileTools()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// As make builds them, so that make install finds in bin what it would build.
	if err := testkit.BuildReleased(dir, tools); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	for _, v := range os.Environ() {
		// The tests inherit neither settings from the environment nor those of a make that runs them.
		name, _, _ := strings.Cut(v, "=")
		if name != requireAll && (strings.HasPrefix(name, "CAUASE_") || strings.HasPrefix(name, "CAUASED_")) ||
			name == "MAKEFLAGS" || name == "MAKELEVEL" || name == "MFLAGS" {
			os.Unsetenv(name)
		}
	}
	os.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	// Where Debian keeps programs for administrators.
	os.Setenv("PATH", dir+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	return m.Run()
}

const repository = "../.."

// makefileTools are the names of the tools and their folders, as the Makefile has them.
func makefileTools() (map[string]string, error) {
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		return nil, err
	}
	line := regexp.MustCompile(`(?m)^TOOLS := (.*)$`).FindSubmatch(makefile)
	if line == nil {
		return nil, errors.New("the Makefile has no TOOLS")
	}
	tools := map[string]string{}
	for _, tool := range strings.Fields(string(line[1])) {
		folder, name, _ := strings.Cut(tool, ":")
		tools[name] = folder
	}
	return tools, nil
}

// requireAll makes the absence of a program a failure.
const requireAll = "CAUASE_REQUIRE_ALL"

// need finds a program, or skips the test where it may be missing.
func need(t *testing.T, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv(requireAll) == "1" {
		t.Fatalf("%s is not installed, and %s is set (apt-get install %s)", name, requireAll, debianPackage)
	}
	t.Skipf("NOT TESTED: %s is not installed (apt-get install %s)", name, debianPackage)
	return ""
}

// must runs a command and returns its standard output.
func must(t *testing.T, dir string, argv ...string) string {
	t.Helper()
	out, err := try(dir, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(dir string, argv ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
