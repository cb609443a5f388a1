package updater

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pki"
)

// A retry is a task that has failed.
type retry struct {
	backoff *backoff.ExponentialBackOff
	next    time.Time
	class   string // of the last error
}

// retryOf returns when a task that has failed is tried again, for the first time at once.
func (w *worker) retryOf(task Task) *retry {
	r := w.retries[task]
	if r == nil {
		r = &retry{backoff: backoff.NewExponentialBackOff()}
		r.backoff.InitialInterval, r.backoff.MaxInterval, r.backoff.RandomizationFactor, r.backoff.Multiplier = time.Second, time.Hour, 0.3, 2
		r.backoff.Reset()
		w.retries[task] = r
	}
	return r
}

// retryAt puts a task off that has not failed itself, but waits for another.
func (w *worker) retryAt(task Task, next time.Time) { w.retryOf(task).next = next }

// explain says what an error is, for whoever reads the agent's log and status.
func (w *worker) explain(err error) (class, hint string) {
	class, hint = enroll.Explain(err, enroll.Reader{CAFile: w.job.CA, CatchUp: w.job.CatchUp, Links: linksOption})
	if class == enroll.ClassRejected {
		hint += "; another request is handed in when the file of the CSR changes"
	}
	return class, hint
}

// tried notes how a task went.
func (w *worker) tried(task Task, err error, slack time.Duration) {
	now := w.o.Clock.Now()
	if err == nil {
		delete(w.retries, task)
		w.resolved(task)
		if task == TaskFiles {
			return
		}
		// The daemon can be reached again: what failed because it could not need not wait.
		w.tryAgain(now)
		if url := w.service.URL(); w.o.onNet != nil && w.o.net.found(url) {
			w.o.onNet(url)
		}
		return
	}
	t := w.retryOf(task)
	longest := unhurried
	switch {
	case slack > 0:
		longest = clamp(slack/16, time.Second, time.Hour)
	case task == TaskEnrol:
		longest = time.Minute // somebody is waiting
	}
	pause := min(t.backoff.NextBackOff(), longest)
	if wanted := client.RetryAfter(err); wanted > 0 {
		pause = max(pause, jittered(min(wanted, longestWish)))
	}
	t.next = now.Add(pause)
	if errors.Is(err, client.ErrPending) {
		w.resolved(task)
		return
	}
	class, hint := w.explain(err)
	t.class = class
	if class == enroll.ClassNetwork && task != TaskFiles {
		w.cutOff.Store(true)
		w.o.net.lost(w.service.URL())
	}
	if task == TaskFiles {
		err = discreet(err)
	}
	// Errors that were joined come one a line.
	w.problem(task, class, pki.EscapeText(cli.Plain(strings.ReplaceAll(err.Error(), "\n", "; "))), hint, t.next)
}

// tryAgain has what failed because the daemon was not reached be tried now. If it fails for another reason then, that one has its
// short pauses still before it.
func (w *worker) tryAgain(now time.Time) {
	w.cutOff.Store(false)
	for _, t := range w.retries {
		if t.class == enroll.ClassNetwork {
			t.next = now
			t.backoff.Reset()
		}
	}
}

// longestWish is for how long a daemon that asks for time is left alone at most, before chance adds half of it: less than
// farthestTry.
const longestWish = time.Hour

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
		w.memory.Counts.failed(task)
	}
	if news {
		attrs := []any{"task", task, "error", message}
		if hint != "" {
			attrs = append(attrs, "hint", hint)
		}
		if !next.IsZero() {
			attrs = append(attrs, "next_try", stamp(next))
		}
		if !w.o.Reported {
			w.log.Error("cannot "+taskVerb(task), attrs...)
		}
		p.Since = w.o.Clock.Now()
	}
	p.Class, p.Message, p.Hint, p.Next = class, shown(message), shown(hint), next
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
