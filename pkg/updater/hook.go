package updater

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"cauase/pkg/cli"
	"cauase/pkg/folder"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// A HookRun is one call of a hook.
type HookRun struct {
	Path    string
	Env     []string // beside the agent's own
	Timeout time.Duration
	Log     *slog.Logger
}

const (
	hookGrace    = 5 * time.Second // from the gentle end to the other
	hookMaxLines = 100             // of output that is logged
	hookMaxLine  = 1000            // bytes
)

// errHookTimeout is a hook that did not end in time.
var errHookTimeout = errors.New("it did not end in time")

// runHook runs a hook in a process group of its own, with its output in the log. When its
// time is over, or the agent's, the whole group is ended.
func runHook(ctx context.Context, h HookRun) error {
	if err := startable(h.Path); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, errHookTimeout)
	defer cancel()
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(h.Path)
	cmd.Env = append(hookEnvironment(), h.Env...)
	cmd.Stdout, cmd.Stderr = writer, writer
	inGroup(cmd)
	err = cmd.Start()
	_ = writer.Close() // the child has its own
	if err != nil {
		_ = reader.Close()
		return cli.ExplainStart(h.Path, err)
	}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		logOutput(reader, h.Log)
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = endGroup(cmd, ended, context.Cause(ctx))
	}
	// What the hook has left running may hold the pipe for good.
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-logged:
	case <-patience.C:
	}
	_ = reader.Close()
	<-logged
	return err
}

// startable reports why a hook could not be started, as far as that shows without starting it: whoever sets one up
// learns it then, and not from a renewal that nothing is told of.
func startable(path string) error {
	if err := checkHook(path); err != nil {
		return err
	}
	if err := folder.Executable(path); err != nil {
		return cli.ExplainStart(path, err)
	}
	// Started, it would be a matter of the interpreter what it says of that.
	return cli.CheckScript(path)
}

// hookCondition is what keeps the hook from being started when it is due.
func (w *worker) hookCondition() (class, message string) {
	if w.job.OnRenew == "" || w.o.checkHook == nil {
		return "", ""
	}
	err := w.o.checkHook(w.job.OnRenew)
	if err == nil || w.silent && os.Geteuid() != 0 && (errors.Is(err, fs.ErrPermission) || errors.Is(err, pemfile.ErrExposed)) {
		return "", "" // whoever takes a look need not be the agent's user
	}
	class, _ = w.explain(err)
	return class, err.Error()
}

func endGroup(cmd *exec.Cmd, ended <-chan error, why error) error {
	askToEnd(cmd)
	timer := time.NewTimer(hookGrace)
	defer timer.Stop()
	select {
	case <-ended:
		kill(cmd) // whoever is left of it
	case <-timer.C:
		kill(cmd)
		<-ended
	}
	return fmt.Errorf("ended by the agent: %w", why)
}

// hookEnvironment is the agent's, without what is between it and systemd.
func hookEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID":
		default:
			env = append(env, v)
		}
	}
	return env
}

// logOutput logs the lines of a hook, up to a bound; beyond that it only reads, so that
// the hook is not held up.
func logOutput(r io.Reader, log *slog.Logger) {
	lines := bufio.NewReaderSize(r, hookMaxLine)
	count, omitted := 0, 0
	for {
		line, partial, err := lines.ReadLine()
		if err != nil {
			break
		}
		for more := partial; more && err == nil; {
			_, more, err = lines.ReadLine()
		}
		if count++; count <= hookMaxLines {
			log.Info("hook says", "line", pki.EscapeText(string(line)))
		} else {
			omitted++
		}
	}
	if omitted > 0 {
		log.Warn("hook says more than is logged", "lines_omitted", omitted)
	}
}

func (j *Job) hookEnv(changed []string, log string) []string {
	env := []string{
		"CAUASE_CHANGED=" + strings.Join(changed, ","),
		"CAUASE_NAME=" + j.Name,
		"CAUASE_CA=" + j.CA,
		"CAUASE_CRL=" + j.CRL,
	}
	if slices.Contains(changed, "log") {
		env = append(env, "CAUASE_LOG="+log)
	}
	if j.CASCA != "" {
		env = append(env, "CAUASE_CAS_CA="+j.CASCA)
	}
	if j.Root != "" {
		env = append(env, "CAUASE_ROOT="+j.Root)
	}
	if j.Crt != "" {
		key := j.Key
		if key == "" {
			key = j.Crt
		}
		env = append(env, "CAUASE_CRT="+j.Crt, "CAUASE_KEY="+key)
	}
	return env
}
