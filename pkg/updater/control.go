package updater

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/folder"
)

// A running agent takes requests at a socket beside the state of each job: to look for new CA certificates and
// revocation lists now. Only root and the user that it runs as are heard.

// ErrNoAgent says that no agent that could be asked keeps the files of a job.
var ErrNoAgent = errors.New("no running agent keeps these files")

const (
	controlRefresh = "refresh\n" // all that can be asked for
	controlPause   = 10 * time.Second
	controlMost    = 4 // requests at a time

	// refreshPatience is how long a refresh may take, with the hook.
	refreshPatience = 20 * time.Minute
)

// A controlAnswer is one line.
type controlAnswer struct {
	Status *Status `json:",omitempty"`
	Error  string  `json:",omitempty"`
}

// controlPath is where the socket is.
func (j *Job) controlPath() string {
	path := j.statePath()
	path = strings.TrimSuffix(path, ".json") + ".sock"
	if name := filepath.Base(path); !strings.HasPrefix(name, ".") {
		path = filepath.Join(filepath.Dir(path), "."+name)
	}
	return path
}

// controlPlace opens the folder of the socket, and returns its address by way of that: what is on the way cannot be exchanged
// meanwhile, and it is short enough for any path.
func (j *Job) controlPlace() (in *folder.Folder, name string, address *net.UnixAddr, done func(), err error) {
	in, name, err = j.beside(nil).Access().Parent(j.controlPath())
	if err != nil {
		return nil, "", nil, nil, err
	}
	listed, err := in.Listed()
	if err != nil {
		in.Close()
		return nil, "", nil, nil, err
	}
	done = func() {
		_ = listed.Close()
		in.Close()
	}
	if address, err = addressIn(listed, name); err != nil {
		done()
		return nil, "", nil, nil, err
	}
	return in, name, address, done, nil
}

// listen takes requests until the returned function is called. It holds the locks of the job, so that whatever is in the
// place of the socket is left of an agent that is no more.
func (w *worker) listen() (stop func(), err error) {
	in, name, address, done, err := w.job.controlPlace()
	if err != nil {
		return nil, err
	}
	defer done()
	if info, err := in.Lstat(name); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("%s is no socket", in.Join(name))
		}
		if err := in.Remove(name); err != nil {
			return nil, err
		}
	}
	listener, err := net.ListenUnix("unix", address)
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err := os.Chmod(address.Name, 0o600); err != nil {
		_ = listener.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go w.accept(ctx, listener)
	return func() {
		cancel()
		_ = listener.Close()
		if in, name, _, done, err := w.job.controlPlace(); err == nil {
			_ = in.Remove(name)
			done()
		}
	}, nil
}

func (w *worker) accept(ctx context.Context, listener *net.UnixListener) {
	slots := make(chan struct{}, controlMost)
	for {
		conn, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if !sleep(ctx, time.Second) {
				return
			}
			continue
		}
		select {
		case slots <- struct{}{}:
			go func() {
				defer func() { <-slots }()
				w.converse(ctx, conn)
			}()
		default:
			_ = conn.Close() // who asks so often gets no answer
		}
	}
}

// converse answers one request.
func (w *worker) converse(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	if err := checkPeer(conn); err != nil {
		return
	}
	_ = conn.SetDeadline(w.o.Clock.Now().Add(controlPause))
	line, err := bufio.NewReaderSize(conn, 64).ReadSlice('\n')
	if err != nil || string(line) != controlRefresh {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refreshPatience)
	defer cancel()
	answer := controlAnswer{Error: "it does not get to it"}
	asked := make(chan *Status, 1)
	ask := func() {
		w.askers = append(w.askers, asked)
		w.asked.Store(true)
	}
	select {
	case w.results <- ask:
		select {
		case answer.Status = <-asked:
			answer.Error = ""
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	_ = conn.SetDeadline(w.o.Clock.Now().Add(controlPause))
	_ = json.MarshalWrite(conn, answer)
	_, _ = conn.Write([]byte{'\n'})
}

// answerAskers tells those who have asked for a refresh what has come of it, once that is known.
func (w *worker) answerAskers() {
	if len(w.askers) == 0 || w.netBusy || w.hookBusy || w.asked.Load() {
		return
	}
	for _, asked := range w.askers {
		asked <- w.status.Load()
	}
	w.askers = nil
}

// Refresh has the agents that keep the files of jobs look for new CA certificates and revocation lists now, and returns
// how jobs do after that.
func Refresh(ctx context.Context, o Options, jobs []Job) ([]Status, error) {
	if err := CheckJobs(jobs); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, refreshPatience)
	defer cancel()
	// All at once: one that takes long does not keep the others from hearing of it.
	type result struct {
		status Status
		err    error
	}
	results := make([]chan result, len(jobs))
	for i := range jobs {
		results[i] = make(chan result, 1)
		go func() {
			status, err := refreshFor(ctx, o, &jobs[i])
			results[i] <- result{status, err}
		}()
	}
	var all []Status
	var failed error
	for i := range jobs {
		r := <-results[i]
		if r.err != nil {
			failed = errors.Join(failed, named(&jobs[i], r.err))
			continue
		}
		all = append(all, r.status)
	}
	return all, failed
}

func refreshFor(ctx context.Context, o Options, job *Job) (Status, error) {
	separate, err := job.separate()
	if err != nil {
		return Status{}, err
	}
	if separate {
		return newRemote(job, o).finish(ctx, toRefresh)
	}
	_, name, address, done, err := job.controlPlace()
	if err != nil {
		return Status{}, job.orMissing(err)
	}
	defer done()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", address.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return Status{}, ErrNoAgent
	case err != nil:
		return Status{}, fmt.Errorf("%s: the agent cannot be asked: %w", filepath.Join(filepath.Dir(job.controlPath()), name), unwrapped(err))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(o.Clock.Now()) })()
	if err := checkPeer(conn.(*net.UnixConn)); err != nil {
		return Status{}, fmt.Errorf("%s is not an agent's: %w", job.controlPath(), err)
	}
	if _, err := conn.Write([]byte(controlRefresh)); err != nil {
		return Status{}, fmt.Errorf("the agent cannot be asked: %w", unwrapped(err))
	}
	return readAnswer(conn, job)
}

// readAnswer reads what an agent says of a job, which is shown.
func readAnswer(conn net.Conn, job *Job) (Status, error) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxReport)
	if !lines.Scan() {
		return Status{}, errors.New("the agent has ended, or has too many requests, and gave no answer")
	}
	var answer controlAnswer
	switch err := json.Unmarshal(lines.Bytes(), &answer); {
	case err != nil:
		return Status{}, errReport
	case answer.Error != "":
		return Status{}, fmt.Errorf("the agent: %s", clipped(answer.Error))
	case answer.Status == nil || !answer.Status.admit(job):
		return Status{}, errReport
	}
	return *answer.Status, nil
}

// unwrapped leaves out the address of a socket, which is a way to it and no name.
func unwrapped(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
