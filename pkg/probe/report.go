// Package probe checks a daemon from outside, as hosts meet it, and reports on its health.
package probe

import (
	"fmt"
	"strings"
	"time"

	"cauase/pkg/cli"
	"cauase/pkg/pki"
)

// A Status is a degree of health. The numbers are what monitoring systems expect a check
// to exit with.
type Status int

// The statuses.
const (
	OK Status = iota
	Warning
	Critical
	Unknown // nothing was looked at
)

func (s Status) String() string { return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[s] }

// MarshalText writes a status as it is shown.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Finding is the result of one check.
type Finding struct {
	Check  string `json:"check"` // what was looked at, as "service CA"
	Status Status `json:"status"`
	Text   string `json:"text"` // printable

	// Label and Value are a measure for graphs, in days or seconds, if Label is not "".
	Label string  `json:"label,omitzero"`
	Value float64 `json:"value,omitzero"`
}

// A Report is what a probe found.
type Report struct {
	URL      string    `json:"url"`
	Time     time.Time `json:"time"`
	Status   Status    `json:"status"`
	Summary  string    `json:"summary"`
	Findings []Finding `json:"findings"`
}

func (r *Report) add(check string, status Status, format string, args ...any) *Finding {
	r.Findings = append(r.Findings, Finding{Check: check, Status: status, Text: pki.EscapeText(cli.Plain(fmt.Sprintf(format, args...)))})
	return &r.Findings[len(r.Findings)-1]
}

func (f *Finding) measure(label string, value float64) {
	f.Label, f.Value = label, value
}

// finish sums up: what is worst first, and if nothing is wrong, what there is.
func (r *Report) finish() {
	for _, f := range r.Findings {
		r.Status = max(r.Status, f.Status)
	}
	var parts []string
	for status := Critical; status >= OK; status-- {
		for _, f := range r.Findings {
			if f.Status == status && (status != OK || r.Status == OK) {
				parts = append(parts, f.Check+": "+f.Text)
			}
		}
	}
	r.Summary = strings.Join(parts, "; ")
}

// Line is the report in one line, with measures after a bar, as monitoring plugins print it.
func (r *Report) Line() string {
	var measures strings.Builder
	for _, f := range r.Findings {
		if f.Label != "" {
			fmt.Fprintf(&measures, " %s=%.4g", f.Label, f.Value)
		}
	}
	// The bar ends the text.
	line := fmt.Sprintf("%s: %s: %s", r.Status, r.URL, strings.ReplaceAll(r.Summary, "|", "/"))
	if measures.Len() > 0 {
		line += " |" + measures.String()
	}
	return line
}

const day = 24 * time.Hour

func days(d time.Duration) float64 { return d.Hours() / 24 }

// span shows a duration to a person, roughly.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%.1f seconds", d.Seconds())
}
