package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redoubtmq/redoubt/client/bench"
)

// benchLine is the line of progress: on a terminal it is written over once a second.
type benchLine struct {
	p     *printer
	on    bool
	shown bool
}

func (l *benchLine) tell(g bench.Progress) {
	if !l.on {
		return
	}
	l.shown = true
	text := fmt.Sprintf("%4.0f s  %-12s %d connected", g.Elapsed.Seconds(), g.Phase, g.Connected)
	if g.Failed > 0 {
		text += fmt.Sprintf(", %d failed", g.Failed)
	}
	if g.Sent+g.Delivered > 0 {
		text += fmt.Sprintf(", %s sent/s, %s delivered/s", grouped(float64(g.Sent)), grouped(float64(g.Delivered)))
	}
	l.p.tell([]byte("\r\x1b[K" + text))
}

func (l *benchLine) end() {
	if l.shown {
		l.p.tell([]byte("\r\x1b[K"))
	}
}

// print writes the result: one JSON object, or a table.
func (b *Bench) print(out *printer, rep *bench.Report) error {
	if out.io.JSON {
		line, err := json.Marshal(rep)
		if err != nil {
			return err
		}
		return out.write(out.io.Stdout, append(line, '\n'))
	}
	return out.write(out.io.Stdout, []byte(benchText(rep)))
}

// benchText is a report for a person.
func benchText(r *bench.Report) string {
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	head := fmt.Sprintf("%s, MQTT %s over %s", r.Scenario, r.Version, r.Transport)
	if r.Scenario != bench.Conn && r.Memory == nil {
		head += fmt.Sprintf(", QoS %d", r.QoS)
	}
	if r.Sent != nil {
		head += fmt.Sprintf(", %d bytes", r.Payload)
	}
	if r.Interrupted {
		head += " (interrupted)"
	}
	row("bench", "%s", head)
	c := &r.Connections
	row("connected", "%s, %s/s", grouped(float64(c.Connected)), grouped(c.PerSecond))
	if c.Resumed > 0 {
		row("resumed", "%s went on with an earlier TLS session", grouped(float64(c.Resumed)))
	}
	if c.Failed > 0 {
		row("failed", "%s: %s", grouped(float64(c.Failed)), reasons(c.Reasons))
	}
	if len(c.Ended) > 0 {
		row("ended", "%s", reasons(c.Ended))
	}
	latency(row, "until CONNACK", c.Latency)
	if t := r.Sent; t != nil {
		text := fmt.Sprintf("%s, %s/s", grouped(float64(t.Messages)), grouped(t.PerSecond))
		if r.QoS > 0 {
			text += fmt.Sprintf("; acknowledged %s, %s/s", grouped(float64(t.Acknowledged)), grouped(t.AckedPerSec))
		}
		row("sent", "%s", text)
		if t.Refused > 0 {
			row("refused", "%s: %s", grouped(float64(t.Refused)), reasons(t.Refusals))
		}
		if t.Unsent > 0 {
			row("unsent", "%s were due and waited for a window", grouped(float64(t.Unsent)))
		}
		if t.Stalls > 0 {
			row("stalls", "%s times nothing came for a second", grouped(float64(t.Stalls)))
		}
	}
	if d := r.Delivered; d != nil {
		row("delivered", "%s, %s/s", grouped(float64(d.Messages)), grouped(d.PerSecond))
		row("lost", "%s; duplicated %s; out of order %s", grouped(float64(d.Lost)), grouped(float64(d.Duplicated)), grouped(float64(d.Reordered)))
		if d.Foreign > 0 {
			row("foreign", "%s messages of others", grouped(float64(d.Foreign)))
		}
	}
	if r.Flood == nil {
		latency(row, "latency", r.Latency)
	}
	latency(row, "sent late", r.Late)
	offlineText(row, r.Offline)
	floodText(row, r.Flood)
	retainedText(row, r.Retained)
	rogueText(row, r.Rogue)
	memoryText(row, r.Memory)
	if p := r.Broker; p != nil {
		text := fmt.Sprintf("%.2f s of processor", p.CPUSeconds)
		if p.Busy > 0 {
			text += fmt.Sprintf(", %.0f %% of a core", 100*p.Busy)
		}
		if p.CPUPerMillion > 0 {
			text += fmt.Sprintf(", %.2f s for a million deliveries", p.CPUPerMillion)
		}
		row("broker", "%s, %.1f MiB resident", text, float64(p.ResidentBytes)/(1<<20))
	}
	if g := r.Generator; g != nil {
		text := fmt.Sprintf("%.2f s of processor, %.0f %% of a core", g.CPUSeconds, 100*g.Busy)
		if p := r.Broker; p != nil && g.Busy >= fullCore && p.Busy < fullCore {
			text += ": full, and the broker's was not, so that rates are the generator's"
		}
		row("generator", "%s", text)
	}
	_ = w.Flush() // to memory
	return s.String()
}

// fullCore is how much of one leaves nothing to wait for.
const fullCore = .95

type rowFunc func(name, format string, args ...any)

func latency(row rowFunc, name string, l *bench.Latency) {
	if l != nil {
		row(name, "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s", ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max))
	}
}

func offlineText(row rowFunc, o *bench.OfflineReport) {
	if o == nil {
		return
	}
	row("filled", "%s sessions with %s messages each, in %.1f s", grouped(float64(o.Sessions)), grouped(float64(o.PerSession)), o.FillSeconds)
	row("drained", "in %.1f s, %s sessions were still there", o.DrainSecs, grouped(float64(o.Present)))
	row("acknowledged", "and lost: %s", grouped(float64(o.Lost)))
}

func retainedText(row rowFunc, k *bench.RetainedReport) {
	if k == nil {
		return
	}
	row("retained", "%s messages, in %.1f s", grouped(float64(k.Messages)), k.FillSeconds)
	if k.Times > 0 {
		row("asked for", "%d times: %s in %.1f s; lost: %s", k.Times, grouped(float64(k.Delivered)), k.Seconds, grouped(float64(k.Lost)))
	}
}

func rogueText(row rowFunc, g *bench.RogueReport) {
	if g == nil {
		return
	}
	row("rogue", "%s: %s connected, %s refused, %s closed by the broker", g.Kind, grouped(float64(g.Connected)), grouped(float64(g.Refused)), grouped(float64(g.Closed)))
	row("it sent", "%s packets, %.1f MiB, and read %.1f MiB", grouped(float64(g.Packets)), float64(g.BytesOut)/(1<<20), float64(g.BytesIn)/(1<<20))
}

func floodText(row rowFunc, f *bench.FloodReport) {
	if f == nil {
		return
	}
	latency(row, "before", f.Before)
	latency(row, "during", f.During)
	row("p99", "%.1f times", f.P99Ratio)
	text := fmt.Sprintf("%s opened, %s failed, %s closed by the broker, %s open at the end", grouped(float64(f.Opened)), grouped(float64(f.Failed)), grouped(float64(f.Closed)), grouped(float64(f.Open)))
	row("strangers", "%s", text)
	if f.Closed > 0 {
		row("their lives", "p50 %.1f s, longest %.1f s", f.LifeP50, f.LifeMax)
	}
	if f.Resident != nil {
		row("memory", "%s bytes each, when %s were open", grouped(float64(*f.Resident)), grouped(float64(f.Held)))
	}
	row("oldest", "that was open at the end: %.1f s", f.Oldest)
	if f.Newcomer < 0 {
		row("newcomer", "could not connect")
		return
	}
	row("newcomer", "connected in %s", ms(f.Newcomer))
}

func memoryText(row rowFunc, m *bench.MemoryReport) {
	if m == nil {
		return
	}
	row("memory", "%.1f MiB with %s, %.1f MiB with %s", float64(m.ResidentFirst)/(1<<20), grouped(float64(m.First)), float64(m.Resident)/(1<<20), grouped(float64(m.Count)))
	text := fmt.Sprintf("%s bytes", grouped(m.Each))
	if !m.Settled {
		text += fmt.Sprintf(": memory had not settled after %.0f s", m.Waited)
	}
	row("each "+string(m.Kind), "%s", text)
}

func ms(x float64) string {
	if x >= 1000 {
		return (time.Duration(x) * time.Millisecond).String()
	}
	return fmt.Sprintf("%.4g ms", x)
}

func reasons(m map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(parts, ", ")
}

// grouped writes a count with commas: 1,234,567.
func grouped(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
