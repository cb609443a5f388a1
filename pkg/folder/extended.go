package folder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Extended is what a file has beyond owner, group and mode: an access control list, and attributes
// such as security labels.
type Extended struct {
	acl        acl
	attributes map[string]string
}

// Extended returns what is known of a file beyond its mode, nil if it was not opened for that: of those
// that [Folder.ReadFile] has read it is known.
func (i *Info) Extended() *Extended { return i.extended }

// WithExtended is the description of a file with what it has beyond its mode.
func (f *Folder) WithExtended(name string, is *Info) (*Info, error) {
	if is.extended != nil {
		return is, nil
	}
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	opened, err := InfoOf(file)
	if err == nil && !opened.Same(is) {
		err = fmt.Errorf("%s was replaced meanwhile", f.Join(name))
	}
	if err == nil {
		opened.extended, err = extendedOf(file)
	}
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Give gives a file, which has its owner and group already, a mode and what another file has beyond that. Nobody gets
// rights by it that they do not have there, except for the group of the file and others, whom the mode is for. It
// fails rather than lose any of it.
func (e *Extended) Give(file *os.File, mode fs.FileMode) error {
	if e == nil {
		return file.Chmod(mode)
	}
	if err := e.acl.within(mode).set(file); err != nil {
		return fmt.Errorf("cannot keep the access control list: %w", err)
	}
	// The permissions of the group become the mask of a list.
	if err := file.Chmod(mode); err != nil {
		return err
	}
	if err := e.setAttributes(file); err != nil {
		return err
	}
	// A list of another kind than those above may say what the mode is.
	info, err := file.Stat()
	if err == nil && info.Mode().Perm()&^mode.Perm() != 0 {
		err = fmt.Errorf("cannot keep the access control list: it makes the mode %#o, and %#o is wanted", info.Mode().Perm(), mode.Perm())
	}
	return err
}

// An acl is a POSIX access control list, nil for none.
type acl []aclEntry

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// Tags of entries, and what comes before them, as in linux/posix_acl_xattr.h.
const (
	aclVersion  = 2
	aclUser     = 0x02 // a named one
	aclGroupObj = 0x04 // the group of the file
	aclGroup    = 0x08 // a named one
	aclMask     = 0x10
)

var errACL = errors.New("the access control list is of an unknown form")

func parseACL(data []byte) (acl, error) {
	if len(data) < 4 || len(data)%8 != 4 || binary.LittleEndian.Uint32(data) != aclVersion {
		return nil, errACL
	}
	var list acl
	for data = data[4:]; len(data) > 0; data = data[8:] {
		list = append(list, aclEntry{
			tag: binary.LittleEndian.Uint16(data), perm: binary.LittleEndian.Uint16(data[2:]), id: binary.LittleEndian.Uint32(data[4:]),
		})
	}
	return list, nil
}

func (l acl) bytes() []byte {
	data := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range l {
		data = binary.LittleEndian.AppendUint16(data, e.tag)
		data = binary.LittleEndian.AppendUint16(data, e.perm)
		data = binary.LittleEndian.AppendUint32(data, e.id)
	}
	return data
}

// mask is what the list limits all but owner and others to.
func (l acl) mask() uint16 {
	for _, e := range l {
		if e.tag == aclMask {
			return e.perm
		}
	}
	return 7
}

// within is the list for a file of a mode. A mode with more rights for the group than the list had lets
// through is for the group, and not for those whose rights the mask had hidden.
func (l acl) within(mode fs.FileMode) acl {
	group, mask := uint16(mode.Perm()>>3&7), l.mask()
	if group&^mask == 0 {
		return l
	}
	limited := append(acl(nil), l...)
	for i := range limited {
		switch e := &limited[i]; e.tag {
		case aclUser, aclGroup:
			e.perm &= mask
		case aclGroupObj:
			e.perm = group
		}
	}
	return limited
}

// letsNamedWrite reports whether the list lets users or groups that it names write.
func (l acl) letsNamedWrite() bool {
	for _, e := range l {
		if (e.tag == aclUser || e.tag == aclGroup) && e.perm&l.mask()&2 != 0 {
			return true
		}
	}
	return false
}
