// Package chart draws charts as SVG. It is pure: values in, markup out. Drawings have no colours of their own: each part
// has a class that the style sheet colours, in light and in dark.
package chart

import (
	"fmt"
	"html/template"
	"strings"
)

// Series is one of the things that a chart shows, for example what was repaired.
type Series struct {
	Name  string // for people
	Class string // of the style sheet: fill-good, fill-warn, fill-bad, fill-info
}

// Bar is one column of a chart: a value for each series, and what it is about.
type Bar struct {
	Label  string // what the column is, for example a time and a result
	Values []int  // as many as there are series, none below zero
}

// width and height of a drawing; it is stretched to the place that it is given.
const (
	width  = 600
	height = 96
	least  = 3 // the height of a value that is not zero
)

// Stacked returns columns whose parts stand upon each other, the first series at the bottom. slots is how many columns
// have place; with fewer bars the left is empty, so that the newest always stands at the right.
func Stacked(summary string, slots int, series []Series, bars []Bar) template.HTML {
	if len(bars) > slots {
		bars = bars[len(bars)-slots:]
	}
	most := Most(bars)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(summary))
	fmt.Fprintf(&b, `<path class="chart-base" d="M0 %[2]d.5H%[1]d" vector-effect="non-scaling-stroke"/>`, width, height-1)
	step := float64(width) / float64(slots)
	for i := range bars {
		x := float64(width) - step*float64(len(bars)-i)
		column(&b, x, step, most, series, &bars[i])
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // everything that is not ours is escaped
}

func column(b *strings.Builder, x, step float64, most int, series []Series, bar *Bar) {
	fmt.Fprintf(b, `<g><title>%s</title>`, template.HTMLEscapeString(bar.Label))
	gap := step * 0.2
	// The whole height answers to the pointer, also where there is nothing to see.
	fmt.Fprintf(b, `<rect class="chart-slot" x="%.1f" y="0" width="%.1f" height="%d"/>`, x, step, height)
	foot, drawn := float64(height-1), false
	for i, value := range bar.Values {
		if value <= 0 || i >= len(series) {
			continue
		}
		tall := max(float64(value)/float64(most)*(height-4), least)
		tall = min(tall, foot)
		foot -= tall
		drawn = true
		fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, series[i].Class, x+gap/2, foot, step-gap, tall)
	}
	if !drawn {
		fmt.Fprintf(b, `<rect class="chart-zero" x="%.1f" y="%d" width="%.1f" height="2"/>`, x+gap/2, height-3, step-gap)
	}
	b.WriteString(`</g>`)
}

// Most returns the greatest sum of a bar, at least 1.
func Most(bars []Bar) int {
	most := 1
	for i := range bars {
		sum := 0
		for _, value := range bars[i].Values {
			sum += max(value, 0)
		}
		most = max(most, sum)
	}
	return most
}
