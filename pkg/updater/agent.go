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
	"cauase/pkg/pemfile"
)

// Options are what an Agent needs of the world.
type Options struct {
	Clock     clock.Clock
	Log       *slog.Logger
	UserAgent string
	Timeout   time.Duration // see client.Options

	// Reported says that whoever calls [Once] tells people of the problems in its result: the log does not.
	Reported bool

	// OnStatus is called, from any goroutine, when some job does differently.
	OnStatus func()

	// What follows is for tests; the zero values are the real things.
	Hook      func(context.Context, HookRun) error
	Transport func(*tls.Config) http.RoundTripper
	NoWatch   bool // no events of files, looks are a poll's
	NoControl bool // no socket at which to ask for a refresh
	Step      func(string)

	checkHook func(path string) error // whether Hook can be called, nil where that is a test's

	poll    time.Duration
	onLook  func()      // like OnStatus, after every look
	onLists func()      // from any goroutine, when some job has other revocation lists
	watched func() bool // whether events of files come

	net   *network         // of all jobs
	onNet func(url string) // from any goroutine, when a daemon is reached that was not
}

// equip has hooks run, unless a test has another idea of them, and jobs share a network.
func (o *Options) equip() {
	o.net = newNetwork(o)
	if o.Hook == nil {
		o.Hook, o.checkHook = runHook, startable
	}
}

// An Agent does jobs.
type Agent struct {
	o     Options
	watch *watcher // nil where there are no events

	mu      sync.Mutex
	running []*running
	lookers lookers
	ctx     context.Context
	done    sync.WaitGroup

	pushing sync.Mutex // taken after mu, if both
	pushes  map[source]*push
}

type running struct {
	job   Job
	stop  context.CancelFunc
	ended chan struct{}

	mu sync.Mutex
	by keeper
}

func (r *running) keeper() keeper {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by
}

// handOver gives the job to who has the right rights by now, which may be nobody.
func (r *running) handOver(o Options) {
	k, err := newKeeper(&r.job, o)
	if err != nil {
		k = newRefused(&r.job, o, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by = k
}

// New returns an agent that has nothing to do yet.
func New(o Options) *Agent {
	o.equip()
	a := &Agent{o: o, pushes: map[source]*push{}}
	a.o.onLists, a.o.onNet = a.stirPushes, a.heal
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
	var keepers []keeper
	for i := range jobs {
		k, err := newKeeper(&jobs[i], a.o)
		if err == nil {
			keepers = append(keepers, k)
			// A folder that is not there may be on a disk that is mounted later: do waits for it.
			if err = k.open(); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			for _, k := range keepers {
				k.close()
			}
			return named(&jobs[i], err)
		}
	}
	// With all files in hand, so that each folder need be listed once only: whatever is in it by now is left of a crash.
	listings := &pemfile.Listings{}
	for i, k := range keepers {
		k.tidy(listings)
		a.begin(k, jobs[i])
	}
	a.watchAll()
	a.arrangePushes()
	return nil
}

// begin has a job done.
func (a *Agent) begin(k keeper, job Job) {
	ctx, stop := context.WithCancel(a.ctx)
	r := &running{by: k, job: job, stop: stop, ended: make(chan struct{})}
	a.running = append(a.running, r)
	a.done.Go(func() {
		defer close(r.ended)
		for {
			k := r.keeper()
			k.do(ctx)
			k.close()
			if ctx.Err() != nil {
				return
			}
			r.handOver(a.o)
		}
	})
}

// openPatiently waits until nobody else has the files.
func (w *worker) openPatiently(ctx context.Context) bool {
	said := ""
	for {
		err := w.open()
		if err == nil {
			w.tidy(nil)
			return true
		}
		if w.job.inOtherHands(false) {
			return false // a folder has come that is the owner's, or somebody else's
		}
		w.beat.Store(w.o.Clock.Now().Unix())
		if text := err.Error(); text != said {
			said = text
			w.log.Error("cannot begin", "error", text, "hint", Hint(err))
			w.status.Store(cannotBegin(w.job, w.o.Clock, err))
		}
		if !sleep(ctx, time.Second) {
			return false
		}
	}
}

// cannotBegin is how a job does whose files another agent keeps, or have no place yet.
func cannotBegin(j *Job, clk clock.Clock, err error) *Status {
	s := blocked(j, clk, Problem{Task: TaskFiles, Class: "locked", Message: shown(err.Error()), Hint: shown(Hint(err)), Since: clk.Now()})
	s.State = StateLocked
	return s
}

// Replace goes on with other jobs. Those that stay the same are not disturbed.
func (a *Agent) Replace(jobs []Job) error {
	if err := CheckJobs(jobs); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	added := map[int]keeper{}
	before, stays := map[string]*running{}, map[*running]bool{} // no two have one name
	for _, r := range a.running {
		before[r.job.Name] = r
	}
	for i := range jobs {
		if r := before[jobs[i].Name]; r != nil && reflect.DeepEqual(jobs[i], r.job) {
			stays[r] = true
			continue
		}
		var err error
		if added[i], err = newKeeper(&jobs[i], a.o); err != nil {
			return named(&jobs[i], err)
		}
	}
	var kept []*running
	for _, r := range a.running {
		if stays[r] {
			kept = append(kept, r)
			continue
		}
		r.stop()
		<-r.ended
	}
	a.running = kept
	for i := range jobs {
		if k := added[i]; k != nil {
			a.begin(k, jobs[i])
		}
	}
	a.watchAll()
	a.arrangePushes()
	return nil
}

// Refresh has every job look for new CA certificates and revocation lists now.
func (a *Agent) Refresh() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.running {
		r.keeper().refresh()
	}
}

// Wait waits until all has ended.
func (a *Agent) Wait() {
	a.done.Wait()
	if a.watch != nil {
		a.watch.close()
	}
	a.o.net.close()
}

// heal has the jobs try again now what has failed because a daemon could not be reached. Workers call it, for whose end others
// wait with a.mu held.
func (a *Agent) heal(url string) {
	go func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, r := range a.running {
			if w, here := r.keeper().(*worker); here && w.service.URL() == url && w.cutOff.Load() {
				w.healed.Store(true)
				w.wake()
			}
		}
	}()
}

// Once does what is due for each job, and returns how they do then.
func Once(ctx context.Context, o Options, jobs []Job) ([]Status, error) {
	if err := CheckJobs(jobs); err != nil {
		return nil, err
	}
	o.equip()
	defer o.net.close()
	var all []Status
	for i := range jobs {
		status, err := onceFor(ctx, o, &jobs[i])
		if err != nil {
			return all, named(&jobs[i], err)
		}
		all = append(all, status)
	}
	return all, nil
}

func onceFor(ctx context.Context, o Options, job *Job) (Status, error) {
	separate, err := job.separate()
	if err != nil {
		return Status{}, err
	}
	if separate {
		return newRemote(job, o).finish(ctx, toOnce)
	}
	if err := job.missingFolder(); err != nil {
		return Status{}, err
	}
	w, err := newWorker(job, o)
	if err != nil {
		return Status{}, err
	}
	defer w.close()
	if err := w.open(); err != nil {
		return Status{}, err
	}
	w.tidy(nil)
	w.once(ctx)
	return *w.status.Load(), nil
}

// Look says how jobs do by what is on disk. It changes nothing and asks nobody.
func Look(o Options, jobs []Job) ([]Status, error) {
	if err := CheckJobs(jobs); err != nil {
		return nil, err
	}
	o.Log = slog.New(slog.DiscardHandler)
	o.equip()
	var all []Status
	for i := range jobs {
		status, err := lookFor(o, &jobs[i])
		if err != nil {
			return nil, named(&jobs[i], err)
		}
		all = append(all, status)
	}
	return all, nil
}

// lookPatience is how long a process of an owner may take to read a few files.
const lookPatience = time.Minute

func lookFor(o Options, job *Job) (Status, error) {
	separate, err := job.separate()
	if err != nil {
		return Status{}, err
	}
	if separate {
		ctx, cancel := context.WithTimeout(context.Background(), lookPatience)
		defer cancel()
		return newRemote(job, o).finish(ctx, toLook)
	}
	if err := job.missingFolder(); err != nil {
		return *cannotBegin(job, o.Clock, err), nil
	}
	w, err := newWorker(job, o)
	if err != nil {
		return Status{}, err
	}
	defer w.close()
	if w.memory, err = loadMemory(job); err != nil {
		w.memory = memory{}
	}
	w.silent, w.logSeen = true, w.lookAtLog()
	class, message, hint := w.logDamaged()
	now := o.Clock.Now()
	s := look(job, now)
	w.refreshed, w.checked, w.recovered = w.memory.Contact, w.memory.Contact, true
	w.pairState, w.pairSince = s.pairState, now
	state := w.state(s, now)
	w.conditions(s, state, now)
	if class != "" {
		w.condition(TaskLog, class, message, hint)
	}
	status := w.describe(s, state, now)
	status.Wake = Decide(w.timing(), state, now).Wake
	return *status, nil
}

// Statuses returns how the jobs do.
func (a *Agent) Statuses() []Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Status
	for _, r := range a.running {
		s := r.keeper().latest()
		if s == nil {
			continue
		}
		one := *s
		if _, here := r.keeper().(*worker); here {
			one.CRLPush = a.pushWord(&r.job)
		}
		all = append(all, one)
	}
	return all
}

// Summary is one line for people.
func (a *Agent) Summary() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*Status
	for _, r := range a.running {
		if s := r.keeper().latest(); s != nil {
			all = append(all, s)
		}
	}
	return summary(all)
}

// Alive reports whether every job has shown a sign of life within a time.
func (a *Agent) Alive(within time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	oldest := a.o.Clock.Now().Add(-within).Unix()
	for _, r := range a.running {
		if beat := r.keeper().lastSign(); beat != 0 && beat < oldest {
			return false
		}
	}
	return true
}

func summary(all []*Status) string {
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
