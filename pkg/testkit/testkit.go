// Package testkit holds what the tests of several packages need, and nothing else uses.
package testkit

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
)

// A Buffer may be read while it is written to, such as by a process that runs, and waited for. The zero
// value is empty.
type Buffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	waiting map[string]chan struct{} // by what is to be written
}

// Write appends p.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p)
	for text, written := range b.waiting {
		if bytes.Contains(b.buf.Bytes(), []byte(text)) {
			close(written)
			delete(b.waiting, text)
		}
	}
	return len(p), nil
}

// Contains returns a channel that is closed once text has been written.
func (b *Buffer) Contains(text string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if written, ok := b.waiting[text]; ok {
		return written
	}
	written := make(chan struct{})
	if bytes.Contains(b.buf.Bytes(), []byte(text)) {
		close(written)
		return written
	}
	if b.waiting == nil {
		b.waiting = make(map[string]chan struct{})
	}
	b.waiting[text] = written
	return written
}

// String returns what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// ports is where the next search for free ports begins, so that none is given out twice while its
// first finder has not used it yet. Several test processes begin in different places.
var ports = struct {
	sync.Mutex
	next int
}{next: firstPort + rand.IntN(endPort-firstPort)} //nolint:gosec // not a secret

// The ports to choose from lie below those that systems give to outgoing connections, one of
// which might take a port between now and its use.
const firstPort, endPort = 12_000, 31_000

// FreePorts returns the first of count ports in a row that nobody listens at on 127.0.0.1.
func FreePorts(t testing.TB, count int) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		if ports.next+count > endPort {
			ports.next = firstPort
		}
		first := ports.next
		ports.next += count
		if free(first, count) {
			return first
		}
	}
	t.Fatal("no ports are free")
	return 0
}

func free(first, count int) bool {
	for port := first; port < first+count; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

// requireAll is the environment variable that makes the absence of a program a failure.
const requireAll = "CAUASE_REQUIRE_ALL"

// Need finds a program, also where administrators have theirs, or skips the test, saying so, where it
// may be missing.
func Need(t testing.TB, name, debianPackage string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	if os.Getenv(requireAll) == "1" {
		t.Fatalf("%s is not installed, and %s is set (apt-get install %s)", name, requireAll, debianPackage)
	}
	t.Skipf("NOT TESTED: %s is not installed (apt-get install %s)", name, debianPackage)
	return ""
}
