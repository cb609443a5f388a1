package witness_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cauase/pkg/ledger/ledgertest"
	"cauase/pkg/witness"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// grown is a log with so many entries, of which each has a time of its own.
func grown(n int) *ledgertest.Log {
	l := ledgertest.New("key")
	grow(l, n)
	return l
}

func grow(l *ledgertest.Log, n int) {
	for range n {
		l.Append(start.Add(time.Duration(l.Size())*time.Minute), "cas", "crt.sign", nil)
	}
}

// ask asks a log as a host does that keeps s.
func ask(s *witness.State, l *ledgertest.Log, now time.Time) (witness.Verdict, error) {
	from := int64(0)
	if s != nil {
		from = s.Newest().Size
	}
	for {
		v, err := s.Judge(l.Head(from), now)
		var again *witness.AskAgain
		if !errors.As(err, &again) {
			return v, err
		}
		from = again.Base.Size
	}
}

func must(t *testing.T, s *witness.State, l *ledgertest.Log, now time.Time) *witness.State {
	t.Helper()
	v, err := ask(s, l, now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := v.Next.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := witness.ParseState(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !again.Same(v.Next) {
		t.Fatalf("read back as another:\n%s", text)
	}
	return again
}

func refused(t *testing.T, s *witness.State, l *ledgertest.Log, reason witness.Reason, says ...string) {
	t.Helper()
	_, err := ask(s, l, start)
	var r *witness.Refusal
	if !errors.As(err, &r) || !errors.Is(err, witness.ErrFork) || r.Reason != reason {
		t.Fatalf("not refused as %s: %v", reason, err)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
}

// A log that grows is followed, by one entry or by many.
func TestGrows(t *testing.T) {
	l := grown(1)
	var s *witness.State
	for i, n := range []int{0, 1, 2, 1, 250, 3, 600, 0, 1} {
		grow(l, n)
		s = must(t, s, l, start.Add(time.Duration(i)*time.Hour))
		if s.Newest().Size != l.Size() {
			t.Fatal(s.Newest().Size)
		}
	}
}

// Somebody edits one old row, and re-hashes everything: no host that has seen the log is deceived, however it goes on.
func TestRewritten(t *testing.T) {
	l := grown(40)
	s := must(t, nil, l, start)
	for _, more := range []int{0, 1, 30, 500} {
		for _, index := range []int64{0, 17, 39} {
			forged := l.Clone()
			forged.Rewrite(index, start)
			grow(forged, more)
			refused(t, s, forged, witness.Rewritten, "40 entries", s.Newest().Root.String(), forged.Head(0).Root.String())
			if more > 0 {
				refused(t, s, forged, witness.Rewritten, "40 entries", " entries and the root "+forged.Head(0).Root.String())
			}
		}
		grown := l.Clone()
		grow(grown, more)
		must(t, s, grown, start)
	}
	// What comes after what was seen can still be anything.
	grow(l, 3)
	l.Rewrite(41, start)
	must(t, s, l, start)
}

func TestShorter(t *testing.T) {
	l := grown(40)
	s := must(t, nil, l, start)
	old := l.Clone()
	old.Restore(30, time.Time{})
	refused(t, s, old, witness.Shorter, "40 entries", "30 entries")
}

func TestOtherLog(t *testing.T) {
	l := grown(40)
	s := must(t, nil, l, start)
	l.SetOrigin("cauase.log/fedcba9876543210")
	refused(t, s, l, witness.OtherLog, "cauase.log/0123456789abcdef", "cauase.log/fedcba9876543210")
}

// The CA vouches for another key: what was seen stays what it was.
func TestKeyChange(t *testing.T) {
	l := grown(10)
	s := must(t, nil, l, start)
	for i, name := range []string{"second", "third", "second"} {
		l.SetKey(name)
		v, err := ask(s, l, start)
		if err != nil || !v.NewKey {
			t.Fatal(v.NewKey, err)
		}
		s = must(t, s, l, start)
		if v, err := ask(s, l, start); err != nil || v.NewKey {
			t.Fatal(v.NewKey, err)
		}
		grow(l, i)
		s = must(t, s, l, start.Add(time.Hour))
	}
	forged := l.Clone()
	forged.Rewrite(3, start)
	refused(t, s, forged, witness.Rewritten)
}

// A restore that is declared hides what came after the backup, and nothing else.
func TestDeclaredRestore(t *testing.T) {
	l := grown(20)
	var s *witness.State
	for i := range 10 { // a host that looks once in an hour
		s = must(t, s, l, start.Add(time.Duration(i)*time.Hour))
		grow(l, 5)
	}
	if s.Newest().Size != 65 {
		t.Fatal(s.Newest().Size)
	}
	restored := l.Clone()
	restored.Restore(47, start.Add(20*time.Hour))
	grow(restored, 40)
	v, err := ask(s, restored, start.Add(21*time.Hour))
	if err != nil || v.Restored == nil || v.Restored.Lost != 65-47 || v.Restored.Epoch.Epoch != 2 {
		t.Fatalf("%+v, %v", v.Restored, err)
	}
	after := must(t, s, restored, start.Add(21*time.Hour))
	if v, err := ask(after, restored, start.Add(22*time.Hour)); err != nil || v.Restored != nil {
		t.Errorf("told again: %+v, %v", v.Restored, err)
	}

	forged := l.Clone()
	forged.Rewrite(3, start)
	forged.Restore(47, start.Add(20*time.Hour))
	grow(forged, 40)
	refused(t, s, forged, witness.Rewritten, "a restore was declared")

	// Back to the log of before: an epoch cannot go back.
	grow(l, 100)
	refused(t, after, l, witness.EpochBack, "epoch 2", "epoch 1")

	// And once more, from a backup of before the first restore.
	again := l.Clone()
	again.Restore(40, start.Add(30*time.Hour))
	grow(again, 1)
	v, err = ask(after, again, start.Add(31*time.Hour))
	if err != nil || v.Restored == nil || v.Restored.Epoch.Size != 40 {
		t.Fatalf("%+v, %v", v.Restored, err)
	}
	twice := must(t, after, again, start.Add(31*time.Hour))
	refused(t, twice, restored, witness.EpochBack) // the restore of before has come back

	// Several that this host has slept through.
	slept := l.Clone()
	for i := range 3 {
		slept.Restore(60-10*int64(i), start.Add(time.Duration(40+i)*time.Hour))
		grow(slept, 20)
	}
	if v, err := ask(s, slept, start.Add(50*time.Hour)); err != nil || v.Restored == nil {
		t.Fatalf("%+v, %v", v.Restored, err)
	}

	// A host that has met the log after the backup was taken knows nothing of what was restored.
	young := must(t, nil, l, start)
	early := l.Clone()
	early.Restore(5, start.Add(60*time.Hour))
	if v, err := ask(young, early, start.Add(61*time.Hour)); err != nil || v.Restored == nil {
		t.Fatalf("%+v, %v", v.Restored, err)
	}
	must(t, young, early, start.Add(61*time.Hour))
}

// A restore exactly at what was seen last, and nothing since.
func TestRestoreOfAll(t *testing.T) {
	l := grown(20)
	s := must(t, nil, l, start)
	l.Restore(20, start.Add(time.Hour))
	v, err := ask(s, l, start.Add(2*time.Hour))
	if err != nil || v.Restored == nil || v.Restored.Lost != 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	s = must(t, s, l, start.Add(2*time.Hour))
	grow(l, 3)
	must(t, s, l, start.Add(3*time.Hour))
}

// What is kept is bounded, and never far from what a backup of any age has.
func TestThinned(t *testing.T) {
	l := grown(1)
	var s *witness.State
	now := start
	for i := range 1000 {
		grow(l, 1)
		v, err := ask(s, l, now)
		if err != nil {
			t.Fatal(err)
		}
		s = v.Next
		now = now.Add(time.Duration(1+i%90) * time.Minute)
	}
	if n := len(s.Checkpoints); n < 8 || n > 40 {
		t.Fatal(n, "checkpoints")
	}
	must(t, s, l, now)
	for _, age := range []time.Duration{time.Hour, 5 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 20 * 24 * time.Hour} {
		for i := len(s.Checkpoints) - 1; ; i-- {
			if before := now.Sub(s.Checkpoints[i].Seen); before >= age {
				if before > 2*age+90*time.Minute {
					t.Errorf("for a backup %v old the newest checkpoint is %v old", age, before)
				}
				break
			}
		}
	}
	// A clock that jumps does no harm.
	for _, jump := range []time.Duration{-1000 * time.Hour, 100_000 * time.Hour, -100_000 * time.Hour} {
		grow(l, 1)
		s = must(t, s, l, now.Add(jump))
	}
}

// Whatever is changed in the state, it is not taken for one that was written so.
func TestDamaged(t *testing.T) {
	l := grown(10)
	s := must(t, nil, l, start)
	grow(l, 10)
	s = must(t, s, l, start.Add(time.Hour))
	good, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "{}", "null", "[]", string(good[:len(good)/2]), string(good) + "x", strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		strings.Replace(string(good), "\\n20\\n", "\\n21\\n", 1), strings.Replace(string(good), `"epoch": 1`, `"epoch": 2`, 1),
		strings.Replace(string(good), `"origin": "cauase.log/0`, `"origin": "cauase.log/1`, 1),
		strings.Replace(string(good), `"keys"`, `"Keys"`, 1),
	} {
		if bad == string(good) {
			t.Fatal("nothing was changed")
		}
		if _, err := witness.ParseState([]byte(bad)); !errors.Is(err, witness.ErrDamaged) {
			t.Errorf("%v:\n%.200s", err, bad)
		}
	}
}

// Of a fork there is evidence, once for each.
func TestEvidence(t *testing.T) {
	l := grown(10)
	s := must(t, nil, l, start)
	forged := l.Clone()
	forged.Rewrite(1, start)
	_, err := ask(s, forged, start)
	var r *witness.Refusal
	if !errors.As(err, &r) {
		t.Fatal(err)
	}
	noted := s.Remember(r, start).Remember(r, start.Add(time.Hour))
	if len(noted.Forks) != 1 || len(s.Forks) != 0 || noted.Forks[0].Shown != string(forged.Signed()) {
		t.Errorf("%+v", noted.Forks)
	}
	for range 30 {
		grow(forged, 1)
		_, err := ask(noted, forged, start)
		if !errors.As(err, &r) {
			t.Fatal(err)
		}
		noted = noted.Remember(r, start)
	}
	if len(noted.Forks) != 8 || noted.Forks[0].Shown != s.Remember(mustRefuse(t, s, l, 1), start).Forks[0].Shown {
		t.Errorf("%d kept", len(noted.Forks))
	}
	grow(l, 1)
	must(t, noted, l, start) // the daemon shows the log again that was seen here: that is the one
}

func mustRefuse(t *testing.T, s *witness.State, l *ledgertest.Log, index int64) (r *witness.Refusal) {
	t.Helper()
	forged := l.Clone()
	forged.Rewrite(index, start)
	if _, err := ask(s, forged, start); !errors.As(err, &r) {
		t.Fatal(err)
	}
	return r
}
