package main

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cauase/pkg/clock"
	"cauase/pkg/testkit/pkitest"
)

// What has a process of its own be the tool: its command line, and the time.
const (
	asTool   = "TEST_AS_CAUASE"
	toolTime = "TEST_TIME"
)

// TestAsTool is the tool in the process that [startAtTerminal] starts.
func TestAsTool(*testing.T) {
	line := os.Getenv(asTool)
	if line == "" {
		return
	}
	now, err := time.Parse(time.RFC3339, os.Getenv(toolTime))
	if err != nil {
		panic(err)
	}
	os.Exit(execute(strings.Fields("cauase "+line), clock.NewFake(now)))
}

// A terminal is one at which somebody sits, and the tool that runs there.
type terminal struct {
	*testing.T
	master *os.File
	cmd    *exec.Cmd

	mu    sync.Mutex
	shown bytes.Buffer // since the last expectation
	all   bytes.Buffer
	ended chan struct{} // nothing more is shown
}

func (s *shell) asTool(line string) *exec.Cmd {
	args := []string{os.Args[0], "-test.run=^TestAsTool$"}
	if signal.Ignored(os.Interrupt) { // by a shell that runs the tests in the background; whoever sits at a terminal does not
		args = append([]string{"env", "--default-signal=INT"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), asTool+"="+line, toolTime+"="+s.daemon.Clock.Now().Format(time.RFC3339), "TERM=dumb")
	return cmd
}

func (s *shell) atTerminal(line string) *terminal {
	s.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		s.Skipf("there are no terminals: %v", err)
	}
	s.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		s.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		s.Fatal(err)
	}
	slave, err := os.OpenFile(filepath.Join("/dev/pts", strconv.FormatUint(uint64(n), 10)), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		s.Skipf("there are no terminals: %v", err)
	}
	t := &terminal{T: s.T, master: master, cmd: s.asTool(line), ended: make(chan struct{})}
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = slave, slave, slave
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := t.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = t.cmd.Process.Kill() })
	t.Cleanup(func() { slave.Close() }) // until then the terminal keeps its settings
	go func() {
		defer close(t.ended)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			t.mu.Lock()
			t.shown.Write(buf[:n])
			t.all.Write(buf[:n])
			t.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return t
}

// until waits for a condition.
func (t *terminal) until(what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s:\n%s", what, t.transcript())
		}
	}
}

func (t *terminal) transcript() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.String()
}

// expect waits until something is shown after what was expected before.
func (t *terminal) expect(text string) {
	t.Helper()
	t.until(strconv.Quote(text), func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		_, after, found := bytes.Cut(t.shown.Bytes(), []byte(text))
		if found {
			rest := bytes.Clone(after)
			t.shown.Reset()
			t.shown.Write(rest)
		}
		return found
	})
}

func (t *terminal) echoes() bool {
	settings, err := unix.IoctlGetTermios(int(t.master.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return settings.Lflag&unix.ECHO != 0
}

// secret answers a prompt that does not show what is typed.
func (t *terminal) secret(prompt, text string) {
	t.Helper()
	t.expect(prompt)
	t.until("no echo", func() bool { return !t.echoes() })
	t.types(text)
}

func (t *terminal) types(text string) {
	t.Helper()
	if _, err := t.master.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the end of the tool, which leaves the terminal as it was.
func (t *terminal) ends(code int) {
	t.Helper()
	hung := time.AfterFunc(time.Minute, func() { _ = t.cmd.Process.Kill() })
	defer hung.Stop()
	_ = t.cmd.Wait()
	if got := t.cmd.ProcessState.Sys().(syscall.WaitStatus); code >= 0 && got.ExitStatus() != code || code < 0 && got.Signal() != syscall.Signal(-code) {
		t.Errorf("ended with %v, want %d:\n%s", t.cmd.ProcessState, code, t.transcript())
	}
	if !t.echoes() {
		t.Error("the terminal is left without echo")
	}
}

// A passphrase is not shown where it is typed, and may be mistyped twice; Ctrl-C leaves the terminal as it was.
func TestPassphraseAtATerminal(t *testing.T) {
	s := newShell(t)
	s.daemon.CAU.AutoApprove = 1
	first := s.atTerminal("request --mode user --cn admin --encrypt")
	first.secret("New passphrase for admin.pem: ", "correct horse\n")
	first.secret("The same again: ", "correct horse\n")
	first.ends(0)
	if !s.encrypted("admin.pem") {
		t.Error("the key is not encrypted")
	}
	s.Setenv("CAUASE_USER_KEY", "admin.pem")
	const prompt = "Passphrase for admin.pem: "
	mistyped := s.atTerminal("csr list")
	mistyped.secret(prompt, "battery\n")
	mistyped.expect("wrong passphrase, try again")
	mistyped.secret(prompt, "staple\n")
	mistyped.secret(prompt, "correct horse\n")
	mistyped.expect("No request is pending.")
	mistyped.ends(0)
	for _, text := range []string{"horse", "battery", "staple"} {
		if strings.Contains(first.transcript()+mistyped.transcript(), text) {
			t.Errorf("%q was shown", text)
		}
	}
	wrong := s.atTerminal("csr list")
	for range tries {
		wrong.secret(prompt, "battery\n")
	}
	wrong.expect("error: --user-key: admin.pem: wrong passphrase")
	wrong.ends(1)

	interrupted := s.atTerminal("csr list")
	interrupted.secret(prompt, "corr\x03")
	interrupted.ends(-int(syscall.SIGINT))

	// Nobody is there: no terminal controls the process, and standard input is something else.
	alone := s.asTool("csr list")
	alone.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := alone.CombinedOutput()
	if err == nil || alone.ProcessState.ExitCode() != 1 || !bytes.Contains(out, []byte("--passphrase-file")) {
		t.Errorf("%v: %s", err, out)
	}
}

// At the question whether to sign, Ctrl-C leaves the request pending, and says so.
func TestQuestionAtATerminal(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.write("a.csr", pkitest.NamedRequest(t, pkitest.Key(t), "host", "host.example"))
	interrupted := s.atTerminal("sign a.csr")
	interrupted.expect("sign this? [y/N] ")
	interrupted.types("\x03")
	interrupted.expect("was left pending")
	interrupted.ends(2)
	waiting := s.atTerminal("sign a.csr --wait")
	waiting.expect("sign this? [y/N] ")
	waiting.types("no\n")
	waiting.expect("waiting for a decision on request 1000")
	waiting.types("\x03")
	waiting.expect("request 1000 was left pending")
	waiting.ends(2)
	signed := s.atTerminal("sign a.csr")
	signed.expect("sign this? [y/N] ")
	signed.types("y\n")
	signed.expect("a.crt.pem: certificate of CN=host")
	signed.ends(0)
}

// A password is not shown where it is typed; one that was made is, once.
func TestPasswordsAtATerminal(t *testing.T) {
	s := newShell(t)
	chosen := s.atTerminal("self-signed --cn chosen --out dir")
	chosen.secret("New password for dir/chosen.p12: ", "correct horse\n")
	chosen.secret("The same again: ", "correct horse\n")
	chosen.ends(0)
	s.opened("dir/chosen.p12", "correct horse")
	if strings.Contains(chosen.transcript(), "horse") {
		t.Errorf("shown: %s", chosen.transcript())
	}
	made := s.atTerminal("self-signed --cn made --out dir --make-password")
	made.until("the password", func() bool {
		_, after, shown := strings.Cut(made.transcript(), "Password of dir/made.p12, shown this once: ")
		return shown && strings.Contains(after, "\r\n")
	})
	made.ends(0)
	_, after, _ := strings.Cut(made.transcript(), "shown this once: ")
	password, _, _ := strings.Cut(after, "\r\n")
	s.opened("dir/made.p12", password)
	if strings.Count(made.transcript(), password) != 1 {
		t.Errorf("shown: %s", made.transcript())
	}
	for _, name := range s.files() {
		if content, err := os.ReadFile(name); err == nil && strings.Contains(string(content), password) {
			t.Errorf("%s has the password", name)
		}
	}
}
