package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Results are results.json.
type Results struct {
	When      string  `json:"when"`
	Processor string  `json:"processor"`
	Kernel    string  `json:"kernel"`
	Redoubt   string  `json:"redoubt"`
	Mosquitto string  `json:"mosquitto"` // empty: there was none
	Rounds    int     `json:"rounds"`
	Seconds   int     `json:"seconds"`
	Scale     float64 `json:"scale"`
	Rows      []Row   `json:"rows"`
}

// Row is one row. Ratio is the best of Redoubt's rounds by the best of Mosquitto's, and its
// range that of each round by itself. Of a promise (Worst) best is the worst.
type Row struct {
	Name      string   `json:"name"`
	Title     string   `json:"title"`
	Unit      string   `json:"unit"`
	Clients   int      `json:"clients"`
	Higher    bool     `json:"more_is_better"`
	Worst     bool     `json:"worst_counts"`
	Target    string   `json:"target"` // what the limits are for: ratio, Redoubt's own figure, or none
	Redoubt   Side     `json:"redoubt"`
	Mosquitto Side     `json:"mosquitto"`
	Ratio     *float64 `json:"ratio"`
	RatioLow  *float64 `json:"ratio_low"`
	RatioHigh *float64 `json:"ratio_high"`
	Must      float64  `json:"must_reach"`
	Aim       float64  `json:"aim"`
	Verdict   string   `json:"verdict"`        // aim, reached, missed; empty: nothing to compare with
	Note      string   `json:"note,omitempty"` // why Mosquitto has no figure
}

// Side is one broker's part.
type Side struct {
	Best   float64   `json:"best"`
	Low    float64   `json:"low"`
	High   float64   `json:"high"`
	Runs   []float64 `json:"runs"`
	Failed []string  `json:"failed,omitempty"`
}

func (s *Side) judge(most bool) {
	if len(s.Runs) == 0 {
		return
	}
	s.Low, s.High = slices.Min(s.Runs), slices.Max(s.Runs)
	if s.Best = s.Low; most {
		s.Best = s.High
	}
}

// judge makes ratios of runs, and compares with the limits.
func (r *Row) judge() {
	most := r.Higher != r.Worst
	r.Redoubt.judge(most)
	r.Mosquitto.judge(most)
	r.compare()
	if len(r.Redoubt.Runs) == 0 || r.Target == "none" {
		return
	}
	x := r.Redoubt.Best
	if r.Target != "figure" {
		if r.Ratio == nil {
			return
		}
		x = *r.Ratio
	}
	reached := func(limit float64) bool { return !r.Higher && x <= limit || r.Higher && x >= limit }
	switch {
	case reached(r.Aim):
		r.Verdict = "aim"
	case reached(r.Must):
		r.Verdict = "reached"
	default:
		r.Verdict = "missed"
	}
}

// compare makes the ratio, where there is anything to divide by.
func (r *Row) compare() {
	if len(r.Redoubt.Runs) == 0 || len(r.Mosquitto.Runs) == 0 || r.Mosquitto.Low <= 0 {
		return
	}
	ratio := r.Redoubt.Best / r.Mosquitto.Best
	low, high := ratio, ratio
	for i := range min(len(r.Redoubt.Runs), len(r.Mosquitto.Runs)) {
		x := r.Redoubt.Runs[i] / r.Mosquitto.Runs[i]
		low, high = min(low, x), max(high, x)
	}
	r.Ratio, r.RatioLow, r.RatioHigh = &ratio, &low, &high
}

// limit writes one of the two in the table.
func (r *Row) limit(x float64) string {
	sign := "<= "
	if r.Higher {
		sign = ">= "
	}
	switch r.Target {
	case "none":
		return "-"
	case "figure":
		return sign + strconv.FormatFloat(x, 'g', -1, 64) + " itself"
	}
	return sign + strconv.FormatFloat(x, 'f', 2, 64)
}

// describe says what is compared, and on what.
func (l *lab) describe() *Results {
	res := &Results{When: l.clock.Now().UTC().Format(time.RFC3339), Rounds: l.rounds, Seconds: l.seconds, Scale: l.scale}
	first := func(name string, args ...string) string {
		text, _ := exec.Command(name, args...).CombinedOutput() // Mosquitto ends with 1 after its help
		line, _, _ := strings.Cut(string(text), "\n")
		return strings.TrimSpace(line)
	}
	res.Redoubt = first(l.redoubt, "version")
	if l.peer != "" {
		res.Mosquitto = first(l.peer, "-h")
	}
	res.Processor = strconv.Itoa(runtime.NumCPU()) + " cores"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name"); ok {
			name, _, _ := strings.Cut(rest, "\n")
			res.Processor += " of " + strings.TrimSpace(strings.TrimLeft(name, "\t: "))
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		res.Kernel = strings.TrimSpace(string(text))
	}
	return res
}

// table is table.txt.
func (res *Results) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nbeside %s\n", res.Redoubt, orNone(res.Mosquitto))
	fmt.Fprintf(&b, "%s, Linux %s, %s: broker and generator on one core each, %d rounds in turns, best of the rounds (of a promise the worst) and (range);\nthe limits are of the ratio, unless they are of the figure itself\n\n", res.Processor, res.Kernel, res.When, res.Rounds)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "row\twhat\tunit\tRedoubt\tMosquitto\tratio\tmust reach\taim\t")
	for i := range res.Rows {
		r := &res.Rows[i]
		ratio := "-"
		if r.Ratio != nil {
			ratio = fmt.Sprintf("%.2f (%.2f to %.2f)", *r.Ratio, *r.RatioLow, *r.RatioHigh)
		}
		fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, grouped(r.Clients), r.Title, r.Unit, r.Redoubt.text(), r.Mosquitto.text(), ratio, r.limit(r.Must), r.limit(r.Aim), r.Verdict)
	}
	_ = w.Flush() // to memory
	res.notes(&b)
	if res.Scale < 1 {
		fmt.Fprintf(&b, "\nWith %.2f of the clients: the limits are for all of them.\n", res.Scale)
	}
	if res.Rounds < 3 {
		b.WriteString("\nA result needs three rounds at least: this is a look.\n")
	}
	return b.String()
}

// notes says why a figure is missing.
func (res *Results) notes(b *strings.Builder) {
	for i := range res.Rows {
		r := &res.Rows[i]
		if r.Note != "" {
			fmt.Fprintf(b, "\n%s: %s.", r.Name, r.Note)
		}
		for _, s := range []struct {
			name string
			side *Side
		}{{"Redoubt", &r.Redoubt}, {"Mosquitto", &r.Mosquitto}} {
			if len(s.side.Failed) > 0 {
				fmt.Fprintf(b, "\n%s, %s: %d rounds failed: %s", r.Name, s.name, len(s.side.Failed), s.side.Failed[0])
			}
		}
	}
	b.WriteByte('\n')
}

func orNone(s string) string {
	if s == "" {
		return "nothing: there is no Mosquitto here"
	}
	return s
}

func (s *Side) text() string {
	if len(s.Runs) == 0 {
		if len(s.Failed) > 0 {
			return "failed"
		}
		return "-"
	}
	return fmt.Sprintf("%s (%s to %s)", figure(s.Best), figure(s.Low), figure(s.High))
}

// figure writes three digits.
func figure(x float64) string {
	if x >= 1000 {
		return grouped(int(x))
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// write leaves the three files in dir.
func (res *Results) write(dir, text string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"table.txt": []byte(text), "results.json": append(data, '\n'), "chart.svg": []byte(res.chart())} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
