//go:build !linux

package control

import (
	"errors"
	"net"
	"os"
	"path/filepath"
)

func addressIn(folder *os.File, name string) string { return filepath.Join(folder.Name(), name) }

func umask(int) int { return 0 }

// CheckPeer refuses everybody: who is at the other end is only known on Linux.
func CheckPeer(*net.UnixConn) error {
	return errors.New("who is at the other end is not known on this system")
}
