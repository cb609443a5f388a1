package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// A faulty place fails at some calls.
type faulty struct {
	fileSystem
	link, rename error
}

func (f faulty) Link(old, new string) error {
	if f.link != nil {
		return &os.LinkError{Op: "link", Old: old, New: new, Err: f.link}
	}
	return f.fileSystem.Link(old, new)
}

func (f faulty) Rename(old, new string) error {
	if f.rename != nil {
		return &os.LinkError{Op: "rename", Old: old, New: new, Err: f.rename}
	}
	return f.fileSystem.Rename(old, new)
}

func TestPublish(t *testing.T) {
	const mine, theirs = "mine", "theirs"
	file := func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(theirs), 0o600)) }
	occupants := map[string]func(t *testing.T, path string){
		"nothing":             nil,
		"a file":              file,
		"a folder":            func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) },
		"a link to nowhere":   func(t *testing.T, path string) { must(t, os.Symlink("nowhere", path)) },
		"a link to a file":    func(t *testing.T, path string) { file(t, path+".x"); must(t, os.Symlink(path+".x", path)) },
		"another name of his": func(t *testing.T, path string) { file(t, path+".x"); must(t, os.Link(path+".x", path)) },
	}
	for where, at := range map[string]Place{
		"with links":             fileSystem{},
		"without links: EPERM":   faulty{link: syscall.EPERM},
		"without links: ENOTSUP": faulty{link: syscall.ENOTSUP},
		"without links: ENOSYS":  faulty{link: syscall.ENOSYS},
	} {
		for what, put := range occupants {
			t.Run(where+", "+what, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "name")
				temp := TempName(path)
				must(t, os.WriteFile(temp, []byte(mine), 0o600))
				if put != nil {
					put(t, path)
				}
				before := names(t, filepath.Dir(path))
				err := publish(at, temp, path)
				if put == nil {
					must(t, err)
					if content, err := os.ReadFile(path); err != nil || string(content) != mine {
						t.Errorf("%q, %v", content, err)
					}
					if got := names(t, filepath.Dir(path)); len(got) != 1 {
						t.Errorf("left %q", got)
					}
					return
				}
				if !errors.Is(err, fs.ErrExist) || strings.Contains(err.Error(), ".new-") || !strings.Contains(err.Error(), path) {
					t.Errorf("got %v", err)
				}
				if after := names(t, filepath.Dir(path)); !slices.Equal(before, after) {
					t.Errorf("%q became %q", before, after)
				}
			})
		}
	}
}

func TestPublishErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "name")
	temp := TempName(path)
	must(t, os.WriteFile(temp, nil, 0o600))
	for name, c := range map[string]struct {
		at   Place
		want error
	}{
		"link":   {faulty{link: syscall.EIO}, syscall.EIO},
		"rename": {faulty{link: syscall.EPERM, rename: syscall.ENOSPC}, syscall.ENOSPC},
	} {
		err := publish(c.at, temp, path)
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), ".new-") {
			t.Errorf("%s: %v", name, err)
		}
		if got := names(t, filepath.Dir(path)); len(got) != 1 || got[0] != filepath.Base(temp) {
			t.Errorf("%s: left %q", name, got)
		}
	}
	if err := Publish(path+".none", path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestPublishIn(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	must(t, os.WriteFile(filepath.Join(dir, "temp"), []byte("x"), 0o600))
	must(t, PublishIn(root, "temp", "name"))
	must(t, os.WriteFile(filepath.Join(dir, "temp"), []byte("y"), 0o600))
	if err := PublishIn(root, "temp", "name"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("twice: %v", err)
	}
	if content, err := os.ReadFile(filepath.Join(dir, "name")); err != nil || string(content) != "x" {
		t.Errorf("%q, %v", content, err)
	}
}

func TestRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	must(t, os.WriteFile(from, []byte("new"), 0o600))
	must(t, os.WriteFile(to, []byte("old"), 0o600))
	must(t, Rename(from, to))
	if content, err := os.ReadFile(to); err != nil || string(content) != "new" || len(names(t, dir)) != 1 {
		t.Errorf("%q, %v, %q", content, err, names(t, dir))
	}
	if err := Rename(from, to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is gone: %v", err)
	}
}

func TestSyncFolder(t *testing.T) {
	must(t, SyncFolder(t.TempDir()))
	if err := SyncFolder(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	// A pipe is among what cannot be flushed.
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	if err := r.Sync(); err == nil {
		t.Skip("pipes can be flushed here")
	}
	must(t, SyncOpenFolder(r))
	must(t, r.Close())
	if err := SyncOpenFolder(r); err == nil {
		t.Error("a closed file is flushed")
	}
}

func TestTempName(t *testing.T) {
	a, b := TempName("/x/y.pem"), TempName("/x/y.pem")
	if a == b || !strings.HasPrefix(a, "/x/.y.pem.new-") || len(a) < len("/x/.y.pem.new-")+20 {
		t.Errorf("%s and %s", a, b)
	}
	if here := TempName("y"); !strings.HasPrefix(here, ".y.new-") {
		t.Errorf("%s", here)
	}
}
