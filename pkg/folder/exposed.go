//go:build unix

package folder

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// trusted reports whether a user may decide what this process works on.
func trusted(uid int) bool { return uid == 0 || uid == os.Geteuid() }

// Exposed reports why others than root and the user of this process can change the content of a file at path,
// nil if they cannot.
func (i *Info) Exposed(path string) error {
	who := ""
	switch {
	case !trusted(i.UID()):
		who = "belongs to user " + userName(i.UID())
	case i.Mode().Perm()&0o002 != 0:
		who = "can be written by everybody"
	case i.Mode().Perm()&0o020 != 0 && !ownGroup(i.GID()):
		who = "can be written by group " + groupName(i.GID())
	case i.Mode().Perm()&0o020 != 0 && (i.extended == nil || i.extended.acl.letsNamedWrite()):
		who = "can be written by others, whom its access control list names"
	default:
		return nil
	}
	return fmt.Errorf("%s %s: %w", path, who, ErrExposed)
}

// exposure reports why others could put something in the place of child in folder, nil for any name
// in it. Access control lists that let others write show in the permissions of the group, which are
// their mask; where these are for a group that is the user's alone, it takes a look at the list.
func exposure(folder, child *Info) *ExposedError {
	mode := folder.Mode()
	switch {
	case !trusted(folder.UID()):
		return &ExposedError{UID: folder.UID(), GID: -1}
	case mode&fs.ModeSticky != 0 && child != nil:
		// Only who owns it, or the folder, can rename or remove it.
		if !trusted(child.UID()) {
			return &ExposedError{UID: child.UID(), GID: -1, child: true}
		}
		return nil
	case mode.Perm()&0o002 != 0:
		return &ExposedError{UID: -1, GID: -1}
	case mode.Perm()&0o020 != 0 && !ownGroup(folder.GID()):
		return &ExposedError{UID: -1, GID: folder.GID()}
	case mode.Perm()&0o020 != 0 && (folder.extended == nil || folder.extended.acl.letsNamedWrite()):
		return &ExposedError{UID: -1, GID: -1, listed: true}
	}
	return nil
}

// ownGroup reports whether a group is that of the user of this process alone, as many systems make one for each
// user. For root there is none: its group may well be that of others.
func ownGroup(gid int) bool {
	uid := os.Geteuid()
	if uid == 0 || gid != os.Getegid() {
		return false
	}
	me, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || me.Gid != strconv.Itoa(gid) {
		return false
	}
	listed := false
	others := anyLine("/etc/group", func(fields []string) bool {
		if len(fields) < 4 || fields[2] != me.Gid {
			return false
		}
		listed = true
		return fields[0] != me.Username || strings.Trim(fields[3], ", ") != "" && fields[3] != me.Username
	}) || anyLine("/etc/passwd", func(fields []string) bool {
		return len(fields) > 3 && fields[3] == me.Gid && fields[2] != me.Uid
	})
	return listed && !others
}

// anyLine reports whether a line of a table of accounts is as asked for, or the table cannot be read.
func anyLine(path string, is func(fields []string) bool) bool {
	table, err := os.Open(path)
	if err != nil {
		return true
	}
	defer table.Close()
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		if is(strings.Split(lines.Text(), ":")) {
			return true
		}
	}
	return lines.Err() != nil
}
