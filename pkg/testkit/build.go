package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Build builds tools into dir, given by their names and the folders that hold them, with the race
// detector if the caller was. Whoever runs a tool of these after Build has it exit without delay.
func Build(dir string, tools map[string]string) error {
	var race []string
	if Race {
		race = slices.Concat([]string{"-race"}, unwatched)
		exitAtOnce()
	}
	return BuildWith(dir, tools, race...)
}

// unwatched are the flags by which the Makefile keeps the race detector off C that was translated to Go, and
// off the arithmetic of signatures. With others, all that depends on these would be compiled once more.
var unwatched = []string{
	"-gcflags=modernc.org/sqlite/lib=-race=false", "-gcflags=modernc.org/libc/...=-race=false",
	"-gcflags=crypto/internal/fips140/bigmod=-race=false", "-gcflags=crypto/internal/fips140/nistec/...=-race=false",
	"-gcflags=crypto/internal/fips140/edwards25519/...=-race=false",
}

// BuildWith builds tools into dir as Build does, with the flags of go build that it is given.
func BuildWith(dir string, tools map[string]string, flags ...string) error {
	// One run for all loads the packages once. It names programs after their folders.
	args := slices.Concat([]string{"build"}, flags, []string{"-o", dir + string(filepath.Separator)})
	for _, folder := range tools {
		args = append(args, "cauase/"+folder)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	for name, folder := range tools {
		if err := os.Rename(filepath.Join(dir, folder), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// exitAtOnce has the programs that the race detector watches end when they are done. By default each
// waits for a second, in which a goroutine that the program has left running might still
// race; for a tool that is run some hundred times that is most of the time a test takes. What is being
// reported when it ends is reported to the end in any case.
func exitAtOnce() {
	const setting = "atexit_sleep_ms"
	if options := os.Getenv("GORACE"); !strings.Contains(options, setting) {
		os.Setenv("GORACE", strings.TrimSpace(setting+"=10 "+options))
	}
}
