//go:build unix && !linux

package updater

import (
	"errors"
	"os"
)

// userIDs are those of this process. The saved one is not known here: whoever starts it as another user gives up
// all three.
func userIDs() (real, effective, saved int) { return os.Getuid(), os.Geteuid(), os.Geteuid() }

func closeRange(uint) error { return errors.ErrUnsupported }

const openFiles = "/dev/fd"
