package updater

import (
	"slices"
	"testing"
	"time"
)

// TestDecide goes through everything that can be the case, one thing at a time: a host that
// has all it needs, but for what a case changes.
func TestDecide(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	timing := Timing{Threshold: 31 * day, CRLThreshold: 7 * day, CRLRefresh: 31 * day, MaxSleep: 31 * day}
	good := func() State {
		return State{
			Pair: PairGood, Since: now.Add(-day), Recovered: true,
			Certificate: Life{now.Add(-10 * day), now.Add(83 * day)},
			CRLs:        Life{now.Add(-day), now.Add(30 * day)},
			Refreshed:   now.Add(-time.Hour),
			Retry:       map[Task]time.Time{},
		}
	}
	in := func(d time.Duration) time.Time { return now.Add(d) }
	for name, c := range map[string]struct {
		change func(*State)
		do     []Action
		wake   time.Duration // 0: not looked at
	}{
		"all is well":                  {func(s *State) {}, nil, 23 * day},
		"never fetched since start":    {func(s *State) { s.Refreshed = time.Time{} }, []Action{ActRefresh}, 0},
		"not fetched for long":         {func(s *State) { s.Refreshed = in(-31 * day) }, []Action{ActRefresh}, 0},
		"fetched in the future":        {func(s *State) { s.Refreshed = in(day) }, []Action{ActRefresh}, 0},
		"list ends soon":               {func(s *State) { s.CRLs = Life{in(-25 * day), in(6 * day)} }, []Action{ActRefresh}, 0},
		"list ends soon, asked before": {func(s *State) { s.CRLs, s.Refreshed = Life{in(-25 * day), in(6 * day)}, in(-time.Minute) }, nil, 59 * time.Minute},
		"list is over": {func(s *State) { s.CRLs.To, s.Refreshed = in(-time.Hour), in(-2*time.Second) },
			[]Action{ActRefresh}, 0},
		"list is missing, unknown":      {func(s *State) { s.CRL = StoreMissing }, []Action{ActRefresh}, 0},
		"list is missing, known":        {func(s *State) { s.CRL, s.CRLMendable, s.Refreshed = StoreMissing, true, now }, []Action{ActMendCRL}, time.Second},
		"CA is missing, known":          {func(s *State) { s.CA, s.CAMendable, s.Refreshed = StoreMissing, true, now }, []Action{ActMendCA}, time.Second},
		"CA is missing, unknown":        {func(s *State) { s.CA = StoreMissing }, []Action{ActRefresh}, 0},
		"CA is broken, unknown":         {func(s *State) { s.CA = StoreBroken; s.Certificate.To = in(day) }, nil, 31 * day},
		"CA is broken, known":           {func(s *State) { s.CA, s.CAMendable = StoreBroken, true }, []Action{ActMendCA}, 0},
		"files touched":                 {func(s *State) { s.Touched = true }, []Action{ActRefresh}, 0},
		"files touched all the time":    {func(s *State) { s.Touched = true; s.Refreshed = in(-time.Millisecond) }, nil, 999 * time.Millisecond},
		"fetching failed":               {func(s *State) { s.Refreshed = time.Time{}; s.Retry[TaskRefresh] = in(time.Minute) }, nil, time.Minute},
		"renewal due":                   {func(s *State) { s.Certificate = Life{in(-62 * day), in(31 * day)} }, []Action{ActRefresh, ActRenew}, 0},
		"renewal due tomorrow":          {func(s *State) { s.Certificate = Life{in(-61 * day), in(32 * day)} }, nil, day},
		"renewal due, later for some":   {func(s *State) { s.Certificate = Life{in(-62 * day), in(31 * day)}; s.Jitter = .5 }, nil, 37*time.Hour + 12*time.Minute},
		"its CA was withdrawn":          {func(s *State) { s.Orphaned = true }, []Action{ActRefresh, ActReplace}, 0},
		"its CA was withdrawn, failed":  {func(s *State) { s.Orphaned = true; s.Retry[TaskRenew] = in(time.Minute) }, nil, time.Minute},
		"a new CA is on disk":           {func(s *State) { s.Unconfirmed = true }, []Action{ActConfirm}, 0},
		"not before others are fetched": {func(s *State) { s.Unconfirmed, s.Touched = true, true }, []Action{ActRefresh}, 0},
		"nor without a certificate":     {func(s *State) { s.Unconfirmed, s.Pair = true, PairNoCertificate }, nil, 23 * day},
		"nor with an expired one":       {func(s *State) { s.Unconfirmed = true; s.Certificate.To = in(-time.Hour) }, nil, 23 * day},
		"nor with a revoked one":        {func(s *State) { s.Unconfirmed, s.Revoked = true, true }, nil, 23 * day},
		"confirming failed":             {func(s *State) { s.Unconfirmed = true; s.Retry[taskConfirm] = in(time.Minute) }, nil, time.Minute},
		"renewal failed":                {func(s *State) { s.Certificate = Life{in(-90 * day), in(3 * day)}; s.Retry[TaskRenew] = in(time.Minute) }, nil, time.Minute},
		"renewal under way":             {func(s *State) { s.Certificate = Life{in(-90 * day), in(3 * day)}; s.NetworkBusy = true }, nil, 31 * day},
		"revoked":                       {func(s *State) { s.Certificate = Life{in(-90 * day), in(3 * day)}; s.Revoked = true }, nil, 23 * day},
		"short life, young":             {func(s *State) { s.Certificate = Life{in(-10 * time.Second), in(50 * time.Second)} }, nil, 20 * time.Second},
		"short life, half over":         {func(s *State) { s.Certificate = Life{in(-30 * time.Second), in(30 * time.Second)} }, []Action{ActRefresh, ActRenew}, 30*time.Second + time.Second},
		"expired, no request":           {func(s *State) { s.Certificate.To = in(-time.Hour) }, nil, 23 * day},
		"expired, request":              {func(s *State) { s.Certificate.To, s.Request = in(-time.Hour), RequestReady }, []Action{ActEnrol}, 0},
		"expired, rejected":             {func(s *State) { s.Certificate.To, s.Request = in(-time.Hour), RequestRejected }, nil, 23 * day},
		"the last second":               {func(s *State) { s.Certificate.To = now; s.Retry[TaskRenew] = in(day) }, nil, time.Second},
		"no certificate, request":       {func(s *State) { s.Pair, s.Request = PairNoCertificate, RequestReady }, []Action{ActEnrol}, 0},
		"no certificate, no request":    {func(s *State) { s.Pair = PairNoCertificate }, nil, 23 * day},
		"no certificate, rejected":      {func(s *State) { s.Pair, s.Request = PairNoCertificate, RequestRejected }, nil, 23 * day},
		"no certificate, bad request":   {func(s *State) { s.Pair, s.Request = PairNoCertificate, RequestBroken }, nil, 23 * day},
		"no certificate, asked before": {func(s *State) {
			s.Pair, s.Request, s.Retry[TaskEnrol] = PairNoCertificate, RequestReady, in(time.Second)
		}, nil, time.Second},
		"certificate deleted":        {func(s *State) { s.Pair, s.Mendable, s.Request = PairNoCertificate, true, RequestReady }, []Action{ActMend}, 0},
		"key deleted":                {func(s *State) { s.Pair, s.Mendable = PairNoKey, true }, []Action{ActMend}, 0},
		"key gone, request":          {func(s *State) { s.Pair, s.Request = PairNoKey, RequestReady }, []Action{ActEnrol}, 0},
		"key gone just now, request": {func(s *State) { s.Pair, s.Request, s.Since = PairNoKey, RequestReady, now }, nil, settle},
		"mismatch, first seen":       {func(s *State) { s.Pair, s.Recovered, s.Since = PairMismatch, false, now }, []Action{ActRecover}, 0},
		"mismatch, being replaced":   {func(s *State) { s.Pair, s.Mendable, s.Since = PairMismatch, true, now }, nil, settle},
		"mismatch, stays":            {func(s *State) { s.Pair, s.Mendable = PairMismatch, true }, []Action{ActMend}, 0},
		"mismatch, unknown":          {func(s *State) { s.Pair = PairMismatch }, nil, 23 * day},
		"damaged":                    {func(s *State) { s.Pair, s.Mendable = PairBroken, true }, []Action{ActMend}, 0},
		"damaged, disk full":         {func(s *State) { s.Pair, s.Mendable, s.Retry[TaskFiles] = PairBroken, true, in(time.Minute) }, nil, time.Minute},
		"hook due":                   {func(s *State) { s.HookDue = in(-time.Second) }, []Action{ActHook}, 0},
		"hook later":                 {func(s *State) { s.HookDue = in(time.Minute) }, nil, time.Minute},
		"hook runs":                  {func(s *State) { s.HookDue, s.HookBusy = in(-time.Second), true }, nil, 23 * day},
		"no certificate wanted":      {func(s *State) { s.Pair = PairUnmanaged }, nil, 23 * day},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			c.change(&s)
			plan := Decide(timing, s, now)
			if !slices.Equal(plan.Actions, c.do) {
				t.Errorf("does %v, want %v", plan.Actions, c.do)
			}
			if !plan.Wake.After(now) {
				t.Errorf("wakes %s ago", now.Sub(plan.Wake))
			}
			if got := plan.Wake.Sub(now); c.wake != 0 && got != c.wake {
				t.Errorf("wakes in %s, want %s", got, c.wake)
			}
		})
	}
}

// TestDecideLists: newer revocation lists are looked for far more often than everything else, whenever the daemon has sent
// some, and never later than everything.
func TestDecideLists(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	for name, c := range map[string]struct {
		change func(*State, *Timing)
		do     []Action
		wake   time.Duration // 0: not looked at
	}{
		"looked just now":       {func(*State, *Timing) {}, nil, time.Hour},
		"an hour later":         {func(s *State, _ *Timing) { s.Checked = in(-time.Hour) }, []Action{ActLists}, 0},
		"spread":                {func(s *State, _ *Timing) { s.CRLJitter = .5 }, nil, 54 * time.Minute},
		"short life":            {func(s *State, _ *Timing) { s.CRLs = Life{in(-time.Hour), in(9 * time.Hour)} }, nil, 3 * time.Minute},
		"shortest life":         {func(s *State, _ *Timing) { s.CRLs = Life{in(-time.Second), in(9 * time.Second)} }, nil, time.Second},
		"every minute":          {func(_ *State, t *Timing) { t.CRLRefresh = time.Minute }, nil, time.Minute},
		"every year":            {func(_ *State, t *Timing) { t.CRLRefresh, t.MaxSleep = 365*day, 2*day }, nil, 46 * time.Hour},
		"everything looked at":  {func(s *State, _ *Timing) { s.Checked, s.Refreshed = in(-2*time.Hour), now }, nil, time.Hour},
		"in the future":         {func(s *State, _ *Timing) { s.Checked = in(time.Minute) }, []Action{ActLists}, 0},
		"failed":                {func(s *State, _ *Timing) { s.Checked, s.Retry[taskCRL] = in(-time.Hour), in(time.Minute) }, nil, time.Minute},
		"sent":                  {func(s *State, _ *Timing) { s.Pushed = true }, []Action{ActLists}, 0},
		"sent, busy":            {func(s *State, _ *Timing) { s.Pushed, s.NetworkBusy = true, true }, nil, 31 * day},
		"sent, failed before":   {func(s *State, _ *Timing) { s.Pushed, s.Retry[taskCRL] = true, in(time.Minute) }, []Action{ActLists}, 0},
		"asked":                 {func(s *State, _ *Timing) { s.Asked = true }, []Action{ActRefresh}, 0},
		"asked, failed before":  {func(s *State, _ *Timing) { s.Asked, s.Retry[TaskRefresh] = true, in(time.Minute) }, []Action{ActRefresh}, 0},
		"asked, busy":           {func(s *State, _ *Timing) { s.Asked, s.NetworkBusy = true, true }, nil, 31 * day},
		"asked, nothing usable": {func(s *State, _ *Timing) { s.Asked, s.CA = true, StoreBroken }, nil, 0},
		"sent, no lists":        {func(s *State, _ *Timing) { s.Pushed, s.CRL = true, StoreMissing }, []Action{ActRefresh}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := State{Pair: PairUnmanaged, CRLs: Life{in(-day), in(30 * day)}, Refreshed: in(-2 * time.Hour), Checked: now, Retry: map[Task]time.Time{}}
			timing := Timing{CRLThreshold: 7 * day, MaxSleep: 31 * day}
			c.change(&s, &timing)
			plan := Decide(timing, s, now)
			if !slices.Equal(plan.Actions, c.do) {
				t.Errorf("does %v, want %v", plan.Actions, c.do)
			}
			if got := plan.Wake.Sub(now); c.wake != 0 && got.Round(time.Second) != c.wake {
				t.Errorf("wakes in %s, want %s", got, c.wake)
			}
		})
	}
}

// TestJitter: a fleet is spread over a tenth of the threshold, never before it, and the same
// certificate always has the same time.
func TestJitter(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	timing := Timing{Threshold: 31 * day}
	life := Life{now, now.Add(93 * day)}
	low, high := 1.0, 0.0
	for i := range 1000 {
		f := fraction([]byte{byte(i), byte(i >> 8)})
		low, high = min(low, f), max(high, f)
		if f != fraction([]byte{byte(i), byte(i >> 8)}) {
			t.Fatal("not the same again")
		}
		at := timing.RenewAt(life, f).Sub(now)
		if at < 62*day || at > 62*day+31*day/10 {
			t.Fatalf("renewed after %s", at)
		}
	}
	if low > .01 || high < .99 {
		t.Errorf("a fleet is spread from %v to %v", low, high)
	}
	timing.Eager = true
	if at := timing.RenewAt(life, high); !at.Equal(now.Add(62 * day)) {
		t.Errorf("eager: %s", at)
	}
}
