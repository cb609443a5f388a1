package updater

import (
	"context"
	"sync/atomic"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
)

// A refused job is one that nobody can do as its folders are: somebody could have it work on something else. It is looked at
// again all the time, as folders can change hands again.
type refused struct {
	job    *Job
	o      Options
	err    error
	since  time.Time
	kick   chan struct{}
	beat   atomic.Int64
	status atomic.Pointer[Status]
}

func newRefused(job *Job, o Options, err error) *refused {
	return &refused{job: job, o: o, err: err, since: o.Clock.Now(), kick: make(chan struct{}, 1)}
}

func (r *refused) open() error            { return nil }
func (r *refused) close()                 {}
func (r *refused) tidy(*pemfile.Listings) {}
func (r *refused) latest() *Status        { return r.status.Load() }
func (r *refused) lastSign() int64        { return r.beat.Load() }
func (r *refused) watches() []string      { return r.job.paths() }

func (r *refused) refresh() { r.wake() }

func (r *refused) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// do waits until the job can be done.
func (r *refused) do(ctx context.Context) {
	log := r.o.Log
	if r.job.Name != "" {
		log = log.With("job", r.job.Name)
	}
	said := ""
	for err := r.err; err != nil; _, err = r.job.separate() {
		if text := err.Error(); text != said {
			said = text
			log.Error("the job is not done as its folders are", "error", text, "hint", Hint(err))
		}
		r.publish(err)
		if !r.pause(ctx) {
			return
		}
	}
	log.Info("the job is done again: nobody else can write to its folders", "refused_since", stamp(r.since))
}

func (r *refused) pause(ctx context.Context) bool {
	timer := time.NewTimer(pollUnseen)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-r.kick:
		return sleep(ctx, debounce)
	case <-timer.C:
		return true
	}
}

func (r *refused) publish(err error) {
	now := r.o.Clock.Now()
	r.beat.Store(now.Unix())
	class, _ := enroll.Explain(err, enroll.Reader{Links: linksOption})
	s := blocked(r.job, r.o.Clock, Problem{Task: TaskFiles, Class: class, Message: shown(err.Error()), Hint: shown(Hint(err)), Since: r.since})
	if old := r.status.Swap(s); r.o.OnStatus != nil && (old == nil || old.summary() != s.summary()) {
		r.o.OnStatus()
	}
	if r.o.onLook != nil {
		r.o.onLook()
	}
}

// blocked is how a job does of which no more is known than a problem.
func blocked(j *Job, clk clock.Clock, p Problem) *Status {
	return &Status{
		Name: j.Name, CAURL: j.CAURL, Authority: string(j.Authority), Mode: j.mode(), State: StateBlocked, CAs: []EndStatus{}, CRLs: []EndStatus{},
		Problems: []Problem{p}, Looked: clk.Now(),
	}
}
