//go:build interop

// Package interop runs our programs and those of the reference implementation, caucase,
// against each other: its client with our daemon, our client with its daemon, and both on
// the same files. The reference is a black box installed in a Python venv; make interop
// sees to that. Where docs/protocol.md and the reference disagree on the wire the
// reference is right, and the test that meets it says so.
package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"cauase/pkg/testkit"
)

// programs is where the executables under test are.
var programs struct {
	ours      string
	reference string // "" if it is not installed
}

// requireAll is set where nothing may be skipped.
var requireAll = os.Getenv("CAUASE_REQUIRE_ALL") == "1"

func TestMain(m *testing.M) {
	testkit.Parallel(runtime.GOMAXPROCS(0) + 3) // a few stories wait for minutes
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	venv := os.Getenv("CAUCASE_VENV")
	if venv == "" {
		venv = filepath.Join("..", "..", ".cache", "caucase")
	}
	reference, err := filepath.Abs(filepath.Join(venv, "bin"))
	if err == nil {
		_, err = os.Stat(filepath.Join(reference, "caucased"))
	}
	switch {
	case err == nil:
		programs.reference = reference
	case requireAll:
		fmt.Fprintf(os.Stderr, "interop: CAUASE_REQUIRE_ALL is set, but the reference is not installed: %v\n", err)
		return 1
	default:
		fmt.Fprintf(os.Stderr, "interop: SKIPPING EVERYTHING, the reference is not installed (make interop does it): %v\n", err)
	}
	bin, err := os.MkdirTemp("", "cauase-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	defer os.RemoveAll(bin)
	if err := testkit.BuildReleased(bin, map[string]string{
		"cauased": "cauased", "cauase": "cauase",
		"cauase-probe": "probe", "cauase-rerequest": "rerequest", "cauase-key-id": "keyid",
	}); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	programs.ours = bin
	// Out of the way of who runs the tests.
	os.Setenv("XDG_CONFIG_HOME", filepath.Join(bin, "config"))
	return m.Run()
}

// needReference skips a test that cannot run without the reference, and lets it run
// beside others.
func needReference(t *testing.T) {
	t.Helper()
	if programs.reference == "" {
		t.Skip("NOT TESTED: the reference is not installed: make interop does it")
	}
	t.Parallel()
}
