package folder

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
)

// Why something is not opened.
var (
	ErrSymlink    = errors.New("is a symbolic link")
	ErrNotRegular = errors.New("is not a regular file")
	ErrTooLong    = errors.New("is too long")
)

// ErrIrreplaceable is a file that no rename can replace.
var ErrIrreplaceable = errors.New("cannot be replaced")

// ErrExposed is a folder, or a file, that others than root and the user of this process can write to.
var ErrExposed = errors.New("others can change it")

// An ExposedError says who can put something else in the place of a file.
type ExposedError struct {
	Path   string // that was to be reached
	Folder string // on the way to it
	UID    int    // whose it is, if that is the reason, or -1
	GID    int    // whose members can write to it, if that is the reason, or -1; with both -1 it is everybody

	child  bool // Folder is within the one that was judged
	listed bool // those who can write are in an access control list
}

// Error names the folder and who can write there.
func (e *ExposedError) Error() string {
	var who string
	switch {
	case e.UID >= 0:
		who = "belongs to user " + userName(e.UID)
	case e.GID >= 0:
		who = "can be written by group " + groupName(e.GID)
	case e.listed:
		who = "can be written by others, whom its access control list names"
	default:
		who = "can be written by everybody"
	}
	return fmt.Sprintf("%s: the folder %s %s: %s could put something else there", e.Path, e.Folder, who, e.whom())
}

func (e *ExposedError) whom() string {
	switch {
	case e.UID >= 0:
		return "that user"
	case e.GID >= 0:
		return "its members"
	case e.listed:
		return "they"
	}
	return "anybody"
}

// Is makes it one of ErrExposed.
func (e *ExposedError) Is(err error) bool { return err == ErrExposed }

func userName(uid int) string {
	number := strconv.Itoa(uid)
	if u, err := user.LookupId(number); err == nil {
		return number + " (" + u.Username + ")"
	}
	return number
}

func groupName(gid int) string {
	number := strconv.Itoa(gid)
	if g, err := user.LookupGroupId(number); err == nil {
		return number + " (" + g.Name + ")"
	}
	return number
}
