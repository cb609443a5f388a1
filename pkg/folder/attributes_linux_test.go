package folder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeAttributes are those of files by their names, on a file system that takes what settable says.
type fakeAttributes struct {
	files    map[string]map[string]string
	settable func(file *os.File, name string) error
}

func (f *fakeAttributes) use(t *testing.T, open ...*os.File) {
	before := calls
	t.Cleanup(func() { calls = before })
	of := func(fd int) (*os.File, map[string]string) {
		for _, file := range open {
			if int(file.Fd()) == fd {
				if f.files[file.Name()] == nil {
					f.files[file.Name()] = map[string]string{}
				}
				return file, f.files[file.Name()]
			}
		}
		t.Errorf("asks for another file")
		return nil, nil
	}
	answer := func(value string, to []byte) (int, error) {
		if len(to) > 0 && len(to) < len(value) {
			return 0, unix.ERANGE
		}
		copy(to, value)
		return len(value), nil
	}
	calls = attributeCalls{
		list: func(fd int, to []byte) (int, error) {
			_, all := of(fd)
			var names strings.Builder
			for name := range all {
				names.WriteString(name + "\x00")
			}
			return answer(names.String(), to)
		},
		get: func(fd int, name string, to []byte) (int, error) {
			_, all := of(fd)
			value, found := all[name]
			if !found {
				return 0, unix.ENODATA
			}
			return answer(value, to)
		},
		set: func(fd int, name string, value []byte, _ int) error {
			file, all := of(fd)
			if err := f.settable(file, name); err != nil {
				return err
			}
			all[name] = string(value)
			return nil
		},
	}
}

// Whatever an attribute may mean, a new file has it, or does not take the place of the old one.
func TestAttributesAreKeptOrRefused(t *testing.T) {
	taken := func(*os.File, string) error { return nil }
	refused := func(*os.File, string) error { return unix.ENOTSUP }
	for name, c := range map[string]struct {
		settable func(*os.File, string) error
		kept     bool
		says     string
	}{
		"user.purpose":              {taken, true, ""},
		"trusted.note":              {taken, true, ""},
		"security.selinux":          {taken, true, ""},
		"security.SMACK64EXEC":      {taken, true, ""},
		"system.nfs4_acl":           {taken, true, ""},
		"system.nfs4_dacl":          {refused, false, "cannot keep the attribute system.nfs4_dacl"},
		"system.richacl":            {refused, false, "cannot keep the attribute system.richacl"},
		"system.unheard_of":         {taken, true, ""},
		"security.selinux, refused": {func(*os.File, string) error { return unix.EPERM }, false, "cannot keep the attribute security.selinux"},
		"security.capability":       {taken, false, ""}, // is of what the file held
		"security.ima":              {taken, false, ""},
		"system.nfs4_acl, for more": {func(f *os.File, _ string) error { return f.Chmod(0o664) }, true, "makes the mode 0664, and 0600 is wanted"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			old, err := os.Create(filepath.Join(dir, "old"))
			must(t, err)
			defer old.Close()
			replacement, err := os.Create(filepath.Join(dir, "new"))
			must(t, err)
			defer replacement.Close()
			attribute, _, _ := strings.Cut(name, ",")
			fake := &fakeAttributes{files: map[string]map[string]string{old.Name(): {attribute: "value"}}, settable: c.settable}
			fake.use(t, old, replacement)
			e, err := extendedOf(old)
			must(t, err)
			err = e.Give(replacement, 0o600)
			if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if got := fake.files[replacement.Name()][attribute]; (got == "value") != c.kept {
				t.Errorf("the new file has %q", got)
			}
		})
	}
}

// On a real file system, too.
func TestRealAttributesAreKept(t *testing.T) {
	for _, name := range []string{"user.purpose", "trusted.note", "security.unheard_of"} {
		dir := t.TempDir()
		old, err := os.Create(filepath.Join(dir, "old"))
		must(t, err)
		defer old.Close()
		replacement, err := os.Create(filepath.Join(dir, "new"))
		must(t, err)
		defer replacement.Close()
		if err := unix.Fsetxattr(int(old.Fd()), name, []byte("value"), 0); errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) {
			t.Logf("NOT TESTED: %s: %v", name, err)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		e, err := extendedOf(old)
		must(t, err)
		must(t, e.Give(replacement, 0o600))
		if got, err := attribute(replacement, name); err != nil || string(got) != "value" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
