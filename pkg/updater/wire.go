package updater

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/client"
	"cauase/pkg/pki"
)

// What an agent and the process of a job's owner say to each other. The agent hands in one order, and ends the
// work by closing the pipe. The process answers with reports, one a line. Whoever owns the files
// can make that process say anything, so all of it is bounded and checked.

// A purpose is what a process is started for.
type purpose string

const (
	toKeep purpose = "keep" // the files up to date, until told to end
	toOnce purpose = "once" // do what is due
	toLook purpose = "look" // say how things are

	toRefresh purpose = "refresh" // have the agent that keeps the files look now
)

// An order is a job and what it needs that is not in it.
type order struct {
	Purpose   purpose
	Job       Job
	UserAgent string
	Timeout   time.Duration
	Reported  bool
}

// A report is one thing that has happened. One without any is a sign of life.
type report struct {
	Log    *logLine `json:",omitempty"`
	Status *Status  `json:",omitempty"`
	Error  string   `json:",omitempty"` // why the work could not be done
	Locked bool     `json:",omitempty"` // because of another agent

	NoAgent bool `json:",omitempty"` // because there is none to ask
}

type logLine struct {
	Level   slog.Level
	Message string
	Attrs   [][2]string `json:",omitempty"`
}

// Limits of what is taken from the process of an owner.
const (
	maxReport = 4 << 20 // bytes of a line
	maxText   = 2000    // bytes of a text in it
	maxList   = 1000    // entries of a list
	maxAttrs  = 20
)

// errReport is a report that no agent makes.
var errReport = errors.New("the process of the job's owner says what makes no sense")

// readReports hands out what comes until the other side ends.
func readReports(r io.Reader, take func(report)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxReport)
	for lines.Scan() {
		var one report
		if err := json.Unmarshal(lines.Bytes(), &one, json.RejectUnknownMembers(true)); err != nil {
			return errReport
		}
		take(one)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", errReport, err)
	}
	return nil
}

// clipped is a text of an owner's process as it may be shown.
func clipped(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return pki.EscapeText(text)
}

// states are the words of Status.State.
var states = []string{StateOK, StateForked, StateHook, StatePending, StateFailing, StateRejected, StateRevoked, StateExpired, StateBlocked, StateLocked}

// admit makes what an owner's process says of a job safe to show, to count and to export, beside those of
// other jobs, or reports that it makes no sense.
func (s *Status) admit(j *Job) bool {
	lists := [][]EndStatus{s.CAs, s.CRLs}
	if s.CRLPush != "" && !slices.Contains(pushWords, s.CRLPush) || !s.Counts.plausible() {
		return false
	}
	if s.Log != nil {
		if !s.Log.plausible() {
			return false
		}
		s.Log.File, s.Log.Root = clipped(s.Log.File), clipped(s.Log.Root)
	}
	if !slices.Contains(states, s.State) || len(s.Problems) > maxList || len(s.Hook.Pending) > len(changeable) || !(s.Budget >= 0) {
		return false
	}
	s.Name, s.CAURL, s.Authority, s.Mode = j.Name, j.CAURL, string(j.Authority), j.mode()
	for i, path := range []string{j.CA, j.CRL} {
		if len(lists[i]) > maxList {
			return false
		}
		seen := map[string]bool{}
		for k := range lists[i] {
			e := &lists[i][k]
			if e.File, e.KeyID = path, clipped(e.KeyID); seen[e.KeyID] {
				return false
			}
			seen[e.KeyID] = true
		}
	}
	if c := s.Certificate; c != nil {
		if len(c.SANs) > maxList {
			return false
		}
		c.File, c.Subject, c.Serial = j.Crt, clipped(c.Subject), clipped(c.Serial)
		for i := range c.SANs {
			c.SANs[i] = clipped(c.SANs[i])
		}
	}
	for _, word := range s.Hook.Pending {
		if !slices.Contains(changeable, word) {
			return false
		}
	}
	for i := range s.Problems {
		p := &s.Problems[i]
		if !slices.Contains(allTasks, p.Task) {
			return false
		}
		p.Class, p.Message, p.Hint = clipped(p.Class), clipped(p.Message), clipped(p.Hint)
	}
	s.Limit, s.Request, s.Hook.Error = clipped(s.Limit), clipped(s.Request), clipped(s.Hook.Error)
	return true
}

// mode is the word for the two authorities that every daemon has.
func (j *Job) mode() string {
	switch j.Authority {
	case client.CAS:
		return "service"
	case client.CAU:
		return "user"
	}
	return ""
}
