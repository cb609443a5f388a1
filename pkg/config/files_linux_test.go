package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// publicFolder is one that others reach, too: testing's own are below one of this user's.
func publicFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "config")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// unprivileged has do look at files as somebody who may not read everything, also where root runs the tests.
func unprivileged(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	const nobody = 65534
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		err := syscall.Setfsuid(nobody)
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestTheUsersFileThatCannotBeRead: the configuration says whom to trust, so it is not left out because somebody else owns
// it, as after sudo.
func TestTheUsersFileThatCannotBeRead(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", publicFolder(t))
	path := UserFile("")
	if files, err := ReadFiles("", false); err != nil || len(files) != 0 {
		t.Fatalf("without a file: %v, %v", files, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("ca-url = \"http://ca.example.org\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, unreadable := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(unreadable)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(unreadable, 0); err != nil {
			t.Fatal(err)
		}
		unprivileged(t, func() {
			for _, named := range []string{"", path} {
				for _, mayBeMade := range []bool{false, true} {
					if files, err := ReadFiles(named, mayBeMade); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) {
						t.Errorf("%s, named %q, may be made %v: %v, %v", unreadable, named, mayBeMade, files, err)
					}
				}
			}
		})
		if err := os.Chmod(unreadable, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}
