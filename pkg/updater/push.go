package updater

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"cauase/pkg/client"
)

const (
	pushWait   = 55 * time.Second // how long a daemon is asked to hold an answer back; most proxies give up after a minute
	pushShort  = 5 * time.Second  // the least that it is asked to; who ends a wait sooner fails
	pushSettle = 30 * time.Second // for lists that were sent to be stored
	pushProbe  = time.Hour        // between two looks whether a daemon has learned to tell of lists
	pushSlow   = 5 * time.Minute  // the longest pause after errors
)

// The words for how a job hears of new revocation lists.
const (
	PushOff         = "off"         // it does not: lists are looked for from time to time
	PushWaiting     = "waiting"     // the daemon will say so
	PushFailing     = "failing"     // the daemon is not reached, or wants to be left alone
	PushUnsupported = "unsupported" // the daemon does not tell
)

var pushWords = []string{PushOff, PushWaiting, PushFailing, PushUnsupported}

// A source is an authority of a daemon, whose lists any number of jobs keep.
type source struct {
	url       string
	authority client.AuthorityName
}

func (j *Job) source() source { return source{j.CAURL, j.Authority} }

// A push is one connection on which a daemon tells of new lists of one source, for all jobs of this process that keep
// them. It is a shortcut only: lists are looked for from time to time in any case.
type push struct {
	agent  *Agent
	source source
	client *client.Client
	stop   context.CancelFunc
	stir   chan struct{} // what jobs have, has changed
	word   atomic.Pointer[string]
	delay  *backoff.ExponentialBackOff
	wait   time.Duration // as long as what is between here and the daemon is known to bear
	cut    time.Time     // when that was found out, or zero
}

// arrangePushes has one push for each source that jobs want to hear of. The caller holds a.mu.
func (a *Agent) arrangePushes() {
	a.pushing.Lock()
	defer a.pushing.Unlock()
	wanted := map[source]*Job{}
	for _, r := range a.running {
		if !r.job.NoPush {
			wanted[r.job.source()] = &r.job
		}
	}
	for key, p := range maps.Clone(a.pushes) {
		if wanted[key] == nil {
			p.stop()
			delete(a.pushes, key)
		}
	}
	for key, job := range wanted {
		if a.pushes[key] != nil {
			continue
		}
		c, err := client.New(client.Options{
			URL: job.CAURL, Authority: job.Authority, Clock: a.o.Clock, UserAgent: a.o.UserAgent, Transport: a.o.net.transport, Timeout: a.o.Timeout,
		})
		if err != nil {
			continue // it was checked with the job
		}
		p := &push{agent: a, source: key, client: c, stir: make(chan struct{}, 1), delay: pushDelay(), wait: pushWait}
		var ctx context.Context
		ctx, p.stop = context.WithCancel(a.ctx)
		a.pushes[key] = p
		a.done.Go(func() {
			defer c.Close()
			p.run(ctx)
		})
	}
}

func pushDelay() *backoff.ExponentialBackOff {
	delay := backoff.NewExponentialBackOff()
	delay.InitialInterval, delay.MaxInterval, delay.RandomizationFactor, delay.Multiplier = time.Second, pushSlow, 0.5, 2
	delay.Reset()
	return delay
}

// workers are those in this process that keep the lists of a source and want to hear of new ones.
func (a *Agent) workers(key source) (found []*worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.running {
		if w, here := r.keeper().(*worker); here && !r.job.NoPush && r.job.source() == key {
			found = append(found, w)
		}
	}
	return found
}

// stirPushes has those who wait look again at what jobs have. Workers call it, for whose end others wait with a.mu held.
func (a *Agent) stirPushes() {
	a.pushing.Lock()
	defer a.pushing.Unlock()
	for _, p := range a.pushes {
		select {
		case p.stir <- struct{}{}:
		default:
		}
	}
}

// held is the newest of what jobs have; nil if none has lists yet, as then they look for them anyway.
func (p *push) held() (newest *heldLists) {
	for _, w := range p.agent.workers(p.source) {
		if l := w.lists.Load(); l != nil && (newest == nil || l.number.Cmp(newest.number) > 0) {
			newest = l
		}
	}
	return newest
}

func (p *push) run(ctx context.Context) {
	for ctx.Err() == nil {
		held := p.held()
		if held == nil {
			select {
			case <-ctx.Done():
			case <-p.stir:
			}
			continue
		}
		sleep(ctx, p.once(ctx, held))
	}
}

// once waits for the daemon to say something, and returns how long to leave it alone after that.
func (p *push) once(ctx context.Context, held *heldLists) time.Duration {
	p.note(PushWaiting)
	began := p.agent.o.Clock.Now()
	if began.Sub(p.cut) > pushProbe {
		p.wait = pushWait
	}
	answer, err := p.client.AwaitCRLs(ctx, held.number, p.wait, held.tag)
	switch {
	case ctx.Err() != nil:
		return 0
	case errors.Is(err, client.ErrNoWait):
		p.note(PushUnsupported)
		return jittered(pushProbe)
	case err != nil && p.shorten(began):
		return jittered(time.Second)
	case err != nil:
		p.note(PushFailing)
		var refused *client.StatusError
		if errors.As(err, &refused) && refused.RetryAfter > 0 {
			return max(jittered(min(refused.RetryAfter, pushProbe)), p.delay.NextBackOff())
		}
		return p.delay.NextBackOff()
	case answer.Served != nil:
		for _, w := range p.agent.workers(p.source) {
			w.take(answer.Served)
		}
		if p.advanced(ctx, held) {
			p.delay.Reset()
			return 0
		}
		return p.delay.NextBackOff() // they are not believed, or cannot be stored
	case answer.RetryAfter > 0:
		p.note(PushFailing)
		return max(jittered(min(answer.RetryAfter, pushProbe)), p.delay.NextBackOff())
	case answer.Closing:
		return p.delay.NextBackOff()
	}
	p.delay.Reset()
	return 0
}

// shorten has waits end before what has ended this one does so again, such as a proxy that gives up after half a minute, and
// reports whether that can be it. Whoever fails at once, or at the shortest of waits, fails.
func (p *push) shorten(began time.Time) bool {
	now := p.agent.o.Clock.Now()
	lasted := now.Sub(began)
	if lasted < pushShort || lasted > p.wait || p.wait == pushShort {
		return false
	}
	p.wait, p.cut = max(pushShort, lasted*3/4), now
	return true
}

// advanced waits until jobs have newer lists than these, and reports whether they do.
func (p *push) advanced(ctx context.Context, old *heldLists) bool {
	timer := time.NewTimer(pushSettle)
	defer timer.Stop()
	for {
		if now := p.held(); now != nil && now.number.Cmp(old.number) > 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		case <-p.stir:
		}
	}
}

func (p *push) note(word string) { p.word.Store(&word) }

// pushWord says how a job hears of new lists.
func (a *Agent) pushWord(j *Job) string {
	a.pushing.Lock()
	defer a.pushing.Unlock()
	if p := a.pushes[j.source()]; p != nil && !j.NoPush {
		if word := p.word.Load(); word != nil {
			return *word
		}
	}
	return PushOff
}

// jittered is at least d, and at most half as much more.
func jittered(d time.Duration) time.Duration { return d + time.Duration(rand.Float64()*float64(d)/2) } //nolint:gosec // it spreads load
