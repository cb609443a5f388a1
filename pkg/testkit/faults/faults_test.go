package faults

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cauase/pkg/testkit"
)

func TestMain(m *testing.M) {
	Serve()
	os.Exit(m.Run())
}

// script changes files in each way that scripts have.
const script = `echo one > a; echo two >> a; mkdir d; ln a d/b; mv a c; chmod 600 c; truncate -s 1 c; rm d/b; rmdir d; sync c`

// run runs the script with a fault, and returns what counted, and what the script said.
func run(t *testing.T, dir string, f Fault, script string) (p *Process, steps []Step, out string) {
	t.Helper()
	cmd, err := Command(Options{Folder: dir, Armed: true, Fault: f}, "sh", "-c", script)
	if errors.Is(err, ErrUnsupported) {
		t.Skip("NOT TESTED: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var said testkit.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &said, &said
	if p, err = Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // the caller looks
	steps, _, err = p.Steps()
	if err != nil {
		t.Fatal(err)
	}
	return p, steps, said.String()
}

// TestCounts has the tracer count what a script does, by its children, too.
func TestCounts(t *testing.T) {
	p, steps, out := run(t, t.TempDir(), Fault{}, script)
	if p.err != nil {
		t.Fatal(p.err, out)
	}
	var all []string
	for _, s := range steps {
		if s.Kind != Open { // of the folder itself, as it pleases the tools
			all = append(all, string(s.Kind)+" "+s.File)
		}
	}
	want := []string{"create ./a", "write ./a", "create ./a", "write ./a", "mkdir ./d", "rename ./d/b", "rename ./c", "access ./c",
		"create ./c", "resize ./c", "remove ./d/b", "remove ./d", "sync ./c"}
	if !slices.Equal(all, want) {
		t.Errorf("counted %q", all)
	}
}

// TestFails has each step of a script fail, or kill it: nothing that follows is done, and of the step itself half at most.
func TestFails(t *testing.T) {
	_, steps, _ := run(t, t.TempDir(), Fault{}, "set -e; "+script)
	for _, s := range steps {
		for _, f := range Possible(s) {
			p, again, out := run(t, t.TempDir(), f, "set -e; "+script)
			if p.err == nil && s.Kind != Open { // sync has another way
				t.Errorf("%v: %v: the script succeeds", s, f)
			}
			_, hit, _ := p.Steps()
			if hit == nil || hit.Kind != s.Kind {
				t.Errorf("%v: %v: hit is %v, of %v", s, f, hit, again)
			}
			if killed := f.Kill || f.Torn; p.Killed() != killed && s.Kind == Write { // other programs of the script have statuses of their own
				t.Errorf("%v: %v: killed: %v\n%s", s, f, p.Killed(), out)
			}
		}
	}
}

// TestTorn leaves half of what was to be written.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	p, _, _ := run(t, dir, Fault{Step: 2, Torn: true}, "echo 123456789 > a; echo more >> a")
	content, err := os.ReadFile(filepath.Join(dir, "a"))
	if !p.Killed() || err != nil || string(content) != "12345" {
		t.Errorf("killed: %v, %q, %v", p.Killed(), content, err)
	}
}

// TestGoesOn has a disk stay full until somebody makes room.
func TestGoesOn(t *testing.T) {
	dir := t.TempDir()
	_, _, out := run(t, dir, Fault{Step: 2, Errno: syscall.ENOSPC, On: true}, "echo 1 > a; echo 2 > a; mv a b; echo 3 > c")
	if strings.Count(out, "\n") != 3 || strings.Count(out, "No space left") != 2 { // the shell's own word for the first
		t.Error(out)
	}
	if _, err := os.Stat(filepath.Join(dir, "b")); err != nil {
		t.Error("a full disk lets nothing be renamed: ", err)
	}
}

// TestAsStrace compares what is counted with what strace counts, whose work this does.
func TestAsStrace(t *testing.T) {
	strace := testkit.Need(t, "strace", "strace")
	dir := t.TempDir()
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(strace, "-f", "-qq", "-o", log, "-e", "trace=pwrite64,write,fsync", "-P", dir+"/x", "dd", "if=/dev/zero", "of="+dir+"/x", "bs=1k", "count=20", "conv=fsync")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: strace: %v\n%s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	_, steps, _ := run(t, t.TempDir(), Fault{}, "dd if=/dev/zero of=x bs=1k count=20 conv=fsync")
	counted := 0
	for _, s := range steps {
		if s.Kind == Write || s.Kind == Sync {
			counted++
		}
	}
	if lines := strings.Count(string(text), "\n"); lines != counted || counted != 21 {
		t.Errorf("strace counts %d, we %d", lines, counted)
	}
}
