//go:build !linux && !darwin

package updater

import (
	"errors"
	"net"
	"os"
)

// addressIn is for systems that lead to what is in an open folder by a path.
func addressIn(*os.File, string) (*net.UnixAddr, error) {
	return nil, errors.New("a running agent cannot be asked on this system, which has no way to tell who asks: restart it to have it look now, or use --once while it is stopped")
}

func checkPeer(*net.UnixConn) error { return errors.ErrUnsupported }
