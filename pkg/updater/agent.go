package updater

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"cauase/pkg/clock"
)

// Options are what an Agent needs of the world.
type Options struct {
	Clock     clock.Clock
	Log       *slog.Logger
	UserAgent string
	Timeout   time.Duration // see client.Options

	// OnStatus is called, from any goroutine, when some job does differently.
	OnStatus func()

	// What follows is for tests; the zero values are the real things.
	Hook      func(context.Context, HookRun) error
	Transport func(*tls.Config) http.RoundTripper
	NoWatch   bool // no events of files, looks are a poll's
	Step      func(string)

	poll    time.Duration
	watched func() bool // whether events of files come
}

// An Agent does jobs.
type Agent struct {
	o     Options
	watch *watcher // nil where there are no events

	mu      sync.Mutex
	running []*running
	ctx     context.Context
	done    sync.WaitGroup
}

type running struct {
	worker *worker
	job    Job
	stop   context.CancelFunc
	ended  chan struct{}
}

// New returns an agent that has nothing to do yet.
func New(o Options) *Agent {
	if o.Hook == nil {
		o.Hook = runHook
	}
	a := &Agent{o: o}
	if !o.NoWatch {
		a.watch = newWatcher(a.kick, o.Log)
		a.o.watched = a.watch.works
	}
	return a
}

// CheckJobs makes sure that no two jobs write the same key or certificate.
func CheckJobs(jobs []Job) error {
	if len(jobs) == 0 {
		return errors.New("there is nothing to keep up to date")
	}
	owners := map[string]string{}
	names := map[string]bool{}
	for i := range jobs {
		j := &jobs[i]
		if names[j.Name] {
			return fmt.Errorf("two jobs are named %q", j.Name)
		}
		names[j.Name] = true
		if err := j.Validate(); err != nil {
			return named(j, err)
		}
		for _, path := range append(j.locked(), j.statePath()) {
			path, err := filepath.Abs(path)
			if err != nil {
				return named(j, err)
			}
			if other, taken := owners[path]; taken {
				return named(j, fmt.Errorf("%s is kept up to date by %q already", path, other))
			}
			owners[path] = j.Name
		}
	}
	return nil
}

func named(j *Job, err error) error {
	if j.Name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", j.Name, err)
}

// Start begins with jobs, and does them until ctx ends; Wait waits for that. It fails,
// without having begun, if another agent does one of them.
func (a *Agent) Start(ctx context.Context, jobs []Job) error {
	if err := CheckJobs(jobs); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ctx = ctx
	var workers []*worker
	for i := range jobs {
		w, err := newWorker(&jobs[i], a.o)
		if err == nil {
			// A folder that is not there may be on a disk that is mounted later: begin waits for it.
			if err = w.open(); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			for _, w := range workers {
				w.close()
			}
			return named(&jobs[i], err)
		}
		workers = append(workers, w)
	}
	for _, w := range workers {
		a.begin(w)
	}
	a.watchAll()
	return nil
}

// begin runs a worker that is open.
func (a *Agent) begin(w *worker) {
	ctx, stop := context.WithCancel(a.ctx)
	r := &running{worker: w, job: *w.job, stop: stop, ended: make(chan struct{})}
	a.running = append(a.running, r)
	a.done.Go(func() {
		defer close(r.ended)
		defer w.close()
		if len(w.locks) == 0 && !w.openPatiently(ctx) {
			return
		}
		w.run(ctx)
	})
}

// openPatiently waits until nobody else has the files.
func (w *worker) openPatiently(ctx context.Context) bool {
	said := ""
	for {
		err := w.open()
		if err == nil {
			return true
		}
		w.beat.Store(w.o.Clock.Now().Unix())
		if text := err.Error(); text != said {
			said = text
			w.log.Error("cannot begin", "error", text)
			w.status.Store(&Status{Name: w.job.Name, CAURL: w.job.CAURL, State: StateLocked, Problems: []Problem{{Task: TaskFiles, Class: "locked", Message: text}}})
		}
		if !sleep(ctx, time.Second) {
			return false
		}
	}
}

// Replace goes on with other jobs. Those that stay the same are not disturbed.
func (a *Agent) Replace(jobs []Job) error {
	if err := CheckJobs(jobs); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var kept []*running
	for _, r := range a.running {
		same := false
		for i := range jobs {
			same = same || reflect.DeepEqual(jobs[i], r.job)
		}
		if same {
			kept = append(kept, r)
			continue
		}
		r.stop()
		<-r.ended
	}
	a.running = kept
	for i := range jobs {
		found := false
		for _, r := range kept {
			found = found || reflect.DeepEqual(jobs[i], r.job)
		}
		if found {
			continue
		}
		w, err := newWorker(&jobs[i], a.o)
		if err != nil {
			return err // which Validate does not let happen
		}
		a.begin(w)
	}
	a.watchAll()
	return nil
}

// Wait waits until all has ended.
func (a *Agent) Wait() {
	a.done.Wait()
	if a.watch != nil {
		a.watch.close()
	}
}

// Once does what is due for each job, and returns how they do then.
func Once(ctx context.Context, o Options, jobs []Job) ([]Status, error) {
	if err := CheckJobs(jobs); err != nil {
		return nil, err
	}
	if o.Hook == nil {
		o.Hook = runHook
	}
	var all []Status
	for i := range jobs {
		w, err := newWorker(&jobs[i], o)
		if err == nil {
			err = w.open()
		}
		if err != nil {
			return all, named(&jobs[i], err)
		}
		w.once(ctx)
		w.close()
		all = append(all, *w.status.Load())
	}
	return all, nil
}

// Look says how jobs do by what is on disk. It changes nothing and asks nobody.
func Look(o Options, jobs []Job) ([]Status, error) {
	if err := CheckJobs(jobs); err != nil {
		return nil, err
	}
	o.Log = slog.New(slog.DiscardHandler)
	var all []Status
	for i := range jobs {
		w, err := newWorker(&jobs[i], o)
		if err != nil {
			return nil, named(&jobs[i], err)
		}
		if w.memory, err = loadMemory(jobs[i].statePath()); err != nil {
			w.memory = memory{}
		}
		w.silent = true
		now := o.Clock.Now()
		s := look(&jobs[i], now)
		w.refreshed, w.recovered = w.memory.Contact, true
		w.pairState, w.pairSince = s.pairState, now
		state := w.state(s, now)
		w.conditions(s, state, now)
		status := w.describe(s, state, now)
		status.Wake = Decide(w.timing(), state, now).Wake
		all = append(all, *status)
	}
	return all, nil
}

// Statuses returns how the jobs do.
func (a *Agent) Statuses() []Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Status
	for _, r := range a.running {
		if s := r.worker.status.Load(); s != nil {
			all = append(all, *s)
		}
	}
	return all
}

// Alive reports whether every job has shown a sign of life within a time.
func (a *Agent) Alive(within time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	oldest := a.o.Clock.Now().Add(-within).Unix()
	for _, r := range a.running {
		if beat := r.worker.beat.Load(); beat != 0 && beat < oldest {
			return false
		}
	}
	return true
}

// Summary is one line for people.
func Summary(all []Status) string {
	if len(all) == 1 {
		return all[0].summary()
	}
	counts := map[string]int{}
	budget, first := 0.0, true
	for _, s := range all {
		counts[s.State]++
		if first || s.Budget < budget {
			budget, first = s.Budget, false
		}
	}
	return fmt.Sprintf("%d of %d ok, outage budget %.0f days", counts[StateOK], len(all), budget/day.Seconds())
}

// kick has every job look at its files.
func (a *Agent) kick() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.running {
		select {
		case r.worker.kick <- struct{}{}:
		default:
		}
	}
	a.watchAll()
}

func (a *Agent) watchAll() {
	if a.watch == nil {
		return
	}
	var paths []string
	for _, r := range a.running {
		paths = append(paths, r.job.paths()...)
	}
	a.watch.set(paths)
}
