package archive

import (
	"strings"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	at := func(text string) time.Time {
		t.Helper()
		v, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for spec, want := range map[string]string{
		"0 3 * * *":                       "2026-05-02T03:00:00Z",
		"30 10 * * 1-5":                   "2026-05-01T10:30:00Z",
		"@daily":                          "2026-05-02T00:00:00Z",
		"@every 6h":                       "2026-05-01T16:00:00Z",
		" @hourly ":                       "2026-05-01T11:00:00Z",
		"CRON_TZ=Europe/Paris 0 12 * * *": "2026-05-02T10:00:00Z",
		"TZ=UTC 0 3 * * *":                "2026-05-02T03:00:00Z",
		"0 0 29 2 *":                      "2028-02-29T00:00:00Z",
	} {
		s, err := ParseSchedule(spec)
		if err != nil {
			t.Errorf("%q: %v", spec, err)
			continue
		}
		// Given in whatever zone, it is read in UTC.
		from := at("2026-05-01T12:00:00+02:00")
		if got := s.Next(from); !got.Equal(at(want)) {
			t.Errorf("%q: next is %v, want %s", spec, got, want)
		}
	}
	period, err := Every(36 * time.Hour)
	if got := period.Next(epoch); err != nil || !got.Equal(epoch.Add(36*time.Hour)) {
		t.Errorf("every 36h: %v %v", got, err)
	}
}

func TestScheduleRefuses(t *testing.T) {
	for _, spec := range []string{
		"", " ", "x", "* * * *", "* * * * * *", "60 * * * *", "0 3 31 2 *", "@never", "@reboot", "@every", "@every x",
		"@every 0s", "@every -1h", "@every 999ms", "TZ=UTC @every 0s",
		"TZ=Europe/Paris", "CRON_TZ=", "CRON_TZ=Nowhere/Land 0 3 * * *", "TZ=../../etc/passwd 0 3 * * *", "*/0 * * * *",
		strings.Repeat("0,", 1000) + "0 * * * *",
	} {
		if s, err := ParseSchedule(spec); err == nil {
			t.Errorf("%q is accepted: %v", spec, s)
		}
	}
	for _, period := range []time.Duration{0, -time.Hour, time.Millisecond} {
		if _, err := Every(period); err == nil {
			t.Errorf("every %v is accepted", period)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, spec := range []string{"0 3 * * *", "@daily", "@every 1h30m", "TZ=UTC 1-5/2,7 * * jan sun", "TZ=", "0 0 31 2 *"} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := ParseSchedule(spec)
		if err != nil {
			return
		}
		if next := s.Next(epoch); !next.IsZero() && !next.After(epoch) {
			t.Errorf("%q: after %v comes %v", spec, epoch, next)
		}
	})
}

func TestNames(t *testing.T) {
	if got := FileName(time.Date(2026, 5, 1, 12, 3, 4, 999, time.FixedZone("", 7200))); got != "20260501100304.rows.caucased" {
		t.Error(got)
	}
	for name, want := range map[string]struct{ ours, ok bool }{
		"20260501100304.rows.caucased":    {true, true},
		"20260501100304.sql.caucased":     {false, true},
		"20260501100304.caucased":         {},
		"20260501100304.rows.caucased.gz": {},
		"20261301100304.rows.caucased":    {},
		"2026050110030.rows.caucased":     {},
		"20260501100304.5.rows.caucased":  {},
		"+2026050110030.rows.caucased":    {},
		".rows.caucased":                  {},
		"":                                {},
	} {
		at, ours, ok := parseName(name)
		if ok != want.ok || ok && ours != want.ours || ok && !at.Equal(time.Date(2026, 5, 1, 10, 3, 4, 0, time.UTC)) {
			t.Errorf("%q: %v %v %v", name, at, ours, ok)
		}
	}
	one, other := tempName(), tempName()
	if !isTemp(one) || isTemp(tempPrefix) || isTemp("x"+one) || isTemp(one+"x") || one == other {
		t.Error("temporary names are not recognised")
	}
}
