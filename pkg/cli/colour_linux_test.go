package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal.
func terminal(t *testing.T) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("NOT TESTED: there are no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return slave
}

// Colours are for terminals that have them, unless somebody wants none.
func TestColours(t *testing.T) {
	tty := terminal(t)
	for _, c := range []struct {
		term, noColour string
		want           bool
	}{{"xterm", "", true}, {"xterm", "1", false}, {"xterm", "0", false}, {"dumb", "", false}} {
		t.Setenv("TERM", c.term)
		t.Setenv("NO_COLOR", c.noColour)
		for _, label := range []string{"error", "warning", "note", "hint"} {
			got := Label(tty, label)
			if strings.Contains(got, "\x1b[") != c.want || !strings.Contains(got, label+":") {
				t.Errorf("TERM=%s NO_COLOR=%s: %q", c.term, c.noColour, got)
			}
		}
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out bytes.Buffer
	Report(&out, "x", errors.New("no"))
	Report(file, "x", errors.New("no"))
	content, err := os.ReadFile(file.Name())
	if err != nil || out.String() != "x: error: no\n" || string(content) != out.String() {
		t.Errorf("what is no terminal gets %q and %q: %v", out.String(), content, err)
	}
}
