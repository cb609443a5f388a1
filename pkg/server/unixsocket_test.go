package server

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/folder"
)

// shortDir is a folder whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestUnixSocketsAreTakenOverFromTheDeadOnly(t *testing.T) {
	path := filepath.Join(shortDir(t), "api.sock")
	listen := func() (*Listeners, error) {
		l := &Listeners{}
		return l, l.ListenUnix(t.Context(), path, 0o620)
	}
	first, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o620 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("%v %v", info, err)
	}
	if _, err := listen(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second one: %v", err)
	}
	// As after kill -9: the file stays, and nobody listens.
	first.Unix[0].(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	second, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	second.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestNobodyElseKeepsADaemonFromStarting: whoever may read the folder of a socket, as the group of a web server, can lock that.
func TestNobodyElseKeepsADaemonFromStarting(t *testing.T) {
	dir := shortDir(t)
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "api.sock")
	done := make(chan error, 1)
	l := &Listeners{}
	go func() { done <- l.ListenUnix(t.Context(), path, 0o660) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for the lock of somebody else")
	}
	if info, err := os.Stat(path + lockSuffix); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func TestWhereThereIsNoUnixSocket(t *testing.T) {
	dir := shortDir(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.WriteFile(at("file"), []byte("precious"), 0o600), os.Symlink("elsewhere", at("link")), os.Mkdir(at("folder"), 0o700),
		os.Mkdir(at("exposed"), 0o700), os.Chmod(at("exposed"), 0o777), os.Symlink(at("exposed"), at("way")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, is := range map[string]error{
		at("file"): fs.ErrExist, at("link"): fs.ErrExist, at("folder"): fs.ErrExist, at("none/api.sock"): fs.ErrNotExist,
		at("exposed/api.sock"): folder.ErrExposed, at("way/api.sock"): folder.ErrExposed,
		"api.sock": nil, "./api.sock": nil, "": nil, at(strings.Repeat("x", 120)): nil, "@abstract": nil,
	} {
		l := &Listeners{}
		if err := l.ListenUnix(t.Context(), path, 0o600); err == nil || is != nil && !errors.Is(err, is) || len(l.Unix) > 0 {
			t.Errorf("%q: %v", path, err)
		}
	}
	if text, err := os.ReadFile(at("file")); err != nil || string(text) != "precious" {
		t.Errorf("%q, %v", text, err)
	}
	if target, err := os.Readlink(at("link")); err != nil || target != "elsewhere" {
		t.Errorf("%q, %v", target, err)
	}
}
