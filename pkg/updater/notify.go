package updater

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

func (w *worker) startHook(ctx context.Context) {
	if w.hookBusy || ctx.Err() != nil {
		return
	}
	// Counted before it runs: one that ends us, too, must not do so again and again.
	m := &w.memory
	m.HookFailures++
	m.HookNext = w.o.Clock.Now().Add(hookDelay(m.HookFailures))
	w.save()
	run := HookRun{Path: w.job.OnRenew, Env: w.job.hookEnv(m.Changed, m.LogEvent), Timeout: w.job.HookTimeout, Log: w.log}
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
		w.memory.Counts.Hooks++
		w.log.Info("hook has run", "hook", w.job.OnRenew, "changed", m.Changed, "after_failures", m.HookFailures-1)
		m.Changed, m.HookFailures, m.HookError, m.HookNext = nil, 0, "", time.Time{}
		m.changed(w.during...)
	case ctx.Err() != nil:
		// Not at once: the hook may be what has ended us.
		m.HookNext = w.o.Clock.Now().Add(hookDelay(m.HookFailures))
		w.log.Warn("the hook was ended with the agent, and will be run again", "hook", w.job.OnRenew)
	default:
		w.memory.Counts.HookFailures++
		m.HookNext = w.o.Clock.Now().Add(hookDelay(m.HookFailures))
		if text := shown(err.Error()); m.HookError != text {
			m.HookError = text
			if w.o.Reported {
				break
			}
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
