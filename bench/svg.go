package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// A curve is one chart: a quantity over the number of certificates, both by powers of ten.
type curve struct {
	title  string
	x, y   []float64
	spread []float64 // of each y, as a part of it
}

// Measures of a chart, in pixels.
const (
	chartWidth, chartHeight  = 300, 200
	marginLeft, marginRight  = 58, 14
	marginTop, marginBottom  = 30, 34
	chartsInRow              = 3
	colourLine, colourText   = "#1f5fa8", "#333333"
	colourGrid, colourSpread = "#dddddd", "#9fc0e6"
)

// curves draws what was measured as the database grew.
func (r *results) curves(sizes []int, subject string) string {
	charts := []curve{
		{title: "renewals per second"}, {title: "list after a revocation, ms"}, {title: "resident memory, MiB"},
		{title: "ready after a start, ms"}, {title: "database, MB"}, {title: "server CPU of a renewal, ms"},
	}
	for i, quantity := range []string{perSecond, listMs, residentMiB, startMs, sizeMB, cpuEach} {
		for _, size := range sizes {
			at := r.find(workGrowth+fmt.Sprint(size), subject)
			if at == nil {
				continue
			}
			if v := at.find(quantity); v != nil && v.Median > 0 {
				charts[i].x, charts[i].y = append(charts[i].x, float64(size)), append(charts[i].y, v.Median)
				charts[i].spread = append(charts[i].spread, v.Spread)
			}
		}
	}
	return drawing(charts)
}

// drawing puts charts side by side.
func drawing(charts []curve) string {
	rows := (len(charts) + chartsInRow - 1) / chartsInRow
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="%s">`+"\n",
		chartWidth*chartsInRow, chartHeight*rows, colourText)
	fmt.Fprintf(&svg, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	for i, c := range charts {
		fmt.Fprintf(&svg, `<g transform="translate(%d,%d)">`+"\n", i%chartsInRow*chartWidth, i/chartsInRow*chartHeight)
		c.draw(&svg)
		svg.WriteString("</g>\n")
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}

// An axis maps powers of ten to pixels.
type axis struct{ low, high, from, to float64 }

// newAxis covers values with whole powers of ten.
func newAxis(values []float64, from, to float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, math.Floor(math.Log10(v))), max(high, math.Ceil(math.Log10(v)))
	}
	if high == low {
		high++
	}
	return axis{low, high, from, to}
}

func (a axis) at(v float64) float64 {
	return a.from + (math.Log10(v)-a.low)/(a.high-a.low)*(a.to-a.from)
}

// powers are the ticks.
func (a axis) powers() (ticks []float64) {
	for exponent := a.low; exponent <= a.high; exponent++ {
		ticks = append(ticks, math.Pow(10, exponent))
	}
	return ticks
}

func (c curve) draw(svg *strings.Builder) {
	fmt.Fprintf(svg, `<text x="%d" y="18" font-weight="bold">%s</text>`+"\n", marginLeft, html.EscapeString(c.title))
	if len(c.x) == 0 {
		fmt.Fprintf(svg, `<text x="%d" y="%d">not measured</text>`+"\n", marginLeft, chartHeight/2)
		return
	}
	x := newAxis(c.x, marginLeft, chartWidth-marginRight)
	y := newAxis(c.y, chartHeight-marginBottom, marginTop)
	for _, tick := range x.powers() {
		at := x.at(tick)
		fmt.Fprintf(svg, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", at, y.from, at, y.to, colourGrid)
		fmt.Fprintf(svg, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", at, y.from+14, tickText(tick))
	}
	for _, tick := range y.powers() {
		at := y.at(tick)
		fmt.Fprintf(svg, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x.from, at, x.to, at, colourGrid)
		fmt.Fprintf(svg, `<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n", x.from-6, at+4, tickText(tick))
	}
	fmt.Fprintf(svg, `<text x="%.1f" y="%d" text-anchor="middle">certificates</text>`+"\n", (x.from+x.to)/2, chartHeight-6)
	var points []string
	for i := range c.x {
		points = append(points, fmt.Sprintf("%.1f,%.1f", x.at(c.x[i]), y.at(c.y[i])))
		fmt.Fprintf(svg, `<line x1="%.1[1]f" y1="%.1[2]f" x2="%.1[1]f" y2="%.1[3]f" stroke="%[4]s" stroke-width="4"/>`+"\n",
			x.at(c.x[i]), y.at(c.y[i]*(1-min(c.spread[i]/2, 0.9))), y.at(c.y[i]*(1+c.spread[i]/2)), colourSpread)
	}
	fmt.Fprintf(svg, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(points, " "), colourLine)
	for i, point := range points {
		px, py, _ := strings.Cut(point, ",")
		fmt.Fprintf(svg, `<circle cx="%s" cy="%s" r="2.5" fill="%s"><title>%.0f: %s</title></circle>`+"\n", px, py, colourLine, c.x[i], number(c.y[i]))
	}
}

// tickText writes a power of ten.
func tickText(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.0fM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 1:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
