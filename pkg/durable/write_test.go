package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFile writes a file that gets its name only when that is free, whoever was faster.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	f, err := Create(path, 0o644)
	must(t, err)
	for _, text := range []string{"longer than the second", "second"} { // a transaction may start over
		must(t, f.Set([]byte(text)))
		if _, err := os.Lstat(path); err == nil {
			t.Error("there before it is published")
		}
	}
	must(t, os.Symlink("elsewhere", path))
	if err := f.Publish(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a link: %v", err)
	}
	if _, err := Create(path, 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("beside a link: %v", err)
	}
	must(t, os.Remove(path))
	must(t, f.Publish())
	f.Discard()
	if data, err := os.ReadFile(path); err != nil || string(data) != "second" || len(names(t, dir)) != 1 {
		t.Errorf("%q %v, %q", data, err, names(t, dir))
	}
	f, err = Create(filepath.Join(dir, "other"), 0o600)
	must(t, err)
	must(t, f.Set([]byte("unwanted")))
	f.Discard()
	if len(names(t, dir)) != 1 {
		t.Errorf("left behind: %q", names(t, dir))
	}
	if err := f.Set(nil); err == nil || strings.Contains(err.Error(), ".new-") {
		t.Errorf("a file that was discarded: %v", err)
	}
	if _, err := Create(filepath.Join(dir, "none", "x"), 0o600); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), ".new-") {
		t.Errorf("in no folder: %v", err)
	}
}

func TestWriteNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	var steps []string
	opts := Options{
		Step: func(name string) { steps = append(steps, strings.Fields(name)[0]) },
		Prepare: func(f *os.File) error {
			info, err := f.Stat()
			if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 0 {
				t.Errorf("prepared with mode %v, %d bytes, %v", info.Mode(), info.Size(), err)
			}
			return f.Chmod(0o640)
		},
	}
	must(t, WriteNew(path, []byte("content"), opts))
	info, err := os.Stat(path)
	must(t, err)
	if content, err := os.ReadFile(path); err != nil || string(content) != "content" || info.Mode().Perm() != 0o640 {
		t.Errorf("%q, %v, mode %v", content, err, info.Mode())
	}
	if !slices.Equal(steps, []string{"create", "fill", "sync"}) {
		t.Errorf("steps %q", steps)
	}
	if err := WriteNew(path, nil, Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "content" {
		t.Errorf("%q, %v", content, err)
	}
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(filepath.Join(dir, "target"), link))
	if err := WriteNew(link, nil, Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("through a link: %v", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"file", "link"}) {
		t.Errorf("%q", got)
	}
}

// TestWriteNewFails has nothing left of a file that could not be written in full.
func TestWriteNewFails(t *testing.T) {
	dir := t.TempDir()
	refusal := errors.New("not permitted")
	for name, prepare := range map[string]func(*os.File) error{
		"prepare": func(*os.File) error { return refusal },
		"write":   func(f *os.File) error { return f.Close() },
	} {
		if err := WriteNew(filepath.Join(dir, "file"), []byte("x"), Options{Prepare: prepare}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := names(t, dir); len(got) != 0 {
			t.Errorf("%s: left %q", name, got)
		}
	}
}
