package folder

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAccessListOfFolder: the list of a folder shows who else can write there, also where it cannot be listed.
func TestAccessListOfFolder(t *testing.T) {
	for name, c := range map[string]struct {
		list acl
		mode os.FileMode
		want bool
	}{
		"none":                 {nil, 0o775, false},
		"a user who can":       {acl{{tag: 1, perm: 7, id: ^uint32(0)}, {tag: 2, perm: 7, id: 54321}, {tag: 4, perm: 5, id: ^uint32(0)}, {tag: 0x10, perm: 7, id: ^uint32(0)}, {tag: 0x20, perm: 5, id: ^uint32(0)}}, 0, true},
		"a group that can":     {acl{{tag: 1, perm: 7, id: ^uint32(0)}, {tag: 4, perm: 5, id: ^uint32(0)}, {tag: 8, perm: 2, id: 54321}, {tag: 0x10, perm: 7, id: ^uint32(0)}, {tag: 0x20, perm: 5, id: ^uint32(0)}}, 0, true},
		"a user who can read":  {acl{{tag: 1, perm: 7, id: ^uint32(0)}, {tag: 2, perm: 5, id: 54321}, {tag: 4, perm: 7, id: ^uint32(0)}, {tag: 0x10, perm: 7, id: ^uint32(0)}, {tag: 0x20, perm: 5, id: ^uint32(0)}}, 0, false},
		"a user who is masked": {acl{{tag: 1, perm: 7, id: ^uint32(0)}, {tag: 2, perm: 7, id: 54321}, {tag: 4, perm: 7, id: ^uint32(0)}, {tag: 0x10, perm: 5, id: ^uint32(0)}, {tag: 0x20, perm: 5, id: ^uint32(0)}}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "folder")
			must(t, os.Mkdir(dir, 0o755))
			if c.mode != 0 {
				must(t, os.Chmod(dir, c.mode))
			}
			if c.list != nil {
				err := unix.Setxattr(dir, aclAttribute, c.list.bytes(), 0)
				if errors.Is(err, unix.ENOTSUP) {
					t.Skip("NOT TESTED: the file system has no access control lists")
				}
				must(t, err)
			}
			in, err := Access{}.Open(dir)
			must(t, err)
			defer in.Close()
			if got := folderACL(in.file).letsNamedWrite(); got != c.want {
				t.Errorf("others can write: %v", got)
			}
		})
	}
	for _, bad := range []string{"", "\x02", "\x03\x00\x00\x00", "\x02\x00\x00\x00\x01"} {
		if _, err := parseACL([]byte(bad)); err == nil {
			t.Errorf("%q is a list", bad)
		}
	}
}
