package main

import (
	"fmt"
	"html"
	"strings"
)

// Sizes of the chart, in pixels.
const (
	chartLeft  = 330
	chartWidth = 420
	chartRow   = 26
	chartTop   = 46
)

// chart is chart.svg: a bar for each row's ratio to Mosquitto, with its range, and marks at
// what is to be reached and at what is aimed at. One is Mosquitto itself.
func (res *Results) chart() string {
	most := 1.25
	for i := range res.Rows {
		if r := &res.Rows[i]; r.Ratio != nil {
			most = max(most, *r.RatioHigh*1.05, r.Must*1.05, r.Aim*1.05)
		}
	}
	most = min(most, 4)
	x := func(ratio float64) float64 { return chartLeft + min(ratio, most)/most*chartWidth }
	height := chartTop + chartRow*len(res.Rows) + 30
	bottom := height - 26
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", chartLeft+chartWidth+150, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n"+`<text x="10" y="18" font-size="14">Redoubt by Mosquitto: shorter is better, unless it says "more"</text>`+"\n")
	fmt.Fprintf(&b, `<text x="10" y="34" fill="#666">%s; line: range; black: must reach; green: aim</text>`+"\n", html.EscapeString(res.Mosquitto))
	for i := range res.Rows {
		r := &res.Rows[i]
		y := chartTop + chartRow*i
		more := ""
		if r.Higher {
			more = " (more)"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", chartLeft-8, y+16, html.EscapeString(grouped(r.Clients)+" "+r.Title+more))
		if r.Ratio == nil {
			fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#666">no ratio</text>`+"\n", chartLeft+4, y+16)
			continue
		}
		colour := map[string]string{"aim": "#2a9d5c", "reached": "#4a7fc1", "missed": "#d1495b"}[r.Verdict]
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="14" fill="%s"/>`+"\n", chartLeft, y+5, x(*r.Ratio)-chartLeft, colour)
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#333"/>`+"\n", x(*r.RatioLow), x(*r.RatioHigh), y+12, y+12)
		for limit, stroke := range map[float64]string{r.Must: "#000", r.Aim: "#0a6b36"} {
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="2"/>`+"\n", x(limit), x(limit), y+2, y+22, stroke)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d">%.2f %s</text>`+"\n", chartLeft+chartWidth+8, y+16, *r.Ratio, r.Verdict)
	}
	fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#999" stroke-dasharray="4 3"/>`+"\n", x(1), x(1), chartTop, bottom)
	fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#666">1 = Mosquitto</text>`+"\n</svg>\n", x(1), bottom+16)
	return b.String()
}
