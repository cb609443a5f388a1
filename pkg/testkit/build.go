package testkit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// Build puts tools into dir, given by their names and the folders that hold them, with the race
// detector if the caller was built with it. Whoever runs a tool of these after Build has it exit without delay.
func Build(dir string, tools map[string]string) error {
	// Nobody debugs them, and without what a debugger wants they are linked in half the time.
	flags := []string{"-ldflags=-s -w"}
	if Race {
		flags = slices.Concat(flags, []string{"-race"}, unwatched)
		exitAtOnce()
	}
	return build(dir, tools, flags, os.Environ())
}

// unwatched are the flags by which the Makefile keeps the race detector off C that was translated to Go, and
// off the arithmetic of signatures and passphrases. With others, all that depends on these would be compiled once more.
var unwatched = []string{
	"-gcflags=modernc.org/sqlite/lib=-race=false", "-gcflags=modernc.org/libc/...=-race=false",
	"-gcflags=crypto/internal/fips140/bigmod=-race=false", "-gcflags=crypto/internal/fips140/nistec/...=-race=false",
	"-gcflags=crypto/internal/fips140/edwards25519/...=-race=false",
	"-gcflags=golang.org/x/crypto/pbkdf2=-race=false", "-gcflags=software.sslmate.com/src/go-pkcs12=-race=false", "-gcflags=crypto/pbkdf2=-race=false",
	"-gcflags=crypto/internal/fips140/pbkdf2=-race=false", "-gcflags=crypto/internal/fips140/hmac=-race=false",
	"-gcflags=crypto/internal/fips140/sha256=-race=false",
}

// asReleased are the flags of make build.
var asReleased = []string{"-trimpath"}

// BuildReleased puts tools into dir as Build does, made as make build makes them: what is measured of these, or
// killed in the middle, is true of what is shipped, and they take a fraction of the time and the memory.
func BuildReleased(dir string, tools map[string]string) error {
	return build(dir, tools, asReleased, append(os.Environ(), "CGO_ENABLED=0"))
}

// BuildShifted puts tools into dir as BuildReleased does, whose clock is ahead of the machine's by the duration in a file that
// CAUASE_CLOCK_OFFSET names.
func BuildShifted(dir string, tools map[string]string) error {
	return build(dir, tools, slices.Concat(asReleased, []string{"-tags=clockoffset"}), append(os.Environ(), "CGO_ENABLED=0"))
}

// BuildPKCS11 puts cauased into dir, made as make build-pkcs11 makes it.
func BuildPKCS11(dir string) error {
	return build(dir, map[string]string{"cauased": "cauased"}, append([]string{"-tags=pkcs11"}, asReleased...), append(os.Environ(), "CGO_ENABLED=1"))
}

// build builds tools into a folder that the tests of all packages share, in which go build leaves
// alone what is up to date, and copies them into dir.
func build(dir string, tools map[string]string, flags, environment []string) error {
	shared, done, err := share(flags)
	if err != nil { // it is read-only, or of somebody else who has run the tests
		if shared, err = os.MkdirTemp(dir, "build-"); err != nil {
			return err
		}
		done = func() { _ = os.RemoveAll(shared) }
	}
	defer done()
	// One run for all loads the packages once. It names programs after their folders.
	args := slices.Concat([]string{"build"}, flags, []string{"-o", shared + string(filepath.Separator)})
	for _, folder := range tools {
		args = append(args, "cauase/"+folder)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = environment
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	for name, folder := range tools {
		if err := place(filepath.Join(shared, folder), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// share returns the folder of programs that are built with these flags, in the module's .cache, and keeps the
// tests of other packages waiting, which may be building, until done is called.
func share(flags []string) (folder string, done func(), err error) {
	root, err := os.Getwd()
	if err != nil {
		return "", nil, err
	}
	for !isModule(root) {
		parent := filepath.Dir(root)
		if parent == root {
			return "", nil, errors.New("no go.mod above the working directory")
		}
		root = parent
	}
	digest := sha256.Sum256([]byte(strings.Join(flags, "\n")))
	folder = filepath.Join(root, ".cache", "tools", hex.EncodeToString(digest[:4]))
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // the programs are no secret
		return "", nil, err
	}
	done, err = lockedfile.MutexAt(folder + ".lock").Lock()
	return folder, done, err
}

func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}

// place puts a program where a test wants it, in place of what is there. It stays as it is when the next test
// finds that a newer one has to be built: go build does not write into files, it replaces them.
func place(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(from, to); err == nil {
		return nil
	}
	// That may be another file system. By another process: a program which is open for writing cannot
	// be run, and processes that tests start at this moment would have it open.
	if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w\n%s", err, out)
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
