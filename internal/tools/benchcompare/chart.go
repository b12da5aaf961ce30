package main

import (
	"fmt"
	"html"
	"strings"
)

// Sizes of the chart, in pixels.
const (
	chartLeft  = 470
	chartWidth = 420
	chartRight = 300
	chartRow   = 26
	chartTop   = 40
	// chartMost is the longest bar, in units of the line at 1. What is longer is cut, and says so.
	chartMost = 2.5
)

// chart is chart.svg, in two parts: a bar for each row's ratio to Mosquitto, whose limits are ratios,
// and one for each figure whose limits are its own, as a part of what must be reached. Rows with
// neither have their figures in words.
func (res *Results) chart() string {
	var ratios, figures []*Row
	for i := range res.Rows {
		if r := &res.Rows[i]; r.Target == "figure" {
			figures = append(figures, r)
		} else {
			ratios = append(ratios, r)
		}
	}
	c := &chart{y: chartTop}
	if len(ratios) > 0 {
		c.title(`Redoubt by Mosquitto: shorter is better, unless it says "more"`)
		c.part(ratios, "1 = Mosquitto", (*Row).againstMosquitto)
	}
	if len(figures) > 0 {
		c.title("Redoubt alone, as a part of what must be reached: shorter is better")
		c.part(figures, "1 = must reach", (*Row).againstItself)
	}
	width := chartLeft + chartWidth + chartRight
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, c.y+10)
	head += `<rect width="100%" height="100%" fill="#fff"/>` + "\n"
	head += fmt.Sprintf(`<text x="10" y="20" fill="#666">%s; thin line: range of the rounds; black mark: must reach; green mark: aim</text>`+"\n", html.EscapeString(orNone(res.Mosquitto)))
	if res.Scale < 1 || res.Rounds < roundsOfResult || res.Interrupted {
		head += fmt.Sprintf(`<text x="10" y="38" fill="#d1495b">a look: %d rounds, %.2f of the clients</text>`+"\n", res.Rounds, res.Scale)
	}
	return head + c.b.String() + "</svg>\n"
}

// chart is the drawing so far.
type chart struct {
	b strings.Builder
	y int
}

func (c *chart) title(text string) {
	c.y += chartRow
	fmt.Fprintf(&c.b, `<text x="10" y="%d" font-size="14">%s</text>`+"\n", c.y, text)
	c.y += 8
}

// bar is what there is to draw of a row, in units of the line at 1.
type bar struct {
	at, low, high, must, aim float64
	text                     string
}

// againstMosquitto is the row's ratio; nil: there is none.
func (r *Row) againstMosquitto() *bar {
	if r.Ratio == nil {
		return nil
	}
	b := &bar{at: *r.Ratio, low: *r.RatioLow, high: *r.RatioHigh, text: fmt.Sprintf("%.3f", *r.Ratio)}
	if r.Target == "ratio" {
		b.must, b.aim = r.Must, r.Aim
	}
	return b
}

// againstItself is the row's figure by what must be reached; nil: there is nothing to divide by.
func (r *Row) againstItself() *bar {
	if len(r.Redoubt.Runs) == 0 || r.Must == 0 {
		return nil
	}
	return &bar{at: r.Redoubt.Best / r.Must, low: r.Redoubt.Low / r.Must, high: r.Redoubt.High / r.Must, must: 1, aim: r.Aim / r.Must, text: r.words()}
}

// words are the row's figures.
func (r *Row) words() string {
	text := "no figure"
	if len(r.Redoubt.Runs) > 0 {
		text = figure(r.Redoubt.Best) + " " + r.Unit
	}
	if len(r.Mosquitto.Runs) > 0 {
		text += " (Mosquitto " + figure(r.Mosquitto.Best) + ")"
	}
	return text
}

// part draws rows below each other, and the line at 1.
func (c *chart) part(rows []*Row, one string, of func(*Row) *bar) {
	top := c.y
	x := func(v float64) float64 { return chartLeft + min(v, chartMost)/chartMost*chartWidth }
	for _, r := range rows {
		y := c.y
		c.y += chartRow
		more := ""
		if r.Higher {
			more = " (more)"
		}
		fmt.Fprintf(&c.b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", chartLeft-8, y+16, html.EscapeString(grouped(r.Clients)+" "+r.Title+more))
		b := of(r)
		if b == nil {
			fmt.Fprintf(&c.b, `<text x="%d" y="%d" fill="#666">%s</text>`+"\n", chartLeft+4, y+16, html.EscapeString(strings.TrimSpace(r.words()+" "+r.Verdict)))
			continue
		}
		verdict, _, _ := strings.Cut(r.Verdict, ",")
		colour := map[string]string{"aim": "#2a9d5c", "reached": "#4a7fc1", "missed": "#d1495b", "failed": "#d1495b", "": "#999"}[verdict]
		fmt.Fprintf(&c.b, `<rect x="%d" y="%d" width="%.1f" height="14" fill="%s"/>`+"\n", chartLeft, y+5, x(b.at)-chartLeft, colour)
		fmt.Fprintf(&c.b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#333"/>`+"\n", x(b.low), x(b.high), y+12, y+12)
		if b.at > chartMost { // cut
			fmt.Fprintf(&c.b, `<path d="M %d %d l 8 7 l -8 7 z" fill="%s"/>`+"\n", chartLeft+chartWidth, y+5, colour)
		}
		c.mark(x(b.must), y, b.must, "#000")
		c.mark(x(b.aim), y, b.aim, "#0a6b36")
		fmt.Fprintf(&c.b, `<text x="%d" y="%d">%s</text>`+"\n", chartLeft+chartWidth+14, y+16, html.EscapeString(strings.TrimSpace(b.text+" "+r.Verdict)))
	}
	fmt.Fprintf(&c.b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#999" stroke-dasharray="4 3"/>`+"\n", x(1), x(1), top, c.y)
	c.y += 16
	fmt.Fprintf(&c.b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#666">%s</text>`+"\n", x(1), c.y, one)
	c.y += 8
}

// mark is a limit; 0: there is none.
func (c *chart) mark(x float64, y int, limit float64, stroke string) {
	if limit > 0 && limit <= chartMost {
		fmt.Fprintf(&c.b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="2"/>`+"\n", x, x, y+2, y+22, stroke)
	}
}
