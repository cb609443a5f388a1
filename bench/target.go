package main

import (
	"fmt"
	"strings"
)

// targets are those that are no ratios of rates. Some are absolute: they hold for machines like the one for which they were set,
// on which a processor signs 23,800 times a second.
func (r *results) targets() (list []verdict) {
	sqlite := ours(sqliteEngine)
	most := func(name, work, subject, quantity string, limit float64) {
		if v, ok := r.median(work, subject, quantity); ok {
			list = append(list, judge(name, v, 0, limit))
		}
	}
	most("server CPU of a renewal on a new connection, ms", workRenewNew, sqlite, cpuEach, 0.55)
	most("server CPU of submit + sign + fetch, ms", workEnrol, sqlite, cpuEach, 1.1)
	for _, work := range []string{workSmallList, workNotModified} {
		if v, ok := r.median(work, sqlite, perSecond); ok {
			list = append(list, judge(work+", per second", v, 15_000, 0))
		}
	}
	most("memory at rest, MiB", workMemoryRest, sqlite, residentMiB, 30)
	for _, at := range r.rows {
		switch {
		case strings.HasPrefix(at.Work, workListAfter):
			bare, ok := r.median(at.Work, at.Subject, bareWork)
			if v, there := r.median(at.Work, at.Subject, milliseconds); ok && there && bare > 0 {
				list = append(list, judge(at.Work+" entries, to hash and signature", v/bare, 0, 2.5))
			}
			if v, there := r.median(at.Work, at.Subject, longestWait); ok && there && bare > 0 {
				list = append(list, judge("longest wait for a list meanwhile, of "+strings.TrimPrefix(at.Work, workListAfter)+" entries, to hash and signature", v/bare, 0, 1))
			}
		case at.Work == workListRestart+"1000000":
			most(at.Work+" entries, ms", at.Work, at.Subject, milliseconds, 700)
		case at.Work == workReady:
			most(at.Work+", "+at.Subject+", ms", at.Work, at.Subject, milliseconds, 1000)
		case at.Work == workMemoryAfter+"100000":
			most(at.Work+", MiB", at.Work, at.Subject, residentMiB, 100)
		case at.Work == workAgent+"1":
			most(at.Work+", MiB", at.Work, at.Subject, residentMiB, 20)
			most(at.Work+", CPU %", at.Work, at.Subject, percentCPU, 0.05)
		case at.Work == workAgent+"1000":
			most(at.Work+", MiB", at.Work, at.Subject, residentMiB, 60)
		}
	}
	for _, engine := range []string{sqliteEngine, postgresEngine} {
		full, ok1 := r.median(workStored, ours(engine)+", full", perSecond)
		empty, ok2 := r.median(workStored, ours(engine)+", empty", perSecond)
		if ok1 && ok2 && empty > 0 {
			list = append(list, judge(fmt.Sprintf("%s, %s, to an empty database", workStored, engine), full/empty, 0.85, 0))
		}
	}
	return list
}
