package folder

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

// tree is a folder with links of every kind.
func tree(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(dir, "real/deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "real/file"), []byte("content"), 0o600))
	for link, target := range map[string]string{
		"folder": "real", "absolute": filepath.Join(dir, "real"), "file": "real/file", "twice": "folder/../file",
		"up": "real/deep/../../real/file", "nowhere": "real/none", "loop": "loop", "root": "/",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	return dir
}

// TestPaths: a path leads where the kernel says it does, or nowhere if it has links that are not wanted.
func TestPaths(t *testing.T) {
	dir := tree(t)
	for path, c := range map[string]struct {
		links bool // on the way, or at the end
		err   error
	}{
		"real/file":              {},
		"./real//deep/../file":   {},
		"folder/file":            {links: true},
		"absolute/file":          {links: true},
		"folder/deep/../file":    {links: true},
		"file":                   {links: true},
		"twice":                  {links: true},
		"up":                     {links: true},
		"root" + dir + "/file":   {links: true},
		"nowhere":                {links: true, err: fs.ErrNotExist},
		"loop":                   {links: true, err: syscall.ELOOP},
		"none":                   {err: fs.ErrNotExist},
		"none/file":              {err: fs.ErrNotExist},
		"real/file/more":         {err: syscall.ENOTDIR},
		"real":                   {err: ErrNotRegular},
		"":                       {err: fs.ErrNotExist},
		strings.Repeat("x", 300): {err: syscall.ENAMETOOLONG},
	} {
		read := func(a Access, path string) (string, error) {
			in, name, err := a.Target(path)
			if err != nil {
				return "", err
			}
			defer in.Close()
			content, _, err := in.ReadFile(name, 100)
			return string(content), err
		}
		t.Chdir(dir)
		for _, path := range []string{path, filepath.Join(dir, "x") + "/../" + path} {
			if strings.HasSuffix(path, "/../") {
				continue
			}
			path = strings.Replace(path, "/x/../", "/real/../", 1)
			content, err := read(Access{}, path)
			if (err == nil) != (c.err == nil) || !errors.Is(err, c.err) || err == nil && content != "content" {
				t.Errorf("%q: %q, %v, want %v", path, content, err, c.err)
			}
			want := c.err
			if c.links {
				want = ErrSymlink
			}
			if _, err := read(Access{NoLinks: true}, path); (err == nil) != (want == nil) || !errors.Is(err, want) {
				t.Errorf("%q without links: %v, want %v", path, err, want)
			}
		}
	}
}

// TestRootFollowsNobodysLinks: a command that root runs is not led away by links in folders of others, but by those in
// its own.
func TestRootFollowsNobodysLinks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root has such folders")
	}
	dir := tree(t)
	follow := func() error {
		in, _, err := Access{}.Target(filepath.Join(dir, "folder/file"))
		if err == nil {
			in.Close()
		}
		return err
	}
	must(t, follow())
	must(t, os.Chown(dir, 54321, 0))
	if err := follow(); !errors.Is(err, ErrSymlink) {
		t.Errorf("in somebody's folder: %v", err)
	}
	in, _, err := Access{}.Target(filepath.Join(dir, "real/file"))
	must(t, err)
	in.Close()
}

// TestFolderStays: work goes on in the folder that was opened, whatever has its path by now.
func TestFolderStays(t *testing.T) {
	dir := tree(t)
	path := filepath.Join(dir, "real")
	in, _, err := Access{}.Parent(filepath.Join(path, "file"))
	must(t, err)
	defer in.Close()
	must(t, os.Rename(path, path+".moved"))
	must(t, os.Mkdir(path, 0o755))
	must(t, os.WriteFile(filepath.Join(path, "file"), []byte("another"), 0o600))
	if content, _, err := in.ReadFile("file", 100); err != nil || string(content) != "content" {
		t.Errorf("%q, %v", content, err)
	}
	file, err := in.OpenFile("new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	must(t, err)
	must(t, file.Close())
	must(t, in.Rename("new", "newer"))
	must(t, in.Link("newer", "second"))
	made, err := in.Mkdir("sub", 0o750)
	must(t, err)
	made.Close()
	must(t, in.Remove("newer"))
	names, err := in.Names(10, nil)
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"deep", "file", "second", "sub"}) {
		t.Errorf("%q, %v", names, err)
	}
	must(t, in.RemoveFolder("sub"))
	if _, err := in.Names(1, nil); err == nil {
		t.Error("more names than asked for")
	}
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 1 {
		t.Errorf("in the other folder: %v, %v", entries, err)
	}
}

// TestNames: what is no name of the folder is none.
func TestNames(t *testing.T) {
	in, err := Access{}.Open(t.TempDir())
	must(t, err)
	defer in.Close()
	for _, name := range []string{"", ".", "..", "a/b", "/etc/passwd", "../x", "a\x00b"} {
		if _, err := in.OpenFile(name, os.O_RDONLY, 0); err == nil {
			t.Errorf("%q is opened", name)
		}
		if in.Rename(name, "x") == nil || in.Link("x", name) == nil || in.Remove(name) == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

// TestOnlyFiles: links, FIFOs, sockets, devices and folders are not read, and nothing waits for them.
func TestOnlyFiles(t *testing.T) {
	dir := t.TempDir()
	in, err := Access{}.Open(dir)
	must(t, err)
	defer in.Close()
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	names := map[string]error{"link": ErrSymlink, "fifo": ErrNotRegular, "folder": ErrNotRegular}
	if os.Geteuid() == 0 && syscall.Mknod(filepath.Join(dir, "device"), syscall.S_IFCHR|0o600, 1<<8|3) == nil {
		names["device"] = ErrNotRegular
	}
	for name, want := range names {
		if _, _, err := in.ReadFile(name, 10); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "long"), make([]byte, 11), 0o600))
	if _, _, err := in.ReadFile("long", 10); !errors.Is(err, ErrTooLong) {
		t.Errorf("long: %v", err)
	}
}
