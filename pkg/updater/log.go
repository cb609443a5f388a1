package updater

import (
	"context"
	"errors"
	"time"

	"cauase/pkg/enroll"
	"cauase/pkg/pki"
	"cauase/pkg/witness"
)

// What hooks hear of the log of a CA, beside that there is something to hear.
const (
	logForked   = "forked"
	logRestored = "restored"
)

// A LogStatus is what a host has seen of the CA's log.
type LogStatus struct {
	File  string    `json:"file"`
	Size  int64     `json:"size"`
	Root  string    `json:"root"`
	Epoch int64     `json:"epoch"`
	Seen  time.Time `json:"seen"`
	Forks int       `json:"forks"` // of which there is evidence in the file
}

func (s *LogStatus) plausible() bool {
	return s.Size >= 0 && s.Epoch >= 0 && s.Forks >= 0 && s.Forks <= maxList
}

// witness keeps checkpoints of the log of the job's authority. What is public needs no other mode than CA certificates have.
func (j *Job) witness(step func(string), o Options) enroll.Witness {
	return enroll.WitnessBeside(j.CA, j.attributes(step), o.Clock)
}

// testify makes sure that the daemon's log continues what this host has seen of it: once in an exchange, before anything of what the
// daemon says is taken.
func (x *exchange) testify(ctx context.Context) error {
	trusted := x.trusted()
	if x.logTried && (x.logErr == nil || errors.Is(x.logErr, witness.ErrFork)) || len(trusted) == 0 {
		return x.logErr
	}
	x.logTried = true
	x.testimony, x.logErr = x.witness.Ask(ctx, x.service, trusted)
	if errors.Is(x.logErr, witness.ErrAnswer) && !x.refreshTried {
		x.strange = true // it may be a CA that vouches for it that is not known here
	}
	return x.logErr
}

// finishLog keeps what came of asking about the log, before anything else of the exchange is stored, and tells of what is news.
func (w *worker) finishLog(x *exchange) {
	if !x.logTried {
		return
	}
	err := x.logErr
	if err == nil {
		err = w.keepTestimony(x.testimony)
	}
	witnessed := w.job.witness(nil, w.o)
	switch {
	case errors.Is(err, witness.ErrFork):
		w.tellFork(err)
		if err := witnessed.SaveRefusal(err); err != nil {
			w.log.Warn("the evidence cannot be kept", "file", witnessed.Path, "error", discreet(err).Error())
		}
	case errors.Is(err, witness.ErrDamaged), errors.Is(err, witness.ErrAnswer):
		class, hint := w.explain(err)
		w.condition(TaskLog, class, err.Error(), hint)
	case unreachable(err) || err != nil && x.logErr == nil:
		// What fails because of it says so, and if it is the network or the disk alone, the log is not to blame.
		if x.logErr == nil {
			w.log.Error("cannot keep the checkpoint of the CA's log", "file", witnessed.Path, "error", discreet(err).Error())
		}
	default:
		w.condition(TaskLog, "", "", "")
	}
	w.logSeen = w.lookAtLog()
}

// tellFork has everybody know that the daemon's log is not what it was. While that goes on it is told once.
func (w *worker) tellFork(err error) {
	class, hint := w.explain(err)
	old := w.memory.problem(TaskLog)
	if old == nil || old.Class != class {
		w.memory.Counts.LogForks++
		w.memory.LogEvent = logForked
		w.changed("log")
	}
	w.condition(TaskLog, class, err.Error(), hint)
}

func (w *worker) keepTestimony(t enroll.Testimony) error {
	witnessed := w.job.witness(w.o.Step, w.o)
	if _, err := witnessed.Save(t); err != nil {
		return err
	}
	switch {
	case t.First:
		w.log.Info("first contact with the CA's log: from now on it can only grow", "log", t.Next.Origin, "size", t.Head.Size, "file", witnessed.Path)
	case t.NewKey:
		w.log.Warn("the CA vouches for another key of its log", "log", t.Next.Origin, "key", t.Head.Key.String())
	}
	if r := t.Restored; r != nil {
		w.log.Warn("the CA was restored from a backup, as it says: what came after that is not in its log any more",
			"epoch", r.Epoch.Epoch, "restored", stamp(r.Epoch.Began()), "size", r.Epoch.Size, "lost", r.Lost)
		w.memory.Counts.LogRestores++
		w.memory.LogEvent = logRestored
		w.changed("log")
		w.save()
	}
	return nil
}

// lookAtLog is what is kept of the log, nil for nothing.
func (w *worker) lookAtLog() *LogStatus {
	witnessed := w.job.witness(nil, w.o)
	s, err := witnessed.Load()
	if s == nil || err != nil {
		return nil
	}
	newest := s.Newest()
	return &LogStatus{
		File: witnessed.Path, Size: newest.Size, Root: newest.Root.String(), Epoch: newest.Epoch, Seen: newest.Seen.UTC(), Forks: len(s.Forks),
	}
}

// logDamaged is why what is kept of the log cannot be used, for those who only look.
func (w *worker) logDamaged() (class, message, hint string) {
	if _, err := w.job.witness(nil, w.o).Load(); errors.Is(err, witness.ErrDamaged) {
		class, hint = w.explain(err)
		return class, pki.EscapeText(err.Error()), hint
	}
	return "", "", ""
}
