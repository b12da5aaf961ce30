package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	// Threads says that broker and generator had two threads of one core.
	Threads bool `json:"threads_of_one_core"`
	// Interrupted says that rounds or rows are missing which were asked for.
	Interrupted bool  `json:"interrupted"`
	Rows        []Row `json:"rows"`
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
	fmt.Fprintf(&b, "%s, Linux %s, %s: broker and generator on one core each, rounds in turns: %d, best of the rounds (of a promise the worst) and (range), rows that take long with half of them, latency with twice as many;\nthe limits are of the ratio, unless they are of the figure itself\n\n", res.Processor, res.Kernel, res.When, res.Rounds)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "row\twhat\tunit\trounds\tRedoubt\tMosquitto\tratio\tby best peer\tmust reach\taim\t")
	for i := range res.Rows {
		r := &res.Rows[i]
		ratio := "-"
		if r.Ratio != nil {
			ratio = fmt.Sprintf("%.3f (%.3f to %.3f)", *r.Ratio, *r.RatioLow, *r.RatioHigh)
		}
		best := "-"
		if r.ByBest != nil {
			best = fmt.Sprintf("%.2f", *r.ByBest)
		}
		fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, grouped(r.Clients), r.Title, r.Unit, r.rounds(), r.Redoubt.text(), r.Mosquitto.text(), ratio, best, r.limit(r.Must), r.limit(r.Aim), r.Verdict)
	}
	_ = w.Flush() // to memory
	res.notes(&b)
	if res.Interrupted {
		b.WriteString("\nInterrupted: rounds or rows are missing, and a row whose rounds are not the same for both has no verdict.\n")
	}
	if res.Scale < 1 {
		fmt.Fprintf(&b, "\nWith %.2f of the clients: the limits are for all of them, so there are no verdicts.\n", res.Scale)
	}
	if res.Threads {
		b.WriteString("\nBroker and generator had two threads of one core, for want of another: each slowed the other down.\n")
	}
	if full := res.full(); len(full) > 0 {
		fmt.Fprintf(&b, "\nThe generator's core was full (%.2f or more) and the broker's was not: %s. Rates there are the generator's; processor time of the broker is not.\n", fullFrom, strings.Join(full, ", "))
	}
	if few := res.few(); len(few) > 0 {
		fmt.Fprintf(&b, "\nA result needs %d rounds at least; these are a look: %s.\n", roundsOfResult, strings.Join(few, ", "))
	}
	return b.String()
}

// fullFrom is how much of its core the generator may take before a rate is its own.
const fullFrom = .95

// full are rows in which the generator's core was full and the broker's was not, with both shares.
func (res *Results) full() (rows []string) {
	for i := range res.Rows {
		r := &res.Rows[i]
		var sides []string
		for _, s := range []struct {
			name string
			side *Side
		}{{"Redoubt", &r.Redoubt}, {"Mosquitto", &r.Mosquitto}} {
			if s.side.Busy >= fullFrom && s.side.BrokerBusy < fullFrom {
				sides = append(sides, fmt.Sprintf("%s: %.2f and %.2f", s.name, s.side.Busy, s.side.BrokerBusy))
			}
		}
		if len(sides) > 0 {
			rows = append(rows, fmt.Sprintf("%s (%s)", r.Name, strings.Join(sides, "; ")))
		}
	}
	return rows
}

// few are rows with fewer rounds than a result needs.
func (res *Results) few() (names []string) {
	for i := range res.Rows {
		if r := &res.Rows[i]; len(r.Redoubt.Runs) < roundsOfResult {
			names = append(names, r.Name)
		}
	}
	return names
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
				fmt.Fprintf(b, "\n%s, %s: %d of %d rounds failed: %s", r.Name, s.name, len(s.side.Failed), s.side.tried(), s.side.Failed[0])
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

// write leaves the three files in dir. Those of the last time are there beside them, as *.previous.
func (res *Results) write(dir, text string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"table.txt": []byte(text), "results.json": append(data, '\n'), "chart.svg": []byte(res.chart())} {
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+".previous"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
