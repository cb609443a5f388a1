package updater

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what the system takes, with the zero that ends it.
const maxSocketPath = 104

// addressIn is the address of a socket in an open folder. Here nothing but its path leads to it; nobody but root and the
// agent's user can exchange what is on the way, or the job would not be done there.
func addressIn(folder *os.File, name string) (*net.UnixAddr, error) {
	path := filepath.Join(folder.Name(), name)
	if len(path) >= maxSocketPath {
		return nil, fmt.Errorf("%s: a running agent cannot be asked, as the path is longer than the system takes for a socket; a shorter one for the state, with --state, can be", path)
	}
	return &net.UnixAddr{Name: path, Net: "unix"}, nil
}

// checkPeer refuses all but root and the own user at the other end.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var credential *unix.Xucred
	controlErr := raw.Control(func(fd uintptr) {
		credential, err = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED) //nolint:gosec // a descriptor fits
	})
	if err := errors.Join(err, controlErr); err != nil {
		return err
	}
	if uid := int(credential.Uid); uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d", uid)
	}
	return nil
}
