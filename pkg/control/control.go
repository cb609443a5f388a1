// Package control is how an operator's command talks to a daemon on the same machine: one request and one answer over a Unix socket, on
// which root and the daemon's own user are heard.
package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"cauase/pkg/clock"

	"github.com/go-json-experiment/json"
)

const (
	patience = 10 * time.Second // for a peer to send its request, or to take the answer
	atOnce   = 4                // requests at a time
	maxLine  = 64 << 10
)

// ErrNobody means that no daemon listens at a socket.
var ErrNobody = errors.New("no daemon listens there")

// A Listener answers requests. Close ends it.
type Listener struct {
	path     string
	listener *net.UnixListener
}

// Listen opens a socket. What is left at path of a daemon that is no more is removed.
func Listen(path string) (*Listener, error) {
	dir, address, err := place(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("%s is no socket", path)
		}
		if conn, err := net.DialUnix("unix", nil, address); err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("%s: another daemon listens there", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	old := umask(0o177)
	listener, err := net.ListenUnix("unix", address)
	umask(old)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, unwrapped(err))
	}
	listener.SetUnlinkOnClose(false)
	return &Listener{path, listener}, nil
}

// place opens the folder of a socket, by way of which its address is short enough for any path where that is possible.
func place(path string) (dir *os.File, address *net.UnixAddr, err error) {
	if dir, err = os.Open(filepath.Dir(path)); err != nil {
		return nil, nil, err
	}
	return dir, &net.UnixAddr{Name: addressIn(dir, filepath.Base(path)), Net: "unix"}, nil
}

// Close ends the listener, and removes the socket.
func (l *Listener) Close() error {
	if l == nil {
		return nil
	}
	return errors.Join(l.listener.Close(), os.Remove(l.path))
}

// Serve answers until the listener is closed. A request is a line of JSON that answer gets, and what that returns is sent as one.
func (l *Listener) Serve(answer func(ctx context.Context, request []byte) any) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	slots := make(chan struct{}, atOnce)
	for {
		conn, err := l.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Second) // out of descriptors, say
			continue
		}
		select {
		case slots <- struct{}{}:
			go func() {
				defer func() { <-slots }()
				converse(ctx, conn, answer)
			}()
		default:
			_ = conn.Close() // who asks so often gets no answer
		}
	}
}

func converse(ctx context.Context, conn *net.UnixConn, answer func(context.Context, []byte) any) {
	defer conn.Close()
	if CheckPeer(conn) != nil {
		return
	}
	_ = conn.SetDeadline(clock.System().Now().Add(patience))
	in := bufio.NewReaderSize(conn, maxLine)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return
	}
	text, err := json.Marshal(answer(ctx, line))
	clear(line) // there may be a passphrase in it
	if err != nil {
		return
	}
	_ = conn.SetDeadline(clock.System().Now().Add(patience))
	_, _ = conn.Write(append(text, '\n'))
}

// Ask sends a request to the daemon that listens at path, and decodes its answer. ErrNobody if there is none.
func Ask(ctx context.Context, path string, request, answer any) error {
	dir, address, err := place(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNobody, err)
	}
	defer dir.Close()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", address.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %s", ErrNobody, path)
	case err != nil:
		return fmt.Errorf("%s: the daemon cannot be asked: %w", path, unwrapped(err))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := CheckPeer(conn.(*net.UnixConn)); err != nil {
		return fmt.Errorf("%s is not a daemon's: %w", path, err)
	}
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	defer clear(text)
	if _, err := conn.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("the daemon cannot be asked: %w", unwrapped(err))
	}
	line, err := bufio.NewReaderSize(conn, maxLine).ReadSlice('\n')
	if err != nil {
		return errors.New("the daemon gave no answer: it has ended, it runs as another user, or it has too many requests")
	}
	return json.Unmarshal(line, answer)
}

// unwrapped leaves out the address of a socket, which is a way to it and no name.
func unwrapped(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
