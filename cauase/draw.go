package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/rollover"
)

// Widths of what is drawn, in columns.
const (
	defaultWidth = 80
	minWidth     = 60
	maxWidth     = 160
	labelWidth   = 4
)

// overview prints the timeline as a drawing, followed by details of each generation.
func (p *printer) overview(o *overview, width int, verbose bool) {
	p.field("authority", o.Authority+", "+ellipsis(pki.SubjectString(pki.TrimGeneration(o.Generations[len(o.Generations)-1].crt.RawSubject)), width-20-len(o.Authority)))
	p.field("now", timeText(o.Now))
	p.field("span", o.spanText())
	if o.Daemon != "" {
		p.field("daemon", o.Daemon)
	} else {
		p.field("daemon", o.problemText)
	}
	p.line("")
	for _, line := range o.draw(min(max(width, minWidth), maxWidth)) {
		p.line("%s", line)
	}
	p.line("")
	for i, g := range o.Generations {
		p.line("%2d  %s", i+1, g.phaseText(o.Now))
		p.line("    valid from %s", timeText(g.NotBefore))
		p.line("    until      %s, %s", timeText(g.NotAfter), g.Validity)
		p.line("    %s", g.Fingerprint)
		p.line("    %s", g.Key)
		p.line("    %s", o.where(g))
	}
	p.line("%-4s%s", o.nextLabel(), o.Next.phaseText(o.Now))
	if a := o.Adoption; a != nil {
		p.line("")
		p.line("The newest is on %d of %d hosts that have confirmed it, and on %d more that were renewed since; %d have an earlier one, %d cannot tell.",
			a.Confirmed, a.Hosts, a.Renewed, a.Behind, a.Silent)
	}
	p.line("")
	p.crlGenerations(o)
	if verbose {
		for i, g := range o.Generations {
			p.line("")
			p.field("CA certificate", fmt.Sprint(i+1))
			p.certificate(g.certificateView)
		}
	}
}

func (o *overview) spanText() string {
	if o.SpanEstimated {
		return "about " + duration(o.span.Round(time.Second)) + ", estimated from the CA certificates"
	}
	return duration(o.span.Round(time.Second))
}

// phaseText says in which phase a generation is and which comes next.
func (g generation) phaseText(now time.Time) string {
	switch g.Phase {
	case rollover.Passive:
		if g.waiting {
			return "passive; active when all hosts have it, at the latest on " + dateText(g.ActiveFrom, now)
		}
		return "passive; active on " + dateText(g.ActiveFrom, now)
	case rollover.Active:
		return "active; retired on " + dateText(g.RetiredFrom, now)
	case rollover.Retired:
		return "retired; expires on " + dateText(g.NotAfter, now)
	case rollover.Future:
		return "not yet valid"
	}
	return string(g.Phase)
}

func (n nextGeneration) phaseText(now time.Time) string {
	if n.Overdue {
		return "to be made since " + timeText(n.PassiveFrom) + ", passive first"
	}
	return "to be made on " + dateText(n.PassiveFrom, now) + ", passive first"
}

func dateText(t, now time.Time) string {
	if t.Before(now) {
		return timeText(t)
	}
	return timeText(t) + ", in " + duration(t.Sub(now))
}

func (o *overview) nextLabel() string { return fmt.Sprintf("(%d)", len(o.Generations)+1) }

// A bar is one row of the picture.
type bar struct {
	label                          string
	passive, active, retired, over time.Time // beginning of each phase
}

// draw shows generations over time, width columns wide.
func (o *overview) draw(width int) []string {
	var bars []bar
	for i, g := range o.Generations {
		bars = append(bars, bar{fmt.Sprintf("%2d", i+1), g.created, g.ActiveFrom, g.RetiredFrom, g.NotAfter.Add(time.Second)})
	}
	start, end := o.Generations[0].created, o.Next.ActiveFrom.Add(o.span)
	for _, b := range bars {
		end = latest(end, b.over)
	}
	start, end = earliest(start, o.Now), latest(end, o.Now)
	bars = append(bars, bar{o.nextLabel(), o.Next.ActiveFrom.Add(-o.span), o.Next.ActiveFrom, end, end})

	columns := width - labelWidth
	scale := scale{start, end.Sub(start)/time.Duration(columns) + 1, columns}
	lines := []string{scale.axis(o.Now)}
	for _, b := range bars {
		row := make([]byte, columns)
		for x := range row {
			row[x] = b.at(scale.middle(x))
		}
		row[scale.column(o.Now)] = '|'
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%-*s%s", labelWidth, b.label, row), " "))
	}
	return append(lines, strings.Repeat(" ", labelWidth)+". passive   = active   - retired   | now")
}

// at returns the sign of the phase at t.
func (b bar) at(t time.Time) byte {
	switch {
	case t.Before(b.passive) || !t.Before(b.over):
		return ' '
	case t.Before(b.active):
		return '.'
	case t.Before(b.retired):
		return '='
	}
	return '-'
}

// A scale has time go by from column to column.
type scale struct {
	start   time.Time
	step    time.Duration
	columns int
}

func (s scale) middle(column int) time.Time {
	return s.start.Add(time.Duration(column)*s.step + s.step/2)
}

func (s scale) column(t time.Time) int {
	return min(max(int(t.Sub(s.start)/s.step), 0), s.columns-1)
}

// axis names both ends, and now where there is room.
func (s scale) axis(now time.Time) string {
	layout := time.DateOnly
	if s.step < time.Hour {
		layout = "01-02 15:04"
	}
	if s.step < time.Minute {
		layout = time.TimeOnly
	}
	line := []byte(strings.Repeat(" ", s.columns))
	end := s.start.Add(s.step * time.Duration(s.columns)).UTC().Format(layout)
	copy(line, s.start.UTC().Format(layout))
	copy(line[s.columns-len(end):], end)
	at := min(max(s.column(now)-1, 0), s.columns-3)
	if room := line[max(at-1, 0):min(at+4, s.columns)]; strings.TrimSpace(string(room)) == "" {
		copy(line[at:], "now")
	}
	return strings.Repeat(" ", labelWidth) + strings.TrimRight(string(line), " ")
}

// crlGenerations shows the lists, once where they say the same.
func (p *printer) crlGenerations(o *overview) {
	if len(o.CRLs) == 0 {
		p.field("CRL", "none here")
		return
	}
	var groups []crlGeneration
	for _, crl := range o.CRLs {
		i := slices.IndexFunc(groups, func(g crlGeneration) bool {
			return g.Number == crl.Number && g.ThisUpdate.Equal(crl.ThisUpdate) && g.NextUpdate.Equal(crl.NextUpdate) && g.Revoked == crl.Revoked && g.InStore == crl.InStore
		})
		if i < 0 {
			groups = append(groups, crl)
			continue
		}
		groups[i].generations = append(groups[i].generations, crl.generations...)
	}
	for _, g := range groups {
		var of []string
		for _, i := range g.generations {
			of = append(of, fmt.Sprint(i+1))
		}
		where := "in the CRL store"
		if !g.InStore {
			where = "not in the CRL store"
		}
		p.field("CRL of CA", strings.Join(of, ", ")+", "+where)
		p.field("number", g.Number)
		p.field("revoked", fmt.Sprint(g.Revoked))
		p.field("this update", timeText(g.ThisUpdate))
		p.field("next update", timeText(g.NextUpdate)+", "+g.Freshness)
	}
}

// ellipsis cuts a text to at most n columns, as far as bytes are.
func ellipsis(s string, n int) string {
	if len(s) <= n || n < 4 {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}
