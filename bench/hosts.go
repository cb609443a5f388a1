package main

import (
	"fmt"
	"strings"
)

// lifetimes for which it is said how many hosts one daemon serves, in days.
var lifetimes = []float64{1.0 / 24, 1, 7, 47, 93}

// hostsOf is how many hosts renew at a rate, each of them once in two thirds of a lifetime.
func hostsOf(rate, days float64) float64 { return rate * days * 86400 * 2 / 3 }

// hostsServed is the table of how many hosts one daemon serves, with half of what it was measured to do.
func (r *results) hostsServed() string {
	var page strings.Builder
	for _, engine := range []string{sqliteEngine, postgresEngine} {
		rate, ok := r.median(workRenewNew, ours(engine), perSecond)
		if !ok {
			continue
		}
		if page.Len() == 0 {
			page.WriteString("\n| lifetime | engine | hosts |\n|---|---|---|\n")
		}
		for _, days := range lifetimes {
			fmt.Fprintf(&page, "| %s | %s | %s |\n", lifetime(days), engine, round(hostsOf(rate/2, days)))
		}
	}
	return page.String()
}

func lifetime(days float64) string {
	if days < 1 {
		return fmt.Sprintf("%.0f h", days*24)
	}
	return fmt.Sprintf("%.0f d", days)
}

// round writes a large number as people say it.
func round(n float64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f thousand million", n/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f million", n/1e6)
	}
	return fmt.Sprintf("%.0f thousand", n/1e3)
}
