package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pgtest"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/faults"
	"cauase/pkg/testkit/powercut"
)

// patience is how long anything is waited for, as machines that run tests are busy.
const patience = 2 * time.Minute

// cauased is the daemon as it is shipped, but that its clock may be set forward.
var cauased string

// postgres is the cluster that has the databases of all points.
var postgres = pgtest.Shared(pgtest.Options{})

func TestMain(m *testing.M) {
	faults.Serve()
	powercut.Serve()
	testkit.Parallel(4) // they wait, most of the time
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cauase-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := testkit.BuildShifted(dir, map[string]string{"cauased": "cauased"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cauased = filepath.Join(dir, "cauased")
	for _, v := range os.Environ() {
		// Settings of whoever runs the tests are none of theirs.
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "CAUASED_") || name == "CAUASE_CLOCK_OFFSET" || strings.HasPrefix(name, "PG") {
			os.Unsetenv(name)
		}
	}
	return m.Run()
}

// manage runs cauased manage in a folder, on a database, and returns what it says and what it exits with.
func manage(t testing.TB, dir, database string, args ...string) (code int, said string) {
	t.Helper()
	cmd := exec.Command(cauased, append([]string{"manage"}, args...)...)
	cmd.Dir, cmd.Env = dir, environment(dir, database)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// must is manage where it has to succeed.
func must(t testing.TB, dir, database string, args ...string) string {
	t.Helper()
	code, said := manage(t, dir, database, args...)
	if code != 0 {
		t.Fatalf("cauased manage %s: exit code %d\n%s", strings.Join(args, " "), code, said)
	}
	return said
}

// environment is that of programs which work in a folder, by whose clock they go.
func environment(dir, database string) []string {
	set := append(os.Environ(), "CAUASED_DB="+database)
	if shifted := dir + ".clock"; exists(shifted) {
		set = append(set, "CAUASE_CLOCK_OFFSET="+shifted)
	}
	return set
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// consistent has the database checked, and its log.
func consistent(t testing.TB, dir, database string) {
	t.Helper()
	if code, said := manage(t, dir, database, "check"); code != 0 || !strings.Contains(said, "\n0 errors") {
		t.Errorf("cauased manage check: exit code %d\n%s", code, said)
	}
}
