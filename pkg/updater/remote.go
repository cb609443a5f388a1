package updater

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"cauase/pkg/pemfile"
)

// A remote has a job done by a process with the rights of the owner of its files: this program, started anew,
// as OpenSSH separates privileges. All of the job is done there, so that no file of the owner's folders is ever
// touched by root, and no key leaves the process. It gets the job and nothing else: neither environment nor
// open files nor a terminal.
type remote struct {
	job *Job
	o   Options
	log *slog.Logger

	budget lineBudget
	status atomic.Pointer[Status]
	beat   atomic.Int64
	wrong  atomic.Pointer[error] // what the process says of itself

	process atomic.Pointer[os.Process] // nil if none runs
}

func newRemote(job *Job, o Options) *remote {
	r := &remote{job: job, o: o, log: o.Log.With("user", *job.Owner), budget: lineBudget{clock: o.Clock}}
	if job.Name != "" {
		r.log = r.log.With("job", job.Name)
	}
	return r
}

func (r *remote) open() error            { return nil }
func (r *remote) close()                 {}
func (r *remote) tidy(*pemfile.Listings) {}
func (r *remote) wake()                  {} // it watches by itself
func (r *remote) watches() []string      { return nil }

// refresh passes on what the agent is told in the same way.
func (r *remote) refresh() {
	if p := r.process.Load(); p != nil {
		_ = p.Signal(syscall.SIGHUP)
	}
}

// lastSign is none: who stops the process of an owner, as that owner can, must not have the agent be taken for
// dead.
func (r *remote) lastSign() int64 { return 0 }

// latest is what the process has said, as long as it says something.
func (r *remote) latest() *Status {
	s := r.status.Load()
	heard := time.Unix(r.beat.Load(), 0)
	if s == nil || s.State == StateBlocked || r.o.Clock.Now().Sub(heard) < aliveWithin {
		return s
	}
	silent := *s
	silent.State = StateBlocked
	silent.Problems = append([]Problem{{Task: TaskFiles, Class: "process", Since: heard, Message: r.says("it shows no sign of life")}}, s.Problems...)
	return &silent
}

func (r *remote) says(what string) string {
	return shown(fmt.Sprintf("the process of user %d: %s", *r.job.Owner, what))
}

const (
	firstRestart = time.Second
	lastRestart  = time.Minute

	// endPatience is how long a process that is told to end may take for what the daemon has issued, and the
	// hook to end.
	endPatience = 30 * time.Second

	// lastWords is how long it takes at most to read what a process has said that is no more.
	lastWords = 10 * time.Second
)

// do has the job done, and begins anew if its process ends, until that is no longer for the owner to do.
func (r *remote) do(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go r.watchHands(ctx, cancel)
	delay := firstRestart
	for {
		began := r.o.Clock.Now()
		err := r.run(ctx, toKeep)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it has ended")
		}
		r.beat.Store(r.o.Clock.Now().Unix())
		text := r.says(err.Error())
		r.log.Error("cannot keep the files of the job's owner", "error", text)
		r.publish(blocked(r.job, r.o.Clock, Problem{Task: TaskFiles, Class: "process", Message: text, Since: began, Failures: 1}))
		if r.o.Clock.Now().Sub(began) > lastRestart {
			delay = firstRestart
		}
		if !sleep(ctx, delay) {
			return
		}
		delay = min(2*delay, lastRestart)
	}
}

// handsEvery is how often it is looked whether the folders of a job still are in the hands of its owner.
const handsEvery = 10 * time.Second

// watchHands ends the work for the owner when nobody but root can write to the folders of the job any more: there the owner
// could not do it.
func (r *remote) watchHands(ctx context.Context, end func()) {
	for sleep(ctx, handsEvery) {
		if r.job.inOtherHands(true) {
			r.log.Info("the folders of the job are not its owner's any more")
			end()
			return
		}
	}
}

// finish has a process do something that ends by itself, and returns how the job does then.
func (r *remote) finish(ctx context.Context, p purpose) (Status, error) {
	if err := r.run(ctx, p); err != nil {
		return Status{}, err
	}
	s := r.status.Load()
	if s == nil {
		return Status{}, fmt.Errorf("the process of user %d has said nothing", *r.job.Owner)
	}
	return *s, nil
}

// run runs one process to its end. When ctx ends it is told to.
func (r *remote) run(ctx context.Context, p purpose) error {
	job, err := r.job.absolute()
	if err != nil {
		return err
	}
	cmd, err := r.command()
	if err != nil {
		return err
	}
	orders, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	reports, theirs, err := os.Pipe()
	if err != nil {
		_ = orders.Close()
		return err
	}
	defer reports.Close()
	output, outputEnd, err := os.Pipe()
	if err != nil {
		_, _ = orders.Close(), theirs.Close()
		return err
	}
	defer output.Close()
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{theirs}, outputEnd, outputEnd
	err = cmd.Start()
	_, _ = theirs.Close(), outputEnd.Close()
	if err != nil {
		_ = orders.Close()
		return fmt.Errorf("cannot start a process of user %d: %w", *r.job.Owner, err)
	}
	go logOutput(output, r.log)
	ended := make(chan error, 1)
	if p == toKeep {
		r.process.Store(cmd.Process)
	}
	go func() {
		err := cmd.Wait()
		r.process.CompareAndSwap(cmd.Process, nil)
		ended <- err
	}()
	heard := make(chan error, 1)
	go func() {
		err := json.NewEncoder(orders).Encode(order{Purpose: p, Job: job, UserAgent: r.o.UserAgent, Timeout: r.o.Timeout, Reported: r.o.Reported})
		if read := readReports(reports, r.take); read != nil {
			err = read
		}
		heard <- err
	}()
	return r.attend(ctx, cmd, orders, reports, heard, ended)
}

// attend waits for a process to end, and has it do so when ctx ends, or it says what makes no sense, or
// nothing more. Its owner can keep it from ending, but not the agent: it is given up in the end.
func (r *remote) attend(ctx context.Context, cmd *exec.Cmd, orders, reports io.Closer, heard, ended <-chan error) error {
	var said error
	var patience <-chan time.Time
	told := ctx.Done()
	for {
		select {
		case said = <-heard:
			heard = nil
			_ = orders.Close()
			patience = time.After(endPatience)
		case <-told:
			told = nil
			_ = orders.Close()
			patience = time.After(endPatience)
		case err := <-ended:
			if heard != nil {
				// All of it, unless what the process has left running holds the other end.
				closing := time.AfterFunc(lastWords, func() { _ = reports.Close() })
				said = <-heard
				closing.Stop()
			}
			if wrong := r.wrong.Swap(nil); wrong != nil {
				return *wrong
			}
			return errors.Join(said, err)
		case <-patience:
			_ = cmd.Process.Kill()
			patience = nil
			if told == nil {
				_ = reports.Close()
				return errors.New("it does not end")
			}
			r.log.Error("the process of the job's owner does not end")
		}
	}
}

// take notes what the process says.
func (r *remote) take(said report) {
	r.beat.Store(r.o.Clock.Now().Unix())
	switch {
	case said.Error != "":
		wrong := errors.New(clipped(said.Error))
		if said.Locked {
			wrong = fmt.Errorf("%s: %w", r.job.locked()[0], ErrLocked)
		}
		if said.NoAgent {
			wrong = ErrNoAgent
		}
		r.wrong.Store(&wrong)
	case said.Log != nil:
		r.relay(said.Log)
	case said.Status != nil && said.Status.admit(r.job):
		r.publish(said.Status)
	}
}

func (r *remote) publish(s *Status) {
	old := r.status.Swap(s)
	if r.o.OnStatus != nil && (old == nil || old.State != s.State || old.summary() != s.summary()) {
		r.o.OnStatus()
	}
}

// relay logs what the process does, up to a rate.
func (r *remote) relay(line *logLine) {
	pass, omitted := r.budget.take()
	if !pass {
		return
	}
	if omitted > 0 {
		r.log.Warn("the process of the job's owner says more than is logged", "lines_omitted", omitted)
	}
	var attrs []any
	for i, attr := range line.Attrs {
		if i == maxAttrs {
			break
		}
		attrs = append(attrs, slog.String(clipped(attr[0]), clipped(attr[1])))
	}
	level := max(slog.LevelInfo, min(line.Level, slog.LevelError))
	r.log.Log(context.Background(), level, clipped(line.Message), attrs...)
}

// command is this program once more, for the owner.
func (r *remote) command() (*exec.Cmd, error) {
	who, err := r.job.identity()
	if err != nil {
		return nil, err
	}
	closeToChildren()
	cmd := exec.Command(self())
	cmd.Args = []string{"cauase-updater", separateArg}
	cmd.Dir = "/"
	cmd.Env = who.env
	if err := runAs(cmd, &who.credential); err != nil {
		return nil, err
	}
	return cmd, nil
}

// self is this very program, also when another version has been installed meanwhile or its folder is closed to
// the owner.
func self() string {
	const running = "/proc/self/exe"
	if _, err := os.Stat(running); err == nil {
		return running
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// An identity is what a process of a user has.
type identity struct {
	credential credential
	env        []string
}

// identity is that of the job's owner, and no more: a group that the owner is not in is not for files of the
// owner either.
func (j *Job) identity() (*identity, error) {
	number := strconv.Itoa(*j.Owner)
	i := &identity{credential: credential{Uid: uint32(*j.Owner)}, env: []string{"PATH=" + safePath}} //nolint:gosec // it was read as 31 bits
	account, err := user.LookupId(number)
	if err != nil {
		return i, i.withoutAccount(j)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s has the group %q", number, account.Gid)
	}
	groups, err := account.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", number, err)
	}
	i.credential.Gid = uint32(gid)
	i.env = append(i.env, "HOME="+account.HomeDir, "USER="+account.Username, "LOGNAME="+account.Username)
	for _, group := range groups {
		if id, err := strconv.ParseUint(group, 10, 32); err == nil {
			i.credential.Groups = append(i.credential.Groups, uint32(id))
		}
	}
	return i, nil
}

// withoutAccount is for a number that no account has, as in containers: its group is the one given, or that
// of the same number, if nobody knows that as another's.
func (i *identity) withoutAccount(j *Job) error {
	if j.Group != nil {
		i.credential.Gid = uint32(*j.Group) //nolint:gosec // read as 31 bits
		return nil
	}
	number := strconv.Itoa(*j.Owner)
	if group, err := user.LookupGroupId(number); err == nil {
		return fmt.Errorf("user %s has no account, and group %s is that of others (%s): say which group with --group", number, number, group.Name)
	}
	i.credential.Gid = uint32(*j.Owner) //nolint:gosec // read as 31 bits
	return nil
}

const safePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
