package daemon

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// What systemd hears: that the daemon is ready only when it answers, that it lives, and that
// it is about to end.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(dir, "notify")})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))

	var heard []string
	listenFor := func(want string) {
		t.Helper()
		buf := make([]byte, 1000)
		for {
			if err := socket.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatalf("heard %q, and not %q: %v", heard, want, err)
			}
			if heard = append(heard, string(buf[:n])); heard[len(heard)-1] == want {
				return
			}
		}
	}
	r := launch(t, testConfig(t, dir), time.Now())
	listenFor("READY=1")
	listenFor("WATCHDOG=1")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	listenFor("STOPPING=1")
}
