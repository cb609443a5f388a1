package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"cauase/pkg/folder"
)

// unixPrefix begins addresses that are paths of sockets.
const unixPrefix = "unix:"

// DefaultSocketMode is the mode of Unix sockets: those connect who may write.
const DefaultSocketMode fs.FileMode = 0o660

// SplitBind tells the addresses and names to listen on from the paths of Unix sockets.
func SplitBind(bind []string) (hosts, sockets []string) {
	for _, at := range bind {
		if path, ok := strings.CutPrefix(at, unixPrefix); ok {
			sockets = append(sockets, path)
		} else {
			hosts = append(hosts, at)
		}
	}
	return hosts, sockets
}

// CheckSocketPath reports why there cannot be a Unix socket at a path.
func CheckSocketPath(path string) error {
	const longest = len(syscall.RawSockaddrUnix{}.Path) - 1
	switch {
	case !filepath.IsAbs(path):
		return fmt.Errorf("%s%s: an absolute path is needed, as in unix:/run/cauase/api.sock", unixPrefix, path)
	case len(path) > longest:
		return fmt.Errorf("%s%s: the path of a socket has at most %d bytes", unixPrefix, path, longest)
	case strings.ContainsRune(path, 0):
		return fmt.Errorf("%s%q: no path", unixPrefix, path)
	}
	return nil
}

// ListenUnix opens a Unix socket for HTTP at a path, with a mode. One that a daemon has left behind is replaced; one on which somebody
// answers, or anything else that is at the path, is not. Its folder must be one in which nobody else could put another there.
func (l *Listeners) ListenUnix(ctx context.Context, path string, mode fs.FileMode) error {
	if err := CheckSocketPath(path); err != nil {
		return err
	}
	in, _, err := folder.Access{Guard: true}.Parent(path)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := onlySocket(path); err != nil {
		return err
	}
	// Of several that begin at once, each looks after the one before it has bound. The folder would do for that, but everybody who may read it
	// could lock it, and keep daemons from starting.
	turn, err := os.OpenFile(path+lockSuffix, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = turn.Close() }()
	if err := unix.Flock(int(turn.Fd()), unix.LOCK_EX); err != nil { //nolint:gosec // a descriptor fits
		return fmt.Errorf("lock %s: %w", turn.Name(), err)
	}
	if err := removeStale(path); err != nil {
		return err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// Linux gives it to the file: there is no moment at which everybody may connect.
		return raw.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) }) //nolint:gosec // likewise
	}}
	one, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, mode.Perm()); err != nil {
		_ = one.Close()
		return err
	}
	l.Unix = append(l.Unix, one)
	return nil
}

// lockSuffix ends the name of the file beside a socket that daemons lock while they look for another one.
const lockSuffix = ".lock"

// onlySocket refuses a path at which there is something else than a socket.
func onlySocket(path string) error {
	switch info, err := os.Lstat(path); {
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s%s: there is something else than a socket at that path: %w", unixPrefix, path, fs.ErrExist)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// removeStale removes a socket on which nobody listens any more.
func removeStale(path string) error {
	if err := onlySocket(path); err != nil {
		return err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("%s%s: %w: another process listens there", unixPrefix, path, syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return err
}
