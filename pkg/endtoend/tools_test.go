package endtoend

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// requireAll makes the absence of a tool a failure: where everything is installed, nothing
// may go untested unnoticed.
const requireAll = "CAUASE_REQUIRE_ALL"

var errMissing = errors.New("not installed")

// haveTool reports whether a program that not everybody has is there. Where it has to be, its
// absence is an error.
func haveTool(name string) (bool, error) {
	if _, err := exec.LookPath(name); err == nil {
		return true, nil
	}
	if os.Getenv(requireAll) == "1" {
		return false, fmt.Errorf("%s: %w, and %s is set", name, errMissing, requireAll)
	}
	return false, nil
}

// needTool skips the test, saying so, when a program is not there and need not be.
func needTool(t testing.TB, name string) {
	t.Helper()
	switch have, err := haveTool(name); {
	case err != nil:
		t.Fatal(err)
	case !have:
		t.Skipf("NOT TESTED: %s is not installed (apt-get install openssl gnutls-bin sqlite3)", name)
	}
}

func cut(env string) (name, value string, found bool) { return strings.Cut(env, "=") }

// isOurs reports whether an environment variable is one that our tools read.
func isOurs(name string) bool {
	return name != requireAll && (strings.HasPrefix(name, "CAUASE_") || strings.HasPrefix(name, "CAUASED_"))
}
