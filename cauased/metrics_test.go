package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"cauase/pkg/ca/catest"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
)

func TestMetricsPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	t.Chdir(dir)
	var stdout, stderr bytes.Buffer
	args := []string{tool, "--netloc", fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 2)), "--metrics-bind", taken.Addr().String()}
	if code := run(t.Context(), args, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "address already in use") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	if got := testkit.Files(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// An operator knows that all hosts are updated, while the daemon runs; it follows at the next rollover.
func TestOwnSubjects(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	d := launch(t, cfg, testTime())
	command := func(args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{tool, "manage", "own-subjects", "--db", cfg.Database}, args...), &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	for _, wrong := range [][]string{{"--authority", "ca"}, {}, {"--authority", "cas", "now"}} {
		if code, out := command(wrong...); code != 1 || !strings.Contains(out, "cauased: error: ") {
			t.Errorf("%v: exit code %d: %s", wrong, code, out)
		}
	}
	d.clk.Advance(2*93*day - time.Hour)
	for _, name := range []store.AuthorityName{store.Services, store.Users} {
		catest.Named(t, d, name).NoteStrictFollower(true)
	}
	// The daemon writes down what it has seen before an operator says otherwise.
	for _, name := range []store.AuthorityName{store.Services, store.Users} {
		if err := catest.Named(t, d, name).Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := command("--authority", "cas"); code != 0 || !strings.Contains(out, "of its own") {
		t.Fatalf("exit code %d: %s", code, out)
	}
	d.clk.Advance(time.Hour)
	for name, own := range map[store.AuthorityName]bool{store.Services: true, store.Users: false} {
		crts, err := catest.Named(t, d, name).CACertificates(t.Context())
		if err != nil || len(crts) != 2 || pki.SameName(crts[0].RawSubject, crts[1].RawSubject) == own {
			t.Errorf("%s: %d CA certificates, %v", name, len(crts), err)
		}
	}
}

// An operator chooses another type while the daemon runs; the daemon follows at the next rollover.
func TestNextKeyType(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	d := launch(t, cfg, testTime())
	choose := func(args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{tool, "manage", "next-key-type", "--db", cfg.Database}, args...), &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	if code, out := choose("--authority", "cas", "ed25519"); code != 0 || !strings.Contains(out, "ed25519") {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, wrong := range [][]string{{"--authority", "cas", "rsa-1024"}, {"--authority", "ca", "ed25519"}, {"ed25519"}, {"--authority", "cas"}, {"--authority", "cas", "ed25519", "ed25519"}} {
		if code, out := choose(wrong...); code != 1 || !strings.Contains(out, "cauased: error: ") {
			t.Errorf("%v: exit code %d: %s", wrong, code, out)
		}
	}
	d.clk.Advance(2 * 93 * day)
	for name, want := range map[store.AuthorityName]string{store.Services: "Ed25519", store.Users: "ECDSA P-256"} {
		crts, err := catest.Named(t, d, name).CACertificates(t.Context())
		if err != nil || len(crts) != 2 || pki.DescribeKey(crts[1].PublicKey) != want {
			t.Errorf("%s: %d CA certificates, %v; the newest should be %s", name, len(crts), err, want)
		}
	}
}
