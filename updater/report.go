package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/cli"
	"cauase/pkg/pki"
	"cauase/pkg/updater"
)

// report prints how jobs do, and returns what the tool exits with for that: the report has said why.
func report(w io.Writer, all []updater.Status, now time.Time, asJSON bool) error {
	return printed(w, all, now, asJSON, describe, summary)
}

// reportOutcome prints how jobs do after something was done, and returns what is wrong with them. Unlike JSON, which is
// for programs, the text does not say that, too.
func reportOutcome(w io.Writer, all []updater.Status, now time.Time, asJSON bool) error {
	return printed(w, all, now, asJSON, func(s updater.Status, now time.Time) string {
		told := ""
		switch {
		case s.State == updater.StateHook:
			told, s.Hook.Error = hookError(s), ""
		case len(s.Problems) > 0 && verdict(s) != nil:
			told = decisive(s).Message
		}
		return describeBut(told, s, now)
	}, verdict)
}

func printed(w io.Writer, all []updater.Status, now time.Time, asJSON bool, describe func(updater.Status, time.Time) string, verdict func(updater.Status) error) error {
	if asJSON {
		if err := json.MarshalWrite(w, all, jsontext.WithIndent("  "), json.FormatNilSliceAsNull(false)); err != nil {
			return err
		}
		fmt.Fprintln(w)
	} else {
		for i, s := range all {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if _, err := io.WriteString(w, describe(s, now)); err != nil {
				return err
			}
		}
	}
	var result error
	for _, s := range all {
		result = errors.Join(result, verdict(s))
	}
	return result
}

// summary is the verdict in a word, where the rest was printed.
func summary(s updater.Status) error {
	full := verdict(s)
	var coded *cli.Error
	told := len(s.Problems) > 0 || s.State == updater.StateHook
	if !errors.As(full, &coded) || !told || s.State == updater.StatePending {
		return full
	}
	word := s.State
	if s.Name != "" {
		word = s.Name + ": " + word
	}
	return &cli.Error{Err: errors.New(word), Code: coded.Code}
}

// decisive is the problem that a verdict is about, nil for none: of a request that was rejected that, or else the first. A
// hook that cannot be run is it only if all else is well.
func decisive(s updater.Status) *updater.Problem {
	var first *updater.Problem
	for i := range s.Problems {
		p := &s.Problems[i]
		if s.State == updater.StateForked && p.Task == updater.TaskLog || s.State == updater.StateRejected && p.Task == updater.TaskEnrol || s.State == updater.StateHook && p.Task == updater.TaskHook {
			return p
		}
		if first == nil && p.Task != updater.TaskHook {
			first = p
		}
	}
	return first
}

// hookError is why the hook has failed, or would.
func hookError(s updater.Status) string {
	if main := decisive(s); s.Hook.Error == "" && main != nil {
		return main.Message
	}
	return s.Hook.Error
}

// verdict is nil for a job that does well.
func verdict(s updater.Status) error {
	prefix := ""
	if s.Name != "" {
		prefix = s.Name + ": "
	}
	message, hint := s.State, ""
	if main := decisive(s); main != nil {
		message, hint = main.Message, main.Hint
	}
	switch s.State {
	case updater.StateOK:
		return nil
	case updater.StatePending:
		if s.Request != "" {
			message = "request " + s.Request + " waits to be signed"
		}
		return &cli.Error{Err: errors.New(prefix + message), Hint: hint, Code: cli.ExitPending}
	case updater.StateHook:
		what := "the hook failed"
		if s.Hook.Error == "" {
			what = "the hook cannot be run"
		}
		return &cli.Error{Err: fmt.Errorf("%s%s: %s", prefix, what, hookError(s)), Code: cli.ExitHook}
	}
	code := cli.ExitError
	switch s.State {
	case updater.StateRejected:
		code = cli.ExitRejected
	case updater.StateForked:
		code = cli.ExitForked
	}
	return &cli.Error{Err: errors.New(prefix + message), Hint: hint, Code: code}
}

func describe(s updater.Status, now time.Time) string { return describeBut("", s, now) }

// describeBut leaves out the problems with a message that is told elsewhere.
func describeBut(told string, s updater.Status, now time.Time) string {
	var b strings.Builder
	field := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-15s %s\n", name+":", pki.EscapeText(fmt.Sprintf(format, args...)))
	}
	if s.Name != "" {
		field("job", "%s", s.Name)
	}
	field("state", "%s", s.State)
	if s.Mode != "" {
		field("CA", "%s, mode %s", s.CAURL, s.Mode)
	} else {
		field("CA", "%s, authority %s", s.CAURL, s.Authority)
	}
	if c := s.Certificate; c != nil {
		field("certificate", "%s, %s", c.File, c.Subject)
		field("  names", "%s", strings.Join(c.SANs, ", "))
		field("  serial", "%s", c.Serial)
		field("  valid until", "%s", when(c.NotAfter, now))
		field("  renewed from", "%s", when(c.RenewAt, now))
	}
	for _, e := range s.CAs {
		field("CA certificate", "%s, until %s", e.KeyID, when(e.End, now))
	}
	for _, e := range s.CRLs {
		field("revocations", "of %s, until %s", e.KeyID, when(e.End, now))
	}
	if l := s.Log; l != nil {
		field("CA's log", "%d entries, seen %s", l.Size, when(l.Seen, now))
		if l.Forks > 0 {
			field("  forks", "evidence of %d in %s", l.Forks, l.File)
		}
	}
	if s.CRLPush != "" && s.CRLPush != updater.PushOff {
		field("newer lists", "%s", s.CRLPush)
	}
	if s.Budget > 0 {
		field("outage budget", "%s, then the %s ends", span(time.Duration(s.Budget*float64(time.Second))), s.Limit)
	} else if s.Limit == "" { // nothing was looked at: a problem says why
	} else if unread(s) {
		field("outage budget", "not known: the %s cannot be used as it is", s.Limit)
	} else {
		field("outage budget", "none: the %s is missing or has ended", s.Limit)
	}
	if s.Request != "" {
		field("request", "%s", s.Request)
	}
	if len(s.Hook.Pending) > 0 {
		field("hook", "has to hear of %s, %d failures, next try %s", strings.Join(s.Hook.Pending, ","), s.Hook.Failures, when(s.Hook.Next, now))
		if s.Hook.Error != "" {
			field("  error", "%s", s.Hook.Error)
		}
	}
	if !s.Contact.IsZero() {
		field("last contact", "%s", when(s.Contact, now))
	}
	for i, p := range s.Problems {
		if p.Message == told && told != "" || p.Message == s.Hook.Error && len(s.Hook.Pending) > 0 {
			continue
		}
		if slices.ContainsFunc(s.Problems[:i], func(q updater.Problem) bool { return q.Message == p.Message }) {
			continue // several things fail for one reason
		}
		field("problem", "%s (since %s)", p.Message, p.Since.UTC().Format(time.RFC3339))
		if p.Hint != "" {
			field("  hint", "%s", p.Hint)
		}
	}
	return b.String()
}

// unread reports whether what limits the budget is there, but was not looked at: behind a symbolic link, say, or unreadable.
// A problem says why.
func unread(s updater.Status) bool {
	kinds := map[string]updater.Task{"certificate": updater.TaskPair, "revocation list": updater.TaskStores, "CA certificate": updater.TaskStores}
	kind, known := kinds[s.Limit]
	missing := s.Limit == "certificate" && s.Certificate == nil || s.Limit == "revocation list" && len(s.CRLs) == 0 || s.Limit == "CA certificate" && len(s.CAs) == 0
	return known && missing && s.State == updater.StateBlocked && slices.ContainsFunc(s.Problems, func(p updater.Problem) bool {
		return p.Task == kind && p.Class != "no key" && p.Class != "no certificate"
	})
}

func when(t, now time.Time) string {
	if t.IsZero() {
		return "now"
	}
	text := t.UTC().Format("2006-01-02 15:04:05 UTC")
	if t.Before(now) {
		return text + ", " + span(now.Sub(t)) + " ago"
	}
	return text + ", in " + span(t.Sub(now))
}

func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", int(d.Seconds()))
}
