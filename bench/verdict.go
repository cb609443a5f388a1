package main

import "fmt"

// A verdict is a ratio of what was measured in one run, and what it should be. Only ratios hold on other machines.
type verdict struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Least  float64 `json:"at_least,omitempty"`
	Most   float64 `json:"at_most,omitempty"`
	Better bool    `json:"reached"`
	Spread float64 `json:"spread,omitempty"` // largest less smallest of those that were measured by turns, as a part of the value
}

func (v verdict) spread(s float64) verdict {
	v.Spread = s
	return v
}

// cell is the value with how far the samples are apart.
func (v verdict) cell() string {
	if v.Spread > 0 {
		return fmt.Sprintf("%s ±%.0f%%", number(v.Value), v.Spread*50)
	}
	return number(v.Value)
}

func (v verdict) target() string {
	switch {
	case v.Least > 0:
		return "at least " + number(v.Least)
	case v.Most > 0:
		return "at most " + number(v.Most)
	}
	return ""
}

func (v verdict) outcome() string {
	switch {
	case v.Least == 0 && v.Most == 0:
		return ""
	case v.Better:
		return "reached"
	}
	return "missed"
}

// judge fills in whether a target is reached.
func judge(name string, value, least, most float64) verdict {
	return verdict{Name: name, Value: value, Least: least, Most: most, Better: (least == 0 || value >= least) && (most == 0 || value <= most)}
}

// ours is what results call our daemon on an engine.
func ours(engine string) string { return "cauased " + engine }

// each is how long one of a rate takes, in milliseconds.
func (r *results) each(work, subject string) (float64, bool) {
	rate, ok := r.median(work, subject, perSecond)
	if !ok || rate == 0 {
		return 0, false
	}
	return 1e3 / rate, true
}

// A comparison divides one median by another.
type comparison struct {
	name         string
	above, below [3]string // work, subject, quantity
	least, most  float64
}

// verdicts computes the ratios for which there is everything.
func (r *results) verdicts() (list []verdict) {
	for _, c := range r.comparisons() {
		above, below := r.value(c.above[0], c.above[1], c.above[2]), r.value(c.below[0], c.below[1], c.below[2])
		if above == nil || below == nil {
			continue
		}
		if v := ratio(above, below); v.Median > 0 {
			list = append(list, judge(c.name, v.Median, c.least, c.most).spread(v.Spread))
		}
	}
	list = append(list, r.fractions()...)
	return append(list, r.targets()...)
}

func (r *results) comparisons() []comparison {
	rate := func(work, subject string) [3]string { return [3]string{work, subject, perSecond} }
	list := []comparison{
		{name: "renewal on a new connection, SQLite, to step-ca with badger", above: rate(workRenewNew, ours(sqliteEngine)), below: rate(workRenewNew, "step-ca badger"), least: 4},
		{name: "renewal on a new connection, PostgreSQL, to step-ca with it", above: rate(workRenewNew, ours(postgresEngine)), below: rate(workRenewNew, "step-ca postgresql"), least: 6},
		{name: "renewal on a kept connection, SQLite, to step-ca with badger", above: rate(workRenewKept, ours(sqliteEngine)), below: rate(workRenewKept, "step-ca badger"), least: 1.5},
		{name: "renewal on a kept connection, PostgreSQL, to step-ca with it", above: rate(workRenewKept, ours(postgresEngine)), below: rate(workRenewKept, "step-ca postgresql")},
		{name: "submit + sign + fetch, SQLite, to step-ca's signing with a token", above: rate(workEnrol, ours(sqliteEngine)), below: rate(workEnrol, "step-ca badger"), least: 1.5},
		{name: "submit + sign + fetch, PostgreSQL, to step-ca's signing with a token", above: rate(workEnrol, ours(postgresEngine)), below: rate(workEnrol, "step-ca postgresql")},
		{name: "renewal on a new connection to caucase, RSA-2048", above: rate(workRenewNew+rsaSuffix, ours(sqliteEngine)), below: rate(workRenewNew+rsaSuffix, "caucased")},
		{name: "submit + sign + fetch to caucase, RSA-2048", above: rate(workEnrol+rsaSuffix, ours(sqliteEngine)), below: rate(workEnrol+rsaSuffix, "caucased")},
	}
	for _, work := range []string{workEnrol, workRenewNew, workRenewKept} {
		list = append(list, comparison{name: work + ", RSA-2048, to bare signatures of all processors",
			above: rate(work+rsaSuffix, ours(sqliteEngine)), below: rate(limitAllRSA, machineSubject), least: 0.85})
	}
	return list
}

// fractions compares processor time with the arithmetic that the work cannot do without: two verifications, of the message
// and of the request, and one signature.
func (r *results) fractions() (list []verdict) {
	verify, ok1 := r.each(limitVerify, machineSubject)
	sign, ok2 := r.each(limitSign, machineSubject)
	if !ok1 || !ok2 {
		return nil
	}
	if rsa, ok := r.each(limitRSA, machineSubject); ok {
		for _, work := range []string{workEnrol, workRenewNew, workRenewKept} {
			if cpu, ok := r.median(work+rsaSuffix, ours(sqliteEngine), cpuEach); ok {
				list = append(list, judge("CPU of "+work+rsaSuffix+", to a bare signature", cpu/rsa, 0, 0))
			}
		}
	}
	least := 2*verify + sign
	for _, engine := range []string{sqliteEngine, postgresEngine} {
		for _, work := range []string{workRenewNew, workRenewKept} {
			if cpu, ok := r.median(work, ours(engine), cpuEach); ok {
				most := 0.0
				if work == workRenewNew && engine == sqliteEngine {
					most = 2.4
				}
				list = append(list, judge(fmt.Sprintf("CPU of a %s, %s, to two verifications and a signature", work, engine), cpu/least, 0, most))
			}
		}
		if cpu, ok := r.median(workEnrol, ours(engine), cpuEach); ok {
			list = append(list, judge(fmt.Sprintf("CPU of %s, %s, to a verification and a signature", workEnrol, engine), cpu/(verify+sign), 0, 0))
		}
	}
	return list
}
