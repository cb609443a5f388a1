package crash

import (
	"os"
	"testing"

	"cauase/pkg/testkit/faults"
)

// needTracer skips the test, saying so, where nothing can be traced and need not be.
func needTracer(t testing.TB) {
	t.Helper()
	cmd, err := faults.Command(faults.Options{Folder: t.TempDir(), Armed: true}, "true")
	if err == nil {
		var p *faults.Process
		if p, err = faults.Start(cmd); err == nil {
			err = p.Wait()
		}
	}
	if err == nil {
		return
	}
	if os.Getenv("CAUASE_REQUIRE_ALL") == "1" {
		t.Fatalf("programs cannot be traced here, and CAUASE_REQUIRE_ALL is set: %v", err)
	}
	t.Skipf("NOT TESTED: programs cannot be traced here: %v", err)
}
