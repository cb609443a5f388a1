package pemfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// acl encodes an access control list: owner, a named user, the group, a mask, others.
func acl(user, named, group, mask, other uint16) []byte {
	const someone, undefined = 54321, 0xffffffff
	data := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, user, undefined}, {2, named, someone}, {4, group, undefined}, {0x10, mask, undefined}, {0x20, other, undefined}} {
		data = binary.LittleEndian.AppendUint16(data, e.tag)
		data = binary.LittleEndian.AppendUint16(data, e.perm)
		data = binary.LittleEndian.AppendUint32(data, e.id)
	}
	return data
}

func attributeOf(t *testing.T, path, name string) []byte {
	t.Helper()
	buffer := make([]byte, 1000)
	n, err := unix.Getxattr(path, name, buffer)
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	must(t, err)
	return buffer[:n]
}

const (
	accessList  = "system.posix_acl_access"
	defaultList = "system.posix_acl_default"
)

func setAttribute(t *testing.T, path, name string, value []byte) {
	t.Helper()
	err := unix.Setxattr(path, name, value, 0)
	if errors.Is(err, unix.ENOTSUP) {
		t.Skip("NOT TESTED: the file system has no " + name)
	}
	must(t, err)
}

// TestAccessListsStay: a file that is replaced keeps its access control list and attributes, and nobody can read the new
// one who could not read the old one.
func TestAccessListsStay(t *testing.T) {
	for name, c := range map[string]struct {
		list   []byte
		mode   fs.FileMode // asked for, 0 for none
		want   []byte
		closed bool // also where lists are inherited in the folder
	}{
		"a user may read, the group may not": {list: acl(6, 4, 0, 4, 0), want: acl(6, 4, 0, 4, 0)},
		"the mask hides both":                {list: acl(6, 4, 4, 0, 0), want: acl(6, 4, 4, 0, 0)},
		"no list":                            {},
		"a mode is asked for":                {list: acl(6, 4, 0, 4, 0), mode: 0o640, want: acl(6, 4, 0, 4, 0)},
		"a mode for the group alone":         {list: acl(6, 4, 0, 0, 0), mode: 0o640, want: acl(6, 0, 4, 4, 0)},
		"a mode without the group":           {list: acl(6, 4, 4, 4, 0), mode: 0o600, want: acl(6, 4, 4, 0, 0)},
		"a user may write":                   {list: acl(6, 6, 0, 6, 0), want: acl(6, 6, 0, 4, 0)},
		"all may read":                       {list: acl(6, 4, 4, 4, 4), want: acl(6, 4, 4, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			key := filepath.Join(dir, "web.key")
			write(t, key, "old", 0o600)
			setAttribute(t, key, "user.purpose", []byte("backup=no"))
			if c.list != nil {
				setAttribute(t, key, accessList, c.list)
			}
			setAttribute(t, dir, defaultList, acl(7, 7, 7, 7, 7)) // what is new here is for everybody
			if _, err := Write(File{Path: key, Content: []byte("new"), Secret: true, Attributes: Attributes{Mode: c.mode}}); err != nil {
				t.Fatal(err)
			}
			if got := attributeOf(t, key, accessList); !bytes.Equal(got, c.want) {
				t.Errorf("got %x, want %x", got, c.want)
			}
			if got := attributeOf(t, key, "user.purpose"); string(got) != "backup=no" || read(t, key) != "new" {
				t.Errorf("attribute %q, content %q", got, read(t, key))
			}
			if info, err := os.Stat(key); err != nil || info.Mode().Perm()&0o007 != 0 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		})
	}
}

// TestPutBackLike: what is put back gets the hands it was in, access control list included, whatever is there by now.
func TestPutBackLike(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "web.key")
	write(t, key, "key", 0o600)
	setAttribute(t, key, accessList, acl(6, 4, 0, 4, 0))
	was, err := Attributes{}.Read(key)
	must(t, err)
	for _, gone := range []bool{true, false} {
		must(t, os.Remove(key))
		if !gone {
			write(t, key, "", 0o600)
		}
		if _, err := Write(File{Path: key, Content: was.Data, Secret: true, Attributes: Attributes{Like: was.Info}}); err != nil {
			t.Fatal(err)
		}
		if got := attributeOf(t, key, accessList); !bytes.Equal(got, acl(6, 4, 0, 4, 0)) || read(t, key) != "key" {
			t.Errorf("gone: %v: %x", gone, got)
		}
	}
}

// Flags of files, as in linux/fs.h.
const (
	immutable  = 0x10
	appendOnly = 0x20
)

// setFlag makes a file immutable, or appendable only.
func setFlag(t *testing.T, path string, flag int) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	set := func(flags int) error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.FS_IOC_SETFLAGS, uintptr(unsafe.Pointer(&flags)))
		if errno != 0 {
			return errno
		}
		return nil
	}
	old, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = set(old | flag)
	}
	if err != nil {
		t.Skipf("NOT TESTED: flags of files: %v", err)
	}
	t.Cleanup(func() {
		f, err := os.Open(path)
		if err != nil {
			return
		}
		defer f.Close()
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.FS_IOC_SETFLAGS, uintptr(unsafe.Pointer(&old)))
	})
}

// TestIrreplaceable: what cannot be replaced is found before anything is asked for, without being touched, and neither is
// what is beside it.
func TestIrreplaceable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can make files immutable and mounts")
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir, file string)
		says    string
	}{
		"a plain file":             {func(*testing.T, string, string) {}, ""},
		"nothing":                  {func(t *testing.T, _, file string) { must(t, os.Remove(file)) }, ""},
		"immutable":                {func(t *testing.T, _, file string) { setFlag(t, file, immutable) }, "it is immutable (chattr -i"},
		"append only":              {func(t *testing.T, _, file string) { setFlag(t, file, appendOnly) }, "can only be appended to"},
		"in an immutable folder":   {func(t *testing.T, dir, _ string) { setFlag(t, dir, immutable) }, "is immutable"},
		"in an append-only folder": {func(t *testing.T, dir, _ string) { setFlag(t, dir, appendOnly) }, "can only be appended to"},
		"a mount": {func(t *testing.T, dir, file string) {
			other := filepath.Join(t.TempDir(), "other")
			write(t, other, "other", 0o600)
			mount(t, other, file, "", unix.MS_BIND)
		}, "is a mount point"},
		"on a read-only file system": {func(t *testing.T, dir, _ string) {
			mount(t, dir, dir, "", unix.MS_BIND)
			must(t, unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		}, "read-only file system"},
		"a link":   {func(t *testing.T, _, file string) { must(t, os.Remove(file)); must(t, os.Symlink("x", file)) }, "symbolic link"},
		"a folder": {func(t *testing.T, _, file string) { must(t, os.Remove(file)); must(t, os.Mkdir(file, 0o755)) }, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dir := filepath.Join(base, "folder")
			must(t, os.Mkdir(dir, 0o755))
			paths := PairPaths{Key: filepath.Join(dir, "web.key"), Crt: filepath.Join(base, "web.crt")}
			write(t, paths.Key, "key", 0o600)
			write(t, paths.Crt, "crt", 0o644)
			c.prepare(t, dir, paths.Key)
			before := list(t, dir)
			for what, err := range map[string]error{"looking": paths.Attributes.Replaceable(paths.Key), "trying": paths.Check()} {
				if (err != nil) != (c.says != "") || err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir)) {
					t.Errorf("%s: %v, want …%s…", what, err, c.says)
				}
			}
			if after := list(t, dir); strings.Join(before, " ") != strings.Join(after, " ") {
				t.Errorf("the folder holds %v", after)
			}
			if c.says == "" {
				return
			}
			if _, err := WritePair(paths, newPair(t, "new", false)); err == nil {
				t.Error("it was replaced")
			}
			if read(t, paths.Crt) != "crt" {
				t.Error("the other file has changed")
			}
		})
	}
}

func mount(t *testing.T, source, target, kind string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(source, target, kind, flags, ""); err != nil {
		t.Skipf("NOT TESTED: mounts: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}
