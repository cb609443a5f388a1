package updater

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/folder"
	"cauase/pkg/pemfile"
)

// known is what was found good before, to mend files with and to notice that somebody
// else has changed them.
type known struct {
	rawKey, rawCrt []byte
	keyFile        *folder.Info // which rawKey was read from: it belongs to nobody else
	crt            *x509.Certificate
	ca, casca      []*x509.Certificate
	root           []*x509.Certificate
	crls           []*x509.RevocationList
	tag            string // of crls, see client.RevalidateCRLs
}

// keep remembers a pair that is good.
func (k *known) keep(files enroll.Files) {
	k.crt, k.rawKey, k.rawCrt, k.keyFile = files.Pair.Crt, files.RawKey, files.RawCrt, files.KeyFile
}

// A worker does one job. All but what says otherwise belongs to the goroutine of run.
type worker struct {
	job   *Job
	o     Options
	log   *slog.Logger
	paths pemfile.PairPaths

	service, cas *client.Client
	engine       *enroll.Engine
	locks        []*enroll.Lock

	memory    memory
	known     known
	pairState PairState
	pairSince time.Time
	recovered bool
	logSeen   *LogStatus // what is kept of the CA's log
	refreshed time.Time
	checked   time.Time
	touched   bool
	pending   bool
	untold    string // key identifier of a CA certificate of which the daemon does not want to be told
	spared    string // see snapshot.orphan: its CA was not withdrawn
	eager     bool
	silent    bool // nothing is written
	wrote     bool // what has changed since the last look was our doing
	retries   map[Task]*retry

	netBusy, hookBusy bool
	during            []string // changed while the hook runs
	results           chan func()
	askers            []chan<- *Status // who wait for what comes of a refresh
	kick              chan struct{}    // somebody should look; from any goroutine

	// From any goroutine:
	cutOff atomic.Bool                       // something has failed as the daemon was not reached
	healed atomic.Bool                       // it was by another job, so that this is to be tried again
	asked  atomic.Bool                       // everything is to be looked at
	pushed atomic.Pointer[client.ServedCRLs] // what the daemon has sent by itself
	lists  atomic.Pointer[heldLists]         // what to wait for newer ones of, nil if there are none

	looked      time.Time // when, and what the files looked like from outside
	fingerprint string
	saved       Counts       // those of memory as they were last written
	savedAt     time.Time    // because of them
	rounds      atomic.Int64 // for tests
	beat        atomic.Int64 // Unix seconds of the last sign of life
	status      atomic.Pointer[Status]
}

func newWorker(job *Job, o Options) (*worker, error) {
	w := &worker{
		job: job, o: o, log: o.Log, retries: map[Task]*retry{},
		results: make(chan func(), 2), kick: make(chan struct{}, 1),
	}
	if job.Name != "" {
		w.log = w.log.With("job", job.Name)
	}
	w.paths = pemfile.PairPaths{Crt: job.Crt, Key: job.Key, Attributes: job.attributes(o.Step)}
	options := client.Options{
		URL: job.CAURL, Authority: job.Authority, Clock: o.Clock, CatchUp: job.CatchUp,
		UserAgent: o.UserAgent, Transport: o.net.transport, Timeout: o.Timeout,
	}
	var err error
	if w.service, err = client.New(options); err != nil {
		return nil, err
	}
	w.engine = &enroll.Engine{
		Client: w.service, Clock: o.Clock, Paths: w.paths, KeyType: job.KeyType, Profile: job.Profile, Chain: job.Chain,
	}
	w.cas, err = w.service.For(client.CAS)
	return w, err
}

// open takes the files for this worker, and reads what is remembered.
func (w *worker) open() error {
	for _, path := range w.job.locked() {
		l, err := enroll.Acquire(path, w.job.beside(nil).Access())
		if err != nil {
			w.close()
			return w.job.orMissing(err)
		}
		w.locks = append(w.locks, l)
	}
	var err error
	if w.memory, err = loadMemory(w.job); err != nil {
		w.log.Warn("what was remembered cannot be read, and is forgotten", "file", w.job.statePath(), "error", err.Error())
	}
	w.saved, w.logSeen = w.memory.Counts, w.lookAtLog()
	return nil
}

// tidy removes what crashes have left behind.
func (w *worker) tidy(listings *pemfile.Listings) {
	// Files that are shared with other agents may be being written by them.
	before := w.o.Clock.Now().Add(-time.Hour)
	stores := []pemfile.Store{w.job.crlStore()}
	for _, path := range []string{w.job.CA, w.job.CASCA, w.job.Root} {
		if path != "" {
			stores = append(stores, w.job.caStore(path))
		}
	}
	for _, store := range stores {
		store.Attributes.Listings = listings
		store.Sweep(before)
	}
	beside := w.job.beside(nil)
	beside.Listings = listings
	beside.Sweep(w.job.statePath(), w.o.Clock.Now())
	if w.job.Crt != "" {
		w.recover(listings)
	}
}

func (w *worker) recover(listings *pemfile.Listings) {
	w.recovered = true
	engine := *w.engine
	engine.Paths.Attributes.Listings = listings
	mended, err := engine.Recover()
	if mended {
		w.log.Warn("an interrupted change of key and certificate was completed or undone", "certificate", w.job.Crt)
		w.changed("crt", "key")
	}
	if err != nil && !errors.Is(err, pemfile.ErrMismatch) {
		w.log.Debug("looked for an interrupted change", "error", discreet(err).Error())
	}
}

func (w *worker) unlock() {
	for _, l := range w.locks {
		l.Release()
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

// persist makes durable what has to survive a restart.
func (w *worker) persist() error {
	if w.silent {
		return nil
	}
	w.saved = w.memory.Counts
	return w.memory.save(w.job.statePath(), w.job.beside(w.o.Step))
}

// saveEvery is how often counts of failures are written, which may be many.
const saveEvery = 10 * time.Minute

// saveCounts has --status know of what was counted since.
func (w *worker) saveCounts(now time.Time) {
	saved, counts := w.saved, w.memory.Counts
	if reflect.DeepEqual(saved, counts) {
		return
	}
	saved.Failures, counts.Failures = nil, nil
	if reflect.DeepEqual(saved, counts) && now.Sub(w.savedAt).Abs() < saveEvery {
		return
	}
	w.savedAt = now
	w.save()
}

// save is persist where nothing depends on it.
func (w *worker) save() {
	if err := w.persist(); err != nil {
		w.log.Warn("cannot remember across restarts what is pending", "error", err.Error())
	}
}

// run keeps the files true until ctx ends, or it is no longer for this process to do so.
func (w *worker) run(ctx context.Context) {
	if !w.o.NoControl {
		stop, err := w.listen()
		if err != nil {
			w.log.Warn("this agent cannot be asked to refresh, other than by SIGHUP", "error", unwrapped(err).Error())
		} else {
			defer stop()
		}
	}
	for !w.job.inOtherHands(false) {
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
	w.savedAt = time.Time{}
	w.saveCounts(w.o.Clock.Now())
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
			w.drain()
			return
		}
		(<-w.results)()
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
