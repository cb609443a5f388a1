package updater

import (
	"time"
)

// A PairState is what there is of a key and its certificate.
type PairState int

// The states of a pair.
const (
	PairUnmanaged     PairState = iota // no certificate is wanted
	PairGood                           // they match
	PairNoCertificate                  // a key alone
	PairNoKey                          // no key, with or without a certificate
	PairMismatch
	PairBroken // something is there that cannot be read
)

// A StoreState is what there is of CA certificates or revocation lists.
type StoreState int

// The states of a store.
const (
	StoreGood StoreState = iota
	StoreMissing
	StoreBroken // something is there that cannot be read
)

// A RequestState is what is known of the certificate signing request.
type RequestState int

// The states of a request.
const (
	RequestNone RequestState = iota // none is configured
	RequestReady
	RequestRejected // and has not changed since
	RequestBroken   // missing, or unreadable
)

// A Life is a time of validity.
type Life struct{ From, To time.Time }

func (l Life) length() time.Duration { return l.To.Sub(l.From) }

// A Task is something that can fail and is tried again.
type Task string

// The tasks.
const (
	TaskRefresh Task = "refresh" // of CA certificates and revocation lists
	TaskRenew   Task = "renew"
	TaskEnrol   Task = "enrol"
	TaskFiles   Task = "files"   // to mend or to write them
	taskCRL     Task = "crl"     // of revocation lists, alone or as part of a refresh
	taskOldCRL  Task = "old crl" // no newer list than one that is about to end
	TaskPair    Task = "pair"    // what only somebody can mend
	TaskStores  Task = "stores"  // likewise
	taskUrgent  Task = "urgent"  // a certificate about to expire
	taskRequest Task = "request" // a CSR that cannot be used
	taskTargets Task = "targets" // files that cannot be replaced
	TaskHook    Task = "hook"    // one that could not be started
	TaskLog     Task = "log"     // the CA's log is not what it was
	taskConfirm Task = "confirm" // which CA certificate is on disk; nothing is wrong here if that fails
)

var allTasks = []Task{TaskRefresh, TaskRenew, TaskEnrol, TaskFiles, taskCRL, taskOldCRL, TaskPair, TaskStores, taskUrgent, taskRequest, taskTargets, TaskHook, TaskLog}

// A State is everything that decides what is to be done.
type State struct {
	Pair        PairState
	Since       time.Time // when Pair became what it is
	Certificate Life      // while Pair is PairGood
	Jitter      float64   // of the certificate: 0 to 1, always the same
	Revoked     bool      // the certificate is
	Orphaned    bool      // the CA that has issued it is not trusted here, and may have been withdrawn
	Unconfirmed bool      // the daemon has not been told of the newest CA certificate on disk
	Mendable    bool      // what is missing of the pair is known
	Recovered   bool      // an interrupted write was looked for since Pair is what it is
	Request     RequestState

	CA, CRL                 StoreState
	CAMendable, CRLMendable bool      // what was there is known
	CRLs                    Life      // of the list that ends first
	CRLJitter               float64   // like Jitter
	Refreshed               time.Time // when that last succeeded, zero for never since the start
	Checked                 time.Time // when the lists were last found to be the newest, like Refreshed
	Touched                 bool      // somebody else has changed CA certificates or lists since
	Asked                   bool      // somebody wants everything looked at now
	Pushed                  bool      // the daemon has sent newer lists by itself

	Retry   map[Task]time.Time // tasks that failed, and when they may be tried again
	HookDue time.Time          // zero if no hook is to be run

	NetworkBusy, HookBusy bool // something is under way already
}

// A Timing is what of a Job decides when.
type Timing struct {
	Threshold, CRLThreshold, MaxSleep time.Duration

	CRLRefresh time.Duration // see Job

	// Eager leaves out the jitter, and the time that others are given to complete what they do: what is due for some of
	// a fleet is due.
	Eager bool
}

// An Action is something to do.
type Action string

// The actions, in the order in which they are done.
const (
	ActRecover Action = "recover" // complete or undo an interrupted write of the pair
	ActMend    Action = "mend"    // put back what is known of the pair
	ActMendCA  Action = "mend CA"
	ActMendCRL Action = "mend CRL"
	ActRefresh Action = "refresh"
	ActLists   Action = "refresh lists" // the revocation lists alone
	ActEnrol   Action = "enrol"
	ActRenew   Action = "renew"
	ActReplace Action = "replace" // a certificate of a CA that was withdrawn
	ActConfirm Action = "confirm" // to the daemon which CA certificate is on disk
	ActHook    Action = "hook"
)

// A Plan is what to do now, and when to decide anew if nothing happens before.
type Plan struct {
	Actions []Action
	Wake    time.Time
}

const (
	// settle is how long somebody who replaces key and certificate one after the other
	// is left alone.
	settle = 10 * time.Second

	// spread is the part of a threshold over which a fleet spreads what it does.
	spread = 0.1

	minRefresh = time.Second // between two refreshes
	maxRefresh = time.Hour   // between two that are due because a list ends soon
)

// RenewAt returns when a certificate is due: when less than the threshold is left of its
// life, or, for those that live so short that they would always be, than half of it.
// Fleets are spread over the time after.
func (t Timing) RenewAt(l Life, jitter float64) time.Time {
	return t.due(l, min(t.Threshold, l.length()/2), jitter)
}

// listLives is how many times in the life of a revocation list the next one is looked for at least.
const listLives = 200

// CheckAt returns when to look whether revocation lists, found to be the newest at a time, still are. A daemon makes new
// ones whenever something is revoked, and asking it costs next to nothing. Hosts do so at a period of their own, so that
// they do not all come at once.
func (t Timing) CheckAt(l Life, checked time.Time, jitter float64) time.Time {
	every := t.CRLRefresh
	if every == 0 {
		every = clamp(l.length()/listLives, minRefresh, DefaultCRLRefresh)
	}
	return checked.Add(every - time.Duration(jitter*2*spread*float64(every)))
}

// FetchAt returns when it is high time for the successor of a revocation list. Daemons make it halfway through its life.
func (t Timing) FetchAt(l Life, jitter float64) time.Time {
	return t.due(l, min(t.CRLThreshold, l.length()*2/5), jitter)
}

func (t Timing) due(l Life, left time.Duration, jitter float64) time.Time {
	if t.Eager {
		jitter = 0
	}
	return l.To.Add(-left + time.Duration(jitter*spread*float64(left)))
}

// Decide says what is to be done. It is a function of what it is given and of nothing else.
func Decide(t Timing, s State, now time.Time) Plan {
	p := planner{state: s, now: now, plan: Plan{Wake: now.Add(t.MaxSleep)}}
	p.files()
	p.refresh(t)
	p.certificate(t)
	p.lists(t) // last: what comes before may look at everything
	if !s.HookDue.IsZero() && !s.HookBusy {
		p.at(s.HookDue, ActHook)
	}
	return p.plan
}

type planner struct {
	state State
	now   time.Time
	plan  Plan
}

// at does something if its time has come, and else sees to it that its time is not missed.
func (p *planner) at(when time.Time, actions ...Action) {
	if when.After(p.now) {
		if when.Before(p.plan.Wake) {
			p.plan.Wake = when
		}
		return
	}
	p.plan.Actions = append(p.plan.Actions, actions...)
}

// task is at for what may have failed before.
func (p *planner) task(task Task, when time.Time, actions ...Action) {
	p.at(later(when, p.state.Retry[task]), actions...)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *planner) files() {
	s := p.state
	incomplete := s.Pair == PairNoCertificate || s.Pair == PairNoKey || s.Pair == PairMismatch
	if incomplete && !s.Recovered {
		p.plan.Actions = append(p.plan.Actions, ActRecover)
	}
	if s.Mendable {
		switch s.Pair {
		case PairNoCertificate, PairNoKey, PairBroken:
			p.task(TaskFiles, p.now, ActMend)
		case PairMismatch:
			p.task(TaskFiles, s.Since.Add(settle), ActMend)
		}
	}
	if s.CA != StoreGood && s.CAMendable {
		p.task(TaskFiles, p.now, ActMendCA)
	}
	if s.CRL != StoreGood && s.CRLMendable {
		p.task(TaskFiles, p.now, ActMendCRL)
	}
}

func (p *planner) refresh(t Timing) {
	s := p.state
	if s.NetworkBusy || s.CA == StoreBroken {
		return
	}
	due := s.Refreshed.Add(t.MaxSleep)
	if s.CRL == StoreGood && !s.CRLs.To.IsZero() {
		// A daemon that has no newer list yet is not asked all the time.
		again := s.Refreshed.Add(clamp(s.CRLs.To.Sub(s.Refreshed)/8, minRefresh, maxRefresh))
		due = earlier(due, later(t.FetchAt(s.CRLs, s.CRLJitter), again))
	}
	if s.CA != StoreGood || s.CRL != StoreGood || s.Touched {
		due = earlier(due, s.Refreshed.Add(minRefresh))
	}
	// A clock that was set back must not make us wait for a time long to come.
	if s.Refreshed.IsZero() || s.Refreshed.After(p.now) {
		due = p.now
	}
	if s.Asked {
		p.plan.Actions = append(p.plan.Actions, ActRefresh)
		return
	}
	// What has failed is tried again, whenever it would be due.
	if retry := s.Retry[TaskRefresh]; !retry.IsZero() {
		due = earlier(due, retry)
	}
	p.task(TaskRefresh, due, ActRefresh)
}

// lists looks for newer revocation lists, unless everything is looked at anyway.
func (p *planner) lists(t Timing) {
	s := p.state
	if s.NetworkBusy || s.CA != StoreGood || s.CRL != StoreGood || s.CRLs.To.IsZero() || p.has(ActRefresh) {
		return
	}
	if s.Pushed {
		p.plan.Actions = append(p.plan.Actions, ActLists)
		return
	}
	due := t.CheckAt(s.CRLs, later(s.Checked, s.Refreshed), s.CRLJitter)
	if s.Checked.After(p.now) {
		due = p.now
	}
	p.task(taskCRL, later(due, s.Retry[TaskRefresh]), ActLists)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func clamp(d, low, high time.Duration) time.Duration { return max(low, min(d, high)) }

func (p *planner) certificate(t Timing) {
	s := p.state
	if s.NetworkBusy || s.CA == StoreBroken {
		return
	}
	switch s.Pair {
	case PairGood:
		expired := s.Certificate.To.Add(time.Second) // the last second is included
		switch {
		case s.Revoked:
		case p.now.Before(expired):
			p.renew(t)
			p.confirm()
			p.at(expired) // which changes everything
		case s.Request == RequestReady:
			p.task(TaskEnrol, p.now, ActEnrol)
		}
	case PairNoCertificate:
		if !s.Mendable && s.Request == RequestReady {
			p.task(TaskEnrol, p.now, ActEnrol)
		}
	case PairNoKey:
		if !s.Mendable && s.Request == RequestReady {
			// Who looks once only cannot leave others that time: it would begin anew with each look.
			when := s.Since.Add(settle)
			if t.Eager {
				when = p.now
			}
			p.task(TaskEnrol, when, ActEnrol)
		}
	}
}

func (p *planner) renew(t Timing) {
	due, how := t.RenewAt(p.state.Certificate, p.state.Jitter), ActRenew
	if p.state.Orphaned && p.now.Before(due) {
		due, how = p.now, ActReplace // nobody who has the same CA certificates as this host takes it for valid any more
	}
	due = later(due, p.state.Retry[TaskRenew])
	if !due.After(p.now) && !p.has(ActRefresh) {
		// The issuer may be a CA that is not known here yet.
		p.plan.Actions = append(p.plan.Actions, ActRefresh)
	}
	p.at(due, how)
}

// confirm tells the daemon which CA certificate is here. What is about to be fetched may be another one.
func (p *planner) confirm() {
	if p.state.Unconfirmed && p.state.CA == StoreGood && !p.has(ActRefresh) && !p.has(ActRenew) && !p.has(ActReplace) {
		p.task(taskConfirm, p.now, ActConfirm)
	}
}

func (p *planner) has(action Action) bool {
	for _, a := range p.plan.Actions {
		if a == action {
			return true
		}
	}
	return false
}
