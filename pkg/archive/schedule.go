package archive

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// A Schedule tells when the next backup is due, given the last one. The zero Schedule is none.
type Schedule struct {
	period time.Duration
	cron   cron.Schedule
	spec   string
}

// Every is the schedule by which a backup is due when the last one is so old, as with the
// reference.
func Every(period time.Duration) (Schedule, error) {
	// Names of backups count seconds.
	if period < time.Second {
		return Schedule{}, fmt.Errorf("%v is less than a second", period)
	}
	return Schedule{period: period, spec: "every " + period.String()}, nil
}

// maxSpec bounds a cron specification, in bytes.
const maxSpec = 1000

// ParseSchedule reads a cron specification: minute, hour, day of month, month and day of week,
// or a descriptor such as @daily or @every 6h. It is read in UTC, so that all daemons of a database mean
// the same and no hour is skipped or comes twice; CRON_TZ=Europe/Paris in front of it chooses
// another zone.
func ParseSchedule(spec string) (Schedule, error) {
	if len(spec) > maxSpec {
		return Schedule{}, fmt.Errorf("longer than %d bytes", maxSpec)
	}
	spec = strings.TrimSpace(spec)
	// The parser cuts the zone off at the first space, and counts on there being one.
	if zone, _, found := strings.Cut(spec, "="); found && (zone == "TZ" || zone == "CRON_TZ") && !strings.Contains(spec, " ") {
		return Schedule{}, errors.New("a time zone, and no schedule")
	}
	c, err := cron.ParseStandard(spec)
	if err != nil {
		return Schedule{}, err
	}
	// The parser makes a second of less, and of what is negative.
	if _, text, found := strings.Cut(spec, "@every "); found {
		if period, err := time.ParseDuration(text); err == nil && period < time.Second {
			return Schedule{}, fmt.Errorf("%v is less than a second", period)
		}
	}
	s := Schedule{cron: c, spec: spec}
	// Any time will do: what does not come within the five years that are looked through is
	// a date that does not exist.
	if s.Next(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, fmt.Errorf("%q never comes", spec)
	}
	return s, nil
}

// Next returns when the backup after one taken at last is due, zero for never.
func (s Schedule) Next(last time.Time) time.Time {
	if s.cron == nil {
		return last.Add(s.period)
	}
	return s.cron.Next(last.UTC())
}

func (s Schedule) String() string { return s.spec }
