package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMakefileLeavesTheSameUnwatched(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^UNWATCHED := (.*)$`).FindSubmatch(makefile)
	if line == nil {
		t.Fatal("the Makefile has no UNWATCHED")
	}
	if got := strings.Fields(string(line[1])); !slices.Equal(got, unwatched) {
		t.Errorf("the Makefile says %q, this package %q", got, unwatched)
	}
}

// What one test has been given is neither built again for the next, nor changed by it.
func TestToolsAreBuiltOnce(t *testing.T) {
	tools := map[string]string{"a-tool": "rerequest"}
	var made [2]os.FileInfo
	for i := range made {
		dir := t.TempDir()
		if err := BuildReleased(dir, tools); err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(dir, "a-tool")
		if out, err := exec.Command(program, "--version").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		shared, done, err := share(asReleased)
		if err != nil {
			t.Skip("there is no folder to share: ", err)
		}
		done()
		if made[i], err = os.Stat(filepath.Join(shared, "rerequest")); err != nil {
			t.Fatal(err)
		}
		if left := Files(t, dir); len(left) != 1 {
			t.Errorf("there are %q", left)
		}
	}
	if !os.SameFile(made[0], made[1]) {
		t.Error("it was built again")
	}
}

// Where the folder that tests share cannot be had, each builds its own.
func TestToolsWithoutASharedFolder(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(t.TempDir()) // which is in no module, so that there is nothing to build either
	err := BuildReleased(dir, map[string]string{"a-tool": "rerequest"})
	if err == nil || !strings.Contains(err.Error(), "go build") || !strings.Contains(err.Error(), filepath.Join(dir, "build-")) {
		t.Errorf("%v", err)
	}
	if left := Files(t, dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
