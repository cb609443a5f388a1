package updater

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// Counts are what has happened since the state was first kept.
type Counts struct {
	Renewals     int          `json:"renewals"`
	Enrolments   int          `json:"enrolments"`
	Mended       int          `json:"mended"`
	Hooks        int          `json:"hooks"`
	HookFailures int          `json:"hook_failures"`
	LogForks     int          `json:"log_forks"`
	LogRestores  int          `json:"log_restores"`
	Failures     map[Task]int `json:"failures,omitempty"`
}

// countable are the tasks whose failures are counted: those that are tried.
var countable = []Task{TaskRefresh, taskCRL, TaskEnrol, TaskRenew, TaskFiles}

// plausible reports whether an agent can have counted so.
func (c *Counts) plausible() bool {
	for task, n := range c.Failures {
		if !slices.Contains(allTasks, task) || n < 0 {
			return false
		}
	}
	return min(c.Renewals, c.Enrolments, c.Mended, c.Hooks, c.HookFailures, c.LogForks, c.LogRestores) >= 0
}

func (c *Counts) failed(task Task) {
	// Never changed in place: statuses share it with other goroutines.
	failures := map[Task]int{task: 1}
	for t, n := range c.Failures {
		failures[t] += n
	}
	c.Failures = failures
}

// The words for how a job does, the worst that applies.
const (
	StateOK       = "ok"
	StateForked   = "forked" // the CA's log is not what it was: nothing is taken from the daemon
	StateHook     = "hook failing"
	StatePending  = "pending"
	StateFailing  = "failing"
	StateRejected = "rejected"
	StateRevoked  = "revoked"
	StateExpired  = "expired"
	StateBlocked  = "blocked" // until somebody does something
	StateLocked   = "locked"
)

// A Status is how a job does.
type Status struct {
	Name  string `json:"name,omitempty"`
	CAURL string `json:"ca_url"`
	Mode  string `json:"mode,omitempty"` // service or user, of the two authorities that every daemon has

	Authority string `json:"authority"`
	State     string `json:"state"`

	Certificate *CertificateStatus `json:"certificate,omitempty"`
	CAs         []EndStatus        `json:"ca_certificates"`
	CRLs        []EndStatus        `json:"revocation_lists"`
	Log         *LogStatus         `json:"log,omitempty"`      // what was seen of the CA's log
	CRLPush     string             `json:"crl_push,omitempty"` // how a running agent hears of newer ones

	// Budget is for how long the daemon may be out of reach before something here
	// expires, in seconds, and Limit what that would be.
	Budget float64 `json:"outage_budget_seconds"`
	Limit  string  `json:"outage_budget_limit"`

	Request  string     `json:"request,omitempty"` // id of the one that is pending
	Problems []Problem  `json:"problems"`
	Hook     HookStatus `json:"hook"`
	Contact  time.Time  `json:"last_contact,omitzero"`
	Looked   time.Time  `json:"looked_at"`
	Wake     time.Time  `json:"next_wake_up,omitzero"`
	Counts   Counts     `json:"counts"`
}

// BudgetAt is the budget at a time after the status was made, in seconds.
func (s *Status) BudgetAt(now time.Time) float64 {
	return max(0, s.Budget-now.Sub(s.Looked).Seconds())
}

// A CertificateStatus describes the certificate.
type CertificateStatus struct {
	File     string    `json:"file"`
	Subject  string    `json:"subject"`
	SANs     []string  `json:"sans"`
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after"`
	RenewAt  time.Time `json:"renew_at"`
}

// An EndStatus is when a CA certificate or a revocation list ends.
type EndStatus struct {
	File  string    `json:"file"`
	KeyID string    `json:"key_id"`
	End   time.Time `json:"end"`
}

// A HookStatus says whether the hook still has to hear of something.
type HookStatus struct {
	Pending  []string  `json:"pending"`
	Failures int       `json:"failures"`
	Error    string    `json:"error,omitempty"`
	Next     time.Time `json:"next_try,omitzero"`
}

// publish tells the outside how things are.
func (w *worker) publish(s *snapshot, state State, plan Plan, now time.Time) {
	w.conditions(s, state, now)
	w.saveCounts(now)
	status := w.describe(s, state, now)
	status.Wake = plan.Wake
	old := w.status.Swap(status)
	if w.o.onLook != nil {
		w.o.onLook()
	}
	if w.o.OnStatus != nil && (old == nil || old.State != status.State || old.summary() != status.summary()) {
		w.o.OnStatus()
	}
}

func (s *Status) summary() string {
	text := fmt.Sprintf("%s, outage budget %.0f days", s.State, s.Budget/day.Seconds())
	if s.Name != "" {
		text = s.Name + ": " + text
	}
	return text
}

func (w *worker) describe(s *snapshot, state State, now time.Time) *Status {
	m := &w.memory
	st := &Status{
		Name: w.job.Name, CAURL: w.job.CAURL, Mode: w.job.mode(), Authority: string(w.job.Authority), CAs: []EndStatus{}, CRLs: []EndStatus{},
		Problems: []Problem{}, Contact: m.Contact, Looked: now, Counts: m.Counts, Log: w.logSeen,
		Hook: HookStatus{Pending: slices.Clone(m.Changed), Failures: m.HookFailures, Error: m.HookError, Next: m.HookNext},
	}
	for _, p := range m.Problems {
		st.Problems = append(st.Problems, *p)
	}
	if m.Request != nil && m.Request.ID != 0 {
		st.Request = m.Request.ID.String()
	}
	var ends []end
	if w.job.Crt != "" {
		e := end{what: "certificate"}
		if s.pairState == PairGood {
			e.at = s.files.Pair.Crt.NotAfter
			st.Certificate = &CertificateStatus{
				File: w.job.Crt, Subject: pki.SubjectString(s.files.Pair.Crt.RawSubject), SANs: pki.SANStrings(s.files.Pair.Crt.Extensions),
				Serial: "0x" + s.files.Pair.Crt.SerialNumber.Text(16), NotAfter: e.at.UTC(),
				// From then on it is due. An agent waits a little longer, so that not all of a fleet come at once.
				RenewAt: w.timing().RenewAt(state.Certificate, 0).UTC(),
			}
		}
		ends = append(ends, e)
	}
	newest := end{what: "CA certificate"}
	for _, ca := range s.ca.crts {
		newest.at = later(newest.at, ca.NotAfter)
		st.CAs = append(st.CAs, EndStatus{w.job.CA, fmt.Sprintf("%x", ca.SubjectKeyId), ca.NotAfter.UTC()})
	}
	for _, crl := range s.crls {
		st.CRLs = append(st.CRLs, EndStatus{w.job.CRL, fmt.Sprintf("%x", crl.AuthorityKeyId), crl.NextUpdate.UTC()})
	}
	list := end{what: "revocation list"}
	if s.crl.state == StoreGood {
		life, _ := s.crlLife(now)
		list.at = life.To
	}
	ends = append(ends, newest, list)
	first := slices.MinFunc(ends, func(a, b end) int { return a.at.Compare(b.at) })
	st.Limit = first.what
	if !first.at.IsZero() {
		st.Budget = max(0, first.at.Sub(now).Seconds())
	}
	st.State = word(st, state, now)
	return st
}

type end struct {
	what string
	at   time.Time
}

func word(st *Status, state State, now time.Time) string {
	classes := map[string]bool{}
	blocked, failing, hook := false, false, st.Hook.Error != ""
	for _, p := range st.Problems {
		classes[p.Class] = true
		blocked = blocked || p.Task == TaskPair || p.Task == TaskStores || p.Task == taskRequest || p.Task == taskTargets
		failing = failing || p.Failures > 0 || p.Task == taskOldCRL
		hook = hook || p.Task == TaskHook
	}
	switch {
	case classes[enroll.ClassFork]:
		return StateForked
	case classes[enroll.ClassRejected] || state.Request == RequestRejected && state.Pair != PairGood:
		return StateRejected
	case state.Revoked:
		return StateRevoked
	case state.Pair == PairGood && now.After(state.Certificate.To):
		return StateExpired
	case blocked:
		return StateBlocked
	case failing:
		return StateFailing
	case state.Pair != PairGood && state.Pair != PairUnmanaged:
		return StatePending
	case state.CA != StoreGood || state.CRL != StoreGood:
		return StatePending
	case hook:
		return StateHook
	}
	return StateOK
}

// conditions notes what only somebody can mend.
func (w *worker) conditions(s *snapshot, state State, now time.Time) {
	w.settled(state, now)
	class, message, hint := w.pairCondition(s, state, now)
	w.condition(TaskPair, class, message, hint)
	class, message, hint = "", "", ""
	if state.CA == StoreBroken && !state.CAMendable {
		err := s.ca.err
		err = cmp.Or(err, s.casca.err, s.root.err)
		class, message = "unreadable", err.Error()
		hint = "restore it from a copy, or remove it to start anew; nothing is trusted meanwhile, and nothing is fetched"
		if unsafe(err) {
			class, hint = w.explain(err) // what is there may be right
		}
	} else if s.crl.state == StoreBroken && s.crl.err != nil {
		class, message = "unreadable", s.crl.err.Error()
		if unsafe(s.crl.err) {
			class, hint = w.explain(s.crl.err)
		}
		if errors.Is(s.crl.err, pki.ErrPartialCRL) {
			class, hint = "partial list", "it is replaced as soon as complete lists are there; until then servers may take it for one"
		}
	} else if s.partial != nil {
		class, message, hint = "partial list", s.partial.Error(), "remove that file: servers that read the folder may take it for a complete list"
	}
	w.condition(TaskStores, class, message, hint)
	class, message, hint = w.targetCondition(s, state)
	w.condition(taskTargets, class, message, hint)
	class, message = w.hookCondition()
	w.condition(TaskHook, class, message, "")
	class, message = w.oldList(state, now)
	w.condition(taskOldCRL, class, message, "see what the daemon says of it: it makes new lists long before they end")
	class, message = "", ""
	if state.Request == RequestBroken && state.Pair != PairGood {
		class, message = "unreadable", s.requestErr.Error()
	}
	w.condition(taskRequest, class, message, "make one with cauase request or cauase-rerequest")
	class, message = "", ""
	if p := w.memory.problem(TaskRenew); p != nil && state.Pair == PairGood && !now.After(state.Certificate.To) &&
		state.Certificate.To.Sub(now) < state.Certificate.length()/10 {
		class, message = "last tenth", fmt.Sprintf("%s expires on %s, and its renewal keeps failing: %s", w.job.Crt, stamp(state.Certificate.To), p.Message)
	}
	w.condition(taskUrgent, class, message, "")
}

// oldList says so if a revocation list is about to end, and the next one was looked for in vain.
func (w *worker) oldList(state State, now time.Time) (class, message string) {
	if state.CRL != StoreGood || state.CRLs.To.IsZero() {
		return "", ""
	}
	urgent := w.timing().FetchAt(state.CRLs, state.CRLJitter)
	failing := w.memory.problem(TaskRefresh) != nil || w.memory.problem(taskCRL) != nil
	if now.Before(urgent) || !failing && later(state.Checked, state.Refreshed).Before(urgent) {
		return "", ""
	}
	return "old list", fmt.Sprintf("a revocation list in %s ends on %s, and there is no newer one yet", w.job.CRL, stamp(state.CRLs.To))
}

// settled forgets what failed and is no longer wanted, because somebody else has put a good
// certificate in place.
func (w *worker) settled(state State, now time.Time) {
	if state.Pair != PairGood || now.After(state.Certificate.To) || w.netBusy {
		return
	}
	w.pending = false
	delete(w.retries, TaskEnrol)
	w.resolved(TaskEnrol)
	if w.memory.Request != nil {
		w.memory.Request = nil
		w.save()
	}
	if now.Before(w.timing().RenewAt(state.Certificate, state.Jitter)) && !state.Orphaned {
		delete(w.retries, TaskRenew)
		w.resolved(TaskRenew)
	}
}

func (w *worker) condition(task Task, class, message, hint string) {
	if class == "" {
		w.resolved(task)
		return
	}
	w.problem(task, class, pki.EscapeText(message), hint, time.Time{})
}

func (w *worker) pairCondition(s *snapshot, state State, now time.Time) (class, message, hint string) {
	j := w.job
	key := j.Key
	if key == "" {
		key = j.Crt
	}
	again := fmt.Sprintf("get a new one: put a CSR for the key in %s into a file and name it with --csr, or use cauase request --crt NEW --key NEWKEY and put both in place", key)
	switch state.Pair {
	case PairGood:
		switch {
		case state.Revoked:
			return enroll.ClassRevoked, j.Crt + " has been revoked", "if that was not meant, " + again
		case now.After(state.Certificate.To) && state.Request == RequestNone:
			return enroll.ClassExpired, fmt.Sprintf("%s expired on %s and cannot be renewed any more", j.Crt, stamp(state.Certificate.To)), again
		case now.After(state.Certificate.To):
			return enroll.ClassExpired + ", asking", fmt.Sprintf("%s expired on %s; a new one is asked for with the names of %s", j.Crt, stamp(state.Certificate.To), j.CSR),
				"an administrator has to sign the request"
		case state.Orphaned && !w.silent:
			// Which is to be replaced if its CA was withdrawn. Nothing is wrong before the daemon has said that it was not; that it
			// cannot be asked is a problem of its own.
		case len(s.ca.crts) > 0:
			if err := s.checkIssued(now); err != nil {
				class, hint = w.explain(err)
				return class, j.Crt + ": " + err.Error(), hint
			}
		}
		if _, err := pki.LikeKeyType(s.files.Pair.Key.Public()); err != nil && j.KeyType == "" {
			class, hint = w.explain(enroll.ErrKeyType)
			return class, fmt.Sprintf("%s cannot be renewed: %v", j.Crt, err), hint
		}
	case PairNoKey:
		if !state.Mendable && state.Request == RequestNone {
			return "no key", "there is no private key in " + key, "restore it, or configure a CSR: then a new key is made and a certificate like that is asked for"
		}
	case PairNoCertificate:
		if !state.Mendable && state.Request == RequestNone {
			return "no certificate", "there is no certificate in " + j.Crt, again
		}
	case PairMismatch, PairBroken:
		if state.Recovered || state.Pair == PairBroken {
			class, hint = w.explain(s.pairErr)
			if errors.Is(s.pairErr, pemfile.ErrSymlink) {
				return class, s.pairErr.Error(), hint
			}
			return class, s.pairErr.Error(), "put the right key and certificate in place; nothing is overwritten meanwhile"
		}
	}
	return "", "", ""
}

func taskVerb(task Task) string {
	switch task {
	case TaskRefresh:
		return "fetch CA certificates"
	case taskCRL:
		return "fetch revocation lists"
	case TaskRenew:
		return "renew the certificate"
	case TaskEnrol:
		return "get a certificate"
	case TaskFiles:
		return "write files"
	case taskOldCRL:
		return "get newer revocation lists"
	case TaskPair:
		return "use key and certificate"
	case TaskStores:
		return "use CA certificates or revocation lists"
	case taskUrgent:
		return "renew in time"
	case taskRequest:
		return "use the CSR"
	case taskTargets:
		return "replace files"
	case TaskHook:
		return "run the hook"
	case TaskLog:
		return "rely on the CA's log"
	}
	return string(task)
}
