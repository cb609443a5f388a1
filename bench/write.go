package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// works lists the kinds of work in the order in which they were measured.
func (r *results) works() (works []string) {
	for _, at := range r.rows {
		if !slices.Contains(works, at.Work) {
			works = append(works, at.Work)
		}
	}
	return works
}

// cell is a value with how far its samples are apart.
func (v *value) cell() string {
	text := number(v.Median)
	if len(v.Samples) > 1 {
		text += fmt.Sprintf(" ±%.0f%%", v.Spread*50)
	}
	return text
}

// number writes three digits, or all before the point.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// writeText writes tables for a terminal.
func writeText(w io.Writer, r *results) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WORK\tSUBJECT\tQUANTITY\tMEDIAN\t")
	for _, work := range r.works() {
		for _, at := range r.rows {
			if at.Work != work {
				continue
			}
			for _, v := range at.Values {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", at.Work, at.Subject, v.Quantity, v.cell())
			}
		}
	}
	fmt.Fprintln(t, "\t\t\t\t\nRATIO\tMEASURED\tTARGET\t\t")
	for _, v := range r.verdicts() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", v.Name, v.cell(), v.target(), v.outcome())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, r.caution())
	return err
}

// undisturbed is how much of the machine others may take, in percent. The kernel's own work for the load is among it.
const undisturbed = 10

// caution says so if the machine was busy with something else.
func (r *results) caution() string {
	if percent := r.disturbed(); percent > undisturbed {
		return fmt.Sprintf("\nOthers took up to %.0f %% of the machine while this was measured: do not publish it.\n", percent)
	}
	return ""
}

// writeJSON writes all samples.
func writeJSON(w io.Writer, r *results) error {
	text, err := json.MarshalIndent(struct {
		Machine  machine   `json:"machine"`
		Rows     []*row    `json:"rows"`
		Verdicts []verdict `json:"ratios"`
	}{describeMachine(), r.rows, r.verdicts()}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(text))
	return err
}

// writePage writes the tables of the page about performance.
func writePage(w io.Writer, r *results) error {
	m := describeMachine()
	var page strings.Builder
	fmt.Fprintf(&page, "Measured on %s, %d processors, Linux %s, %s.\n\n", m.Processor, m.Processors, m.Kernel, m.Go)
	page.WriteString("| work | by | per second | p50, p99 ms | server CPU, ms each | database CPU, ms each | memory, MiB | other |\n|---|---|---|---|---|---|---|---|\n")
	for _, work := range r.works() {
		for _, at := range r.rows {
			if at.Work == work {
				page.WriteString(at.line())
			}
		}
	}
	page.WriteString("\n| ratio | measured | target |\n|---|---|---|\n")
	for _, v := range r.verdicts() {
		fmt.Fprintf(&page, "| %s | %s | %s |\n", v.Name, v.cell(), v.target())
	}
	page.WriteString(r.hostsServed())
	page.WriteString(r.caution())
	_, err := io.WriteString(w, page.String())
	return err
}

// line is a row of the page's table.
func (r *row) line() string {
	cell := func(quantities ...string) string {
		var cells []string
		for _, q := range quantities {
			if v := r.find(q); v != nil {
				cells = append(cells, v.cell())
			}
		}
		return strings.Join(cells, ", ")
	}
	var other []string
	shown := []string{perSecond, p50, p99, othersCPU, cpuEach, databaseCPU, residentMiB, sharedMiB, peakMiB}
	for _, v := range r.Values {
		if !slices.Contains(shown, v.Quantity) {
			other = append(other, v.Quantity+" "+v.cell())
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Work, r.Subject, cell(perSecond), cell(p50, p99),
		cell(cpuEach), cell(databaseCPU), cell(residentMiB, peakMiB), strings.Join(other, "; "))
}
