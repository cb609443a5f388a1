package folder

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const aclAttribute = "system.posix_acl_access"

// keptAttribute reports whether an attribute describes a file whatever its content: security labels, access control lists
// of network file systems, and what users and administrators have noted. So does whatever is not known here: without
// it, more might be allowed than before. Capabilities and measurements are of one content, and losing them allows less.
func keptAttribute(name string) bool {
	switch name {
	case "", aclAttribute, "system.posix_acl_default", "security.capability", "security.ima", "security.evm":
		return false
	}
	return true
}

// calls are the system's, but in tests of attributes that few file systems have.
var calls = attributeCalls{list: unix.Flistxattr, get: unix.Fgetxattr, set: unix.Fsetxattr}

type attributeCalls struct {
	list func(fd int, to []byte) (int, error)
	get  func(fd int, name string, to []byte) (int, error)
	set  func(fd int, name string, value []byte, flags int) error
}

// none reports whether there is no such attribute, nor could there be.
func none(err error) bool {
	return errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS)
}

// value reads an attribute whose size may change meanwhile.
func value(read func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := read(nil)
		if err != nil || size == 0 {
			return nil, err
		}
		buffer := make([]byte, size)
		n, err := read(buffer)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		return buffer[:max(n, 0)], err
	}
}

func attribute(file *os.File, name string) ([]byte, error) {
	return value(func(b []byte) (int, error) { return calls.get(int(file.Fd()), name, b) }) //nolint:gosec // a descriptor fits
}

func extendedOf(file *os.File) (*Extended, error) {
	e := &Extended{attributes: map[string]string{}}
	names, err := value(func(b []byte) (int, error) { return calls.list(int(file.Fd()), b) }) //nolint:gosec // a descriptor fits
	if none(err) {
		return e, nil
	}
	if err != nil {
		return nil, fmt.Errorf("attributes of %s: %w", file.Name(), err)
	}
	for name := range strings.SplitSeq(strings.Trim(string(names), "\x00"), "\x00") {
		if name != aclAttribute && !keptAttribute(name) {
			continue
		}
		content, err := attribute(file, name)
		if none(err) {
			continue
		}
		if err == nil && name == aclAttribute {
			e.acl, err = parseACL(content)
		} else {
			e.attributes[name] = string(content)
		}
		if err != nil {
			return nil, fmt.Errorf("attribute %s of %s: %w", name, file.Name(), err)
		}
	}
	return e, nil
}

// set makes the list that of a file, also if that is none and the folder of the file has given it another one.
func (l acl) set(file *os.File) error {
	fd := int(file.Fd()) //nolint:gosec // a descriptor fits
	if l != nil {
		return unix.Fsetxattr(fd, aclAttribute, l.bytes(), 0)
	}
	if err := unix.Fremovexattr(fd, aclAttribute); !none(err) {
		return err
	}
	return nil
}

func (e *Extended) setAttributes(file *os.File) error {
	for name, wanted := range e.attributes {
		if is, err := attribute(file, name); err == nil && string(is) == wanted {
			continue
		}
		if err := calls.set(int(file.Fd()), name, []byte(wanted), 0); err != nil { //nolint:gosec // a descriptor fits
			return fmt.Errorf("cannot keep the attribute %s: %w", name, err)
		}
	}
	return nil
}

// folderACL is the access control list of a folder, which may not be open for reading. Of one that cannot be read
// the worst is assumed.
func folderACL(folder *os.File) acl {
	data, err := value(func(b []byte) (int, error) {
		return unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()), aclAttribute, b)
	})
	if none(err) {
		return nil
	}
	list, bad := parseACL(data)
	if err != nil || bad != nil {
		return acl{{tag: aclUser, perm: 7}}
	}
	return list
}
