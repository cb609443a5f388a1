package main

import (
	"cmp"
	"slices"
)

// Quantities that are measured.
const (
	perSecond    = "per second"
	p50          = "p50 ms"
	p99          = "p99 ms"
	cpuEach      = "server CPU ms"   // for one operation
	databaseCPU  = "database CPU ms" // of the database server, where there is one
	othersCPU    = "others' CPU %"   // of the whole machine, by neither servers nor clients
	milliseconds = "ms"
	longestWait  = "longest wait ms"
	bareWork     = "hash and sign ms"
	residentMiB  = "resident MiB"
	sharedMiB    = "proportional MiB" // pages that are shared with others count in part
	peakMiB      = "peak MiB"
	untilCalm    = "ms until at rest"
	percentCPU   = "CPU %"
)

// machineSubject is whom the limits of the machine are of.
const machineSubject = "machine"

// A value is a quantity that was measured once or more.
type value struct {
	Quantity string    `json:"quantity"`
	Samples  []float64 `json:"samples"`
	Median   float64   `json:"median"`
	Spread   float64   `json:"spread"` // largest less smallest, as a part of the median
}

// A row is what was measured of one kind of work, done by one subject.
type row struct {
	Work    string   `json:"work"`
	Subject string   `json:"subject"`
	Values  []*value `json:"values"`
}

// Results are all rows of a run.
type results struct{ rows []*row }

// add adds a sample.
func (r *results) add(work, subject, quantity string, sample float64) {
	at := r.find(work, subject)
	if at == nil {
		at = &row{Work: work, Subject: subject}
		r.rows = append(r.rows, at)
	}
	v := at.find(quantity)
	if v == nil {
		v = &value{Quantity: quantity}
		at.Values = append(at.Values, v)
	}
	v.Samples = append(v.Samples, sample)
	v.summarise()
}

// measured adds what came of a load.
func (r *results) measured(work, subject string, m measurement) {
	r.add(work, subject, perSecond, m.rate)
	r.add(work, subject, p50, m.p50.Seconds()*1e3)
	r.add(work, subject, p99, m.p99.Seconds()*1e3)
	r.add(work, subject, othersCPU, 100*m.others)
	for i, quantity := range []string{cpuEach, databaseCPU} {
		if i < len(m.cpu) {
			r.add(work, subject, quantity, m.cpu[i].Seconds()*1e3)
		}
	}
}

// remembers adds what a process takes.
func (r *results) remembers(work, subject string, m memory) {
	r.add(work, subject, residentMiB, m.resident)
	r.add(work, subject, sharedMiB, m.proportional)
	r.add(work, subject, peakMiB, m.peak)
}

func (r *results) find(work, subject string) *row {
	for _, at := range r.rows {
		if at.Work == work && at.Subject == subject {
			return at
		}
	}
	return nil
}

func (r *row) find(quantity string) *value {
	for _, v := range r.Values {
		if v.Quantity == quantity {
			return v
		}
	}
	return nil
}

// value returns what was measured; nil if it was not.
func (r *results) value(work, subject, quantity string) *value {
	if at := r.find(work, subject); at != nil {
		return at.find(quantity)
	}
	return nil
}

// median returns the median of what was measured; false if it was not.
func (r *results) median(work, subject, quantity string) (float64, bool) {
	if v := r.value(work, subject, quantity); v != nil {
		return v.Median, true
	}
	return 0, false
}

// disturbed is the largest part of the machine, in percent, that others took during a load, by the median of its repetitions.
func (r *results) disturbed() (percent float64) {
	for _, at := range r.rows {
		if v := at.find(othersCPU); v != nil {
			percent = max(percent, v.Median)
		}
	}
	return percent
}

// ratio divides what was measured by turns, pair by pair: what has disturbed both is in neither's favour.
func ratio(above, below *value) *value {
	r := &value{}
	for i := range min(len(above.Samples), len(below.Samples)) {
		if below.Samples[i] > 0 {
			r.Samples = append(r.Samples, above.Samples[i]/below.Samples[i])
		}
	}
	if len(r.Samples) > 0 {
		r.summarise()
	}
	return r
}

// summarise computes what is printed. The median does not move with one sample that the machine has spoilt.
func (v *value) summarise() {
	sorted := slices.SortedFunc(slices.Values(v.Samples), cmp.Compare[float64])
	n := len(sorted)
	v.Median = (sorted[n/2] + sorted[(n-1)/2]) / 2
	v.Spread = 0
	if v.Median > 0 {
		v.Spread = (sorted[n-1] - sorted[0]) / v.Median
	}
}
