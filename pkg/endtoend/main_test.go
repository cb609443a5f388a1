// Package endtoend tests what is delivered: the real binaries, as separate processes, with
// real sockets, files, signals and clocks. Scripts are in testdata/script; what needs a
// program to drive, such as a daemon that is killed at any moment, is here.
package endtoend

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"cauase/pkg/testkit"
)

// binDir holds the tools under test. It is first in PATH.
var binDir string

// releasedDir holds cauased as it is shipped, without the race detector, for tests that start it time and again.
var releasedDir string

func TestMain(m *testing.M) {
	if zone := os.Getenv(envZone); zone != "" {
		serveZone(zone) // in a network namespace
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cauase-endtoend-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	released := filepath.Join(dir, "released")
	if err := errors.Join(os.Mkdir(released, 0o700),
		// The race detector looks at what does several things at once. The others start some hundred times, which
		// takes it ten times as long, to do one thing after the other; their own tests run under it.
		testkit.Build(dir, map[string]string{"cauased": "cauased", "cauase-updater": "updater"}),
		testkit.BuildReleased(dir, map[string]string{"cauase": "cauase", "cauase-key-id": "keyid", "cauase-rerequest": "rerequest"}),
		testkit.BuildReleased(released, map[string]string{"cauased": "cauased"}),
	); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binDir, releasedDir = dir, released
	// The tests do not inherit settings from the environment.
	for _, v := range os.Environ() {
		if name, _, _ := cut(v); isOurs(name) {
			os.Unsetenv(name)
		}
	}
	os.Setenv("CAUASE_STORE", ".")
	os.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return m.Run()
}
