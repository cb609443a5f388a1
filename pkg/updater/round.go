package updater

import (
	"context"
	"slices"
	"time"
)

// maxMends bounds what is mended in one go: somebody may be undoing it.
const maxMends = 3

// round looks, decides and acts, and returns when to do so again.
func (w *worker) round(ctx context.Context) time.Time {
	for i := 1; ; i++ {
		w.rounds.Add(1)
		now := w.o.Clock.Now()
		w.looked = now
		w.beat.Store(now.Unix())
		w.fingerprint = fingerprint(w.job.looked())
		s := look(w.job, now)
		w.notice(s, now)
		if w.healed.Swap(false) {
			w.tryAgain(now)
		}
		state := w.state(s, now)
		plan := Decide(w.timing(), state, now)
		mended := w.act(ctx, s, plan)
		w.publish(s, state, plan, now)
		if !mended || i == maxMends {
			w.unask(state)
			return plan.Wake
		}
	}
}

// unask forgets what was asked for and cannot be done now, and answers those whose wish was fulfilled.
func (w *worker) unask(state State) {
	if !w.netBusy && state.Asked {
		w.asked.Store(false)
	}
	if !w.netBusy && state.Pushed {
		w.pushed.Store(nil)
	}
	w.answerAskers()
}

func (w *worker) timing() Timing {
	return Timing{Threshold: w.job.Threshold, CRLThreshold: w.job.CRLThreshold, CRLRefresh: w.job.CRLRefresh, MaxSleep: w.job.MaxSleep, Eager: w.eager}
}

// mends reports whether an action replaces files that were found damaged.
func mends(a Action) bool { return a == ActMend || a == ActMendCA || a == ActMendCRL }

// untouched waits a moment, and reports whether the files are still as they were looked at. What
// looks damaged may be half of what somebody is writing just now, and mending it would have
// him write into a file that is gone.
func (w *worker) untouched(ctx context.Context) bool {
	return sleep(ctx, debounce) && fingerprint(w.job.looked()) == w.fingerprint
}

// act does what is planned. It reports whether files were mended, after which it is time to
// look again.
func (w *worker) act(ctx context.Context, s *snapshot, plan Plan) (mended bool) {
	damaged := slices.ContainsFunc(plan.Actions, mends) || s.pairState == PairNoKey && slices.Contains(plan.Actions, ActEnrol)
	if damaged && !w.untouched(ctx) {
		return true
	}
	var network []Action
	for _, action := range plan.Actions {
		switch action {
		case ActRecover:
			w.recover(nil)
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
		w.startExchange(ctx, s, network)
	}
	return mended
}

func (w *worker) startExchange(ctx context.Context, s *snapshot, actions []Action) {
	if w.netBusy || ctx.Err() != nil {
		return
	}
	x := &exchange{
		job: w.job, engine: w.engine, service: w.service, cas: w.cas, snapshot: s, known: w.known, keep: w.keep, afresh: w.o.net.afresh,
		reminded: w.memory.Reminded,
		witness:  w.job.witness(nil, w.o),
	}
	if h := w.memory.Request; h != nil {
		copied := *h
		x.submission = &copied
	}
	if slices.Contains(actions, ActRefresh) {
		w.asked.Store(false)
	}
	if slices.Contains(actions, ActRefresh) || slices.Contains(actions, ActLists) {
		x.pushed = w.pushed.Swap(nil)
	}
	w.netBusy = true
	go func() {
		ctx, leave := w.o.net.talk(ctx, w.service.URL())
		x.run(ctx, actions)
		leave()
		w.results <- func() {
			w.netBusy = false
			w.finish(ctx, x)
		}
	}()
}

// keep makes a submission durable, for an exchange that is about to tell the daemon of it.
func (w *worker) keep(s submission) error {
	kept := make(chan error, 1)
	w.results <- func() {
		w.memory.Request = &s
		kept <- w.persist()
	}
	return <-kept
}
