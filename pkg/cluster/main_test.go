package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pgtest"
	"cauase/pkg/testkit"
)

// bin holds the daemon under test.
var bin string

// postgres is a cluster that tests share which leave it alone.
var postgres = pgtest.Shared(pgtest.Options{})

// patience is how long anything is waited for, as machines that run tests are busy.
const patience = 3 * time.Minute

// hung is how long nothing may take that waits for what is not there. How fast things are is logged: machines differ.
const hung = 40 * time.Second

func TestMain(m *testing.M) {
	testkit.Parallel(3) // they wait for timeouts, most of the time
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cauase-cluster-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	err = errors.Join(testkit.Build(dir, map[string]string{"cauased": "cauased"}), testkit.BuildShifted(dir, map[string]string{"cauased-shifted": "cauased"}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	for _, v := range os.Environ() {
		// Settings of whoever runs the tests are none of theirs.
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "CAUASED_") || strings.HasPrefix(name, "PG") {
			os.Unsetenv(name)
		}
	}
	// Whichever of several daemons on one database is first makes it, and others need the same.
	os.Setenv("CAUASED_KEY_SECRET", filepath.Join(dir, "key-secret"))
	return m.Run()
}

// soak is how many times as long loads last in `make soak`.
func soak() time.Duration {
	if os.Getenv("CAUASE_SOAK") == "" {
		return 1
	}
	return 20
}
