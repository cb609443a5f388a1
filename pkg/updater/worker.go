package updater

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// known is what was found good before, to mend files with and to notice that somebody
// else has changed them.
type known struct {
	rawKey, rawCrt []byte
	crt            *x509.Certificate
	ca, casca      []*x509.Certificate
	crls           []*x509.RevocationList
	tag            string // of crls, see client.RevalidateCRLs
}

// A worker does one job. All but what says otherwise belongs to the goroutine of run.
type worker struct {
	job   *Job
	o     Options
	log   *slog.Logger
	paths pemfile.PairPaths

	service, cas *client.Client
	locks        []*os.File

	memory    memory
	known     known
	pairState PairState
	pairSince time.Time
	recovered bool
	refreshed time.Time
	touched   bool
	pending   bool
	eager     bool
	silent    bool // nothing is written
	wrote     bool // what has changed since the last look was our doing
	trials    map[Task]*trial

	netBusy, hookBusy bool
	during            []string // changed while the hook runs
	results           chan func()
	kick              chan struct{} // somebody should look; from any goroutine

	print  string // fingerprint at the last look
	looked time.Time
	counts Counts
	rounds atomic.Int64 // for tests
	beat   atomic.Int64 // Unix seconds of the last sign of life
	status atomic.Pointer[Status]
}

// A trial is a task that has failed.
type trial struct {
	backoff *backoff.ExponentialBackOff
	next    time.Time
	class   string // of the last error
}

func newWorker(job *Job, o Options) (*worker, error) {
	w := &worker{
		job: job, o: o, log: o.Log, trials: map[Task]*trial{},
		results: make(chan func(), 2), kick: make(chan struct{}, 1),
	}
	if job.Name != "" {
		w.log = w.log.With("job", job.Name)
	}
	w.paths = pemfile.PairPaths{Crt: job.Crt, Key: job.Key, Attributes: job.attributes(o.Step)}
	options := client.Options{
		URL: job.CAURL, Authority: job.Authority, Clock: o.Clock, CatchUp: job.CatchUp,
		UserAgent: o.UserAgent, Transport: o.Transport, Timeout: o.Timeout,
	}
	var err error
	if w.service, err = client.New(options); err != nil {
		return nil, err
	}
	if w.cas = w.service; job.Authority != client.CAS {
		options.Authority = client.CAS
		w.cas, err = client.New(options)
	}
	return w, err
}

// open takes the files for this worker, and reads what is remembered.
func (w *worker) open() error {
	for _, path := range w.job.locked() {
		f, err := lock(path)
		if err != nil {
			w.close()
			return err
		}
		w.locks = append(w.locks, f)
	}
	var err error
	if w.memory, err = loadMemory(w.job.statePath()); err != nil {
		w.log.Warn("what was remembered cannot be read, and is forgotten", "file", w.job.statePath(), "error", err.Error())
	}
	w.sweep()
	return nil
}

// sweep removes what crashes have left behind.
func (w *worker) sweep() {
	// Files that are shared with other agents may be being written by them.
	before := w.o.Clock.Now().Add(-time.Hour)
	pemfile.CAStore(w.job.CA).Sweep(before)
	pemfile.CRLStore(w.job.CRL).Sweep(before)
	if w.job.CASCA != "" {
		pemfile.CAStore(w.job.CASCA).Sweep(before)
	}
	pemfile.Sweep(w.job.statePath(), w.o.Clock.Now())
	if w.job.Crt != "" {
		w.recover()
	}
}

func (w *worker) recover() {
	w.recovered = true
	mended, err := pemfile.RecoverPair(w.paths)
	switch {
	case mended:
		w.log.Warn("an interrupted change of key and certificate was completed or undone", "certificate", w.job.Crt)
		w.changed("crt", "key")
	case err != nil && !errors.Is(err, pemfile.ErrMismatch):
		w.log.Debug("looked for an interrupted change", "error", err.Error())
	}
	// A staged key that is in place has served its purpose.
	staged, err := pemfile.StagedKey(w.paths)
	if err != nil {
		return
	}
	if pair, err := pemfile.ReadPair(w.paths); err == nil && pair.Crt != nil && pki.SameKey(staged.Public(), pair.Key.Public()) {
		if err := pemfile.DropStagedKey(w.paths); err != nil {
			w.log.Warn("cannot remove a key that is in place by now", "error", err.Error())
		}
	}
}

func (w *worker) unlock() {
	for _, f := range w.locks {
		_ = f.Close()
	}
	w.locks = nil
}

func (w *worker) close() {
	w.unlock()
	w.service.Close()
	w.cas.Close()
}

// changed remembers, before it is true, that files change, for the hook to hear of it.
func (w *worker) changed(what ...string) {
	if w.job.OnRenew == "" {
		return
	}
	if w.hookBusy {
		w.during = append(w.during, what...)
	}
	w.memory.changed(what...)
	w.memory.HookNext = time.Time{}
	w.save()
}

func (w *worker) save() {
	if w.silent {
		return
	}
	err := w.memory.save(w.job.statePath(), pemfile.Attributes{Owner: w.job.Owner, Group: w.job.Group, Step: w.o.Step})
	if err != nil {
		w.log.Warn("cannot remember across restarts what is pending", "error", err.Error())
	}
}

// run keeps the files true until ctx ends.
func (w *worker) run(ctx context.Context) {
	for {
		if !w.keepLocks() && !w.giveWay(ctx) {
			break
		}
		wake := w.round(ctx)
		if !w.wait(ctx, wake) {
			break
		}
	}
	w.drain()
}

// drain waits for what is under way: what the daemon has issued is stored, not thrown away.
func (w *worker) drain() {
	for w.netBusy || w.hookBusy {
		(<-w.results)()
	}
}

// giveWay leaves the files to another agent until that one ends.
func (w *worker) giveWay(ctx context.Context) bool {
	w.drain()
	w.unlock()
	return w.openPatiently(ctx)
}

// once does what is due, and returns when nothing is left that could be done now.
func (w *worker) once(ctx context.Context) {
	w.eager = true
	w.memory.HookNext = time.Time{}
	for {
		w.round(ctx)
		if !w.netBusy && !w.hookBusy {
			return
		}
		(<-w.results)()
	}
}

// maxMends bounds what is mended in one go: somebody may be undoing it.
const maxMends = 3

// round looks, decides and acts, and returns when to do so again.
func (w *worker) round(ctx context.Context) time.Time {
	for i := 1; ; i++ {
		w.rounds.Add(1)
		now := w.o.Clock.Now()
		w.looked = now
		w.beat.Store(now.Unix())
		w.print = fingerprint(w.job.paths())
		s := look(w.job, now)
		w.notice(s, now)
		state := w.state(s, now)
		plan := Decide(w.timing(), state, now)
		mended := w.act(ctx, s, plan)
		w.publish(s, state, plan, now)
		if !mended || i == maxMends {
			return plan.Wake
		}
	}
}

func (w *worker) timing() Timing {
	return Timing{Threshold: w.job.Threshold, CRLThreshold: w.job.CRLThreshold, MaxSleep: w.job.MaxSleep, Eager: w.eager}
}

// mends tells whether an action replaces files that were found damaged.
func mends(a Action) bool { return a == ActMend || a == ActMendCA || a == ActMendCRL }

// untouched waits a moment, and tells whether the files are still as they were looked at. What
// looks damaged may be half of what somebody is writing just now, and mending it would have
// him write into a file that is gone.
func (w *worker) untouched(ctx context.Context) bool {
	return sleep(ctx, debounce) && fingerprint(w.job.paths()) == w.print
}

// act does what is planned. It reports whether files were mended, after which it is time to
// look again.
func (w *worker) act(ctx context.Context, s *sight, plan Plan) (mended bool) {
	if slices.ContainsFunc(plan.Actions, mends) && !w.untouched(ctx) {
		return true
	}
	var network []Action
	for _, action := range plan.Actions {
		switch action {
		case ActRecover:
			w.recover()
			mended = true
		case ActMend:
			mended = w.mend("key and certificate", w.mendPair, "crt", "key") || mended
		case ActMendCA:
			mended = w.mend("CA certificates", w.mendCAs, "ca") || mended
		case ActMendCRL:
			mended = w.mend("revocation lists", w.mendCRLs, "crl") || mended
		case ActHook:
			w.startHook(ctx)
		default:
			network = append(network, action)
		}
	}
	if len(network) > 0 && !mended {
		w.startTalk(ctx, s, network)
	}
	return mended
}

func (w *worker) startTalk(ctx context.Context, s *sight, actions []Action) {
	if w.netBusy || ctx.Err() != nil {
		return
	}
	t := &talk{
		job: w.job, clock: w.o.Clock.Now, service: w.service, cas: w.cas, paths: w.paths,
		sight: s, known: w.known,
	}
	if h := w.memory.Request; h != nil {
		copied := *h
		t.handedIn = &copied
	}
	w.netBusy = true
	go func() {
		t.run(ctx, actions)
		w.results <- func() {
			w.netBusy = false
			w.finish(ctx, t)
		}
	}()
}

func (w *worker) startHook(ctx context.Context) {
	if w.hookBusy || ctx.Err() != nil {
		return
	}
	// Counted before it runs: one that ends us, too, must not do so again and again.
	m := &w.memory
	m.HookFailures++
	m.HookNext = w.o.Clock.Now().Add(hookDelay(m.HookFailures))
	w.save()
	run := HookRun{Path: w.job.OnRenew, Env: w.job.hookEnv(m.Changed), Timeout: w.job.HookTimeout, Log: w.log}
	w.hookBusy, w.during = true, nil
	go func() {
		err := w.o.Hook(ctx, run)
		w.results <- func() { w.hookEnded(ctx, err) }
	}()
}

func (w *worker) hookEnded(ctx context.Context, err error) {
	w.hookBusy = false
	m := &w.memory
	switch {
	case err == nil:
		w.counts.Hooks++
		w.log.Info("hook has run", "hook", w.job.OnRenew, "changed", m.Changed, "after_failures", m.HookFailures-1)
		m.Changed, m.HookFailures, m.HookError, m.HookNext = nil, 0, "", time.Time{}
		m.changed(w.during...)
	case ctx.Err() != nil:
		// Not at once: the hook may be what has ended us.
		m.HookNext = w.o.Clock.Now().Add(hookDelay(m.HookFailures))
		w.log.Warn("the hook was ended with the agent, and will be run again", "hook", w.job.OnRenew)
	default:
		w.counts.HookFailures++
		m.HookNext = w.o.Clock.Now().Add(hookDelay(m.HookFailures))
		if text := pki.EscapeText(err.Error()); m.HookError != text {
			m.HookError = text
			w.log.Error("the hook failed, and is tried again until it succeeds", "hook", w.job.OnRenew, "error", text, "next", stamp(m.HookNext))
		}
	}
	w.during = nil
	w.save()
}

// hookDelay is how long to wait after so many failures.
func hookDelay(failures int) time.Duration {
	b := backoff.NewExponentialBackOff()
	b.RandomizationFactor = 0.2
	b.InitialInterval = min(time.Hour, 2*time.Second<<min(failures, 20))
	b.Reset()
	return b.NextBackOff()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

const (
	poll        = time.Minute // looks for what events miss, and at the wall clock
	pollUnseen  = time.Second // without events
	debounce    = 50 * time.Millisecond
	clockJump   = time.Minute
	unhurried   = 5 * time.Minute // between tries when it is too late
	farthestTry = 2 * time.Hour   // beyond what backoff asks for
)

// wait waits until it is time for another round. It returns false when ctx has ended.
func (w *worker) wait(ctx context.Context, wake time.Time) bool {
	every := poll
	if w.o.poll != 0 {
		every = w.o.poll
	}
	if w.o.watched != nil && !w.o.watched() {
		every = pollUnseen
	}
	for {
		now := w.o.Clock.Now()
		w.beat.Store(now.Unix())
		timer := time.NewTimer(max(min(wake.Sub(now), every), time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case result := <-w.results:
			timer.Stop()
			result()
			return true
		case <-w.kick:
			timer.Stop()
			if !sleep(ctx, debounce) {
				return false
			}
		case <-timer.C:
		}
		now = w.o.Clock.Now()
		if !now.Before(wake) || now.Before(w.looked.Add(-clockJump)) || fingerprint(w.job.paths()) != w.print || !w.holdsLocks() {
			return true
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// tried notes how a task went.
func (w *worker) tried(task Task, err error, slack time.Duration) {
	now := w.o.Clock.Now()
	if err == nil {
		delete(w.trials, task)
		w.resolved(task)
		// The daemon can be reached again: what failed because it could not need not wait.
		for _, other := range w.trials {
			if other.class == classNetwork && task != TaskFiles {
				other.next = now
			}
		}
		return
	}
	t := w.trials[task]
	if t == nil {
		t = &trial{backoff: backoff.NewExponentialBackOff()}
		t.backoff.InitialInterval, t.backoff.MaxInterval, t.backoff.RandomizationFactor, t.backoff.Multiplier = time.Second, time.Hour, 0.3, 2
		t.backoff.Reset()
		w.trials[task] = t
	}
	longest := unhurried
	switch {
	case slack > 0:
		longest = clamp(slack/16, time.Second, time.Hour)
	case task == TaskEnrol:
		longest = time.Minute // somebody is waiting
	}
	t.next = now.Add(min(t.backoff.NextBackOff(), longest))
	if errors.Is(err, client.ErrPending) {
		w.resolved(task)
		return
	}
	class, hint := explain(err)
	t.class = class
	// Errors that were joined come one a line.
	w.problem(task, class, pki.EscapeText(strings.ReplaceAll(err.Error(), "\n", "; ")), hint, t.next)
}

// problem notes that something is wrong. Only the first of a kind is news.
func (w *worker) problem(task Task, class, message, hint string, next time.Time) {
	p := w.memory.problem(task)
	if p == nil {
		p = &Problem{Task: task, Since: w.o.Clock.Now()}
		w.memory.Problems = append(w.memory.Problems, p)
	}
	news := p.Class != class
	if !next.IsZero() {
		p.Failures++
		w.counts.failed(task)
	}
	if news {
		attrs := []any{"task", task, "error", message}
		if hint != "" {
			attrs = append(attrs, "hint", hint)
		}
		if !next.IsZero() {
			attrs = append(attrs, "next_try", stamp(next))
		}
		w.log.Error("cannot "+taskVerb(task), attrs...)
		p.Since = w.o.Clock.Now()
	}
	p.Class, p.Message, p.Hint, p.Next = class, message, hint, next
	if news {
		w.save()
	}
}

func (w *worker) resolved(task Task) {
	p := w.memory.problem(task)
	if p == nil {
		return
	}
	w.memory.Problems = slices.DeleteFunc(w.memory.Problems, func(q *Problem) bool { return q == p })
	w.log.Info("mended: "+taskVerb(task)+" works again", "task", task, "failed_since", stamp(p.Since), "failures", p.Failures)
	w.save()
}
