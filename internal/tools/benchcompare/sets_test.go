package main

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client/bench"
)

// Rows are asked for by name or by subject; what takes long is measured only where it is asked for.
func TestSetsOfRows(t *testing.T) {
	named := func(rs []row) (out []string) {
		for _, r := range rs {
			out = append(out, r.name)
		}
		return out
	}
	usual, err := choose("")
	if err != nil || !slices.Contains(named(usual), "p2p-v5") || !slices.Contains(named(usual), "latency-p99") || slices.Contains(named(usual), "latency-storm-p99") || slices.Contains(named(usual), "isolation-fast") {
		t.Errorf("%v, %v", named(usual), err)
	}
	some, err := choose("isolation,p2p-q0 latency-gc-p99")
	if want := []string{"p2p-q0", "latency-gc-p99", "isolation-fast", "isolation-unread", "isolation-aliases", "isolation-filters"}; err != nil || !slices.Equal(named(some), want) {
		t.Errorf("%v, %v", named(some), err)
	}
	if all, err := choose(everything); err != nil || len(all) != len(rows) || len(all) <= len(usual) {
		t.Errorf("%d of %d rows, %v", len(all), len(rows), err)
	}
	if _, err := choose("latencies"); err == nil || !strings.Contains(err.Error(), "memory, messages, connects") {
		t.Errorf("%v", err)
	}
	if of, err := choose("latency"); err != nil || len(of) != len(latencyRows) || slices.Index(setNames(), "latency") != slices.Index(setNames(), "growth")-1 {
		t.Errorf("%v, %v, %v", named(of), setNames(), err)
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.name] || slices.Contains(setNames(), r.name) || r.name == everything {
			t.Errorf("%q is the name of two things", r.name)
		}
		seen[r.name] = true
	}
}

// The page has each subject, and says how it is measured.
func TestSetsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/performance/comparison.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range setNames() {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/performance/comparison.md has no %q", name)
		}
	}
}

// The rows about messages, sizes and latency take the right figure of what the generator says.
func TestFiguresOfMessages(t *testing.T) {
	u := &usage{report: &bench.Report{
		Payload: 65536, Broker: &bench.BrokerReport{CPUPerMillion: 131.072}, Latency: &bench.Latency{P50: 1, P99: 2, P999: 3},
		Offline: &bench.OfflineReport{CPUFill: .5}, Sent: &bench.SentReport{Acknowledged: 250000},
	}}
	for name, want := range map[string]float64{
		"p2p-64k": 2, "p2p-4k": 131.072, "durable-cpu": 2, "retained-cpu": 131.072, "latency-storm-p50": 1, "latency-p99": 2, "latency-store-p999": 3,
	} {
		i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
		if got := rows[i].value(u); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if x := costOfFill(&bench.Report{Offline: &bench.OfflineReport{CPUFill: 1}, Sent: &bench.SentReport{}}); x != 0 {
		t.Errorf("of nothing acknowledged: %v", x)
	}
	for n, want := range map[int]float64{1000: 1.33, 1500: 1.31, 10000: 1.25} {
		if got := logarithm(n); got != want {
			t.Errorf("from %d to ten times as much: %v, want %v", n, got, want)
		}
	}
	for _, r := range slices.Concat(messageRows, latencyRows) {
		if (r.must == 0) != (r.aim == 0) || r.begin(1).Target == "none" && r.must != 0 {
			t.Errorf("%s: %v and %v", r.name, r.must, r.aim)
		}
	}
}

func TestCollectionsAreCounted(t *testing.T) {
	const text = "redoubt is ready\n" +
		"gc 1 @0.005s 4%: 0.01+0.5+0.02 ms clock, 0.02+0.1/0.3/0+0.05 ms cpu, 3->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P\n" +
		"gc 2 @3.210s 1%: 0.01+0.5+0.02 ms clock, 0.02+0.1/0.3/0+0.05 ms cpu, 3->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P (forced)\n" +
		"gc 3 @12.000s 1%: x\ngc is not that\ngc 4 @never\n"
	for after, want := range map[time.Duration]int{0: 3, 3 * time.Second: 2, 12 * time.Second: 1, time.Minute: 0} {
		if got := collections(text, after, time.Hour); got != want {
			t.Errorf("after %s: %d, want %d", after, got, want)
		}
	}
	if got := collections(text, time.Second, 10*time.Second); got != 1 { // what came when all was over shows nothing
		t.Errorf("between: %d, want 1", got)
	}
}

func TestSeriesAreRead(t *testing.T) {
	const text = "# HELP a_total of a\na_total 5\na_total_more 6\nb{x=\"y\"} 1.5e+06\nc nothing\n"
	for name, want := range map[string]float64{"a_total": 5, `b{x="y"}`: 1.5e6, "c": 0, "d": 0} {
		if got := series(text, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// The rules differ from one time to the next, and always end with those of the bench.
func TestReloadedRulesDiffer(t *testing.T) {
	a, b := string(manyRules(3, 1)), string(manyRules(3, 2))
	if a == b || strings.Count(a, "- id: ") != 4 || !strings.Contains(a, `topics: ["bench/#"]`) || !strings.HasSuffix(a, b[strings.LastIndex(b, "  - id"):]) {
		t.Errorf("%s\n%s", a, b)
	}
}

// A version that a row names goes after ours, which is how the last one counts.
func TestRowsMayNameAVersion(t *testing.T) {
	l := &lab{settings: &settings{first: portFirst}, dir: "x"}
	argv := l.arguments(&call{b: &broker{}, lossy: true, args: []string{"pair", "-c", "5", "-V", "5"}})
	if text := strings.Join(argv, " "); !strings.HasPrefix(text, "bench pair -V 311 -c 5 -V 5 ") {
		t.Errorf("%s", text)
	}
}

// What happens beside a measurement is done until it is over; what goes wrong is told.
func TestMeanwhile(t *testing.T) {
	l := &lab{}
	began := make(chan struct{}, 100)
	m := l.meanwhile(func(stop <-chan struct{}) error {
		began <- struct{}{}
		select {
		case <-stop:
			return os.ErrClosed // cut off
		case <-time.After(time.Millisecond):
			return nil
		}
	})
	for range 3 {
		<-began
	}
	if err := m.end(); err != nil || m.times < 3 {
		t.Errorf("%d times, %v", m.times, err)
	}
	failed := make(chan struct{})
	m = l.meanwhile(func(<-chan struct{}) error { defer close(failed); return os.ErrInvalid })
	<-failed
	for len(m.ended) == 0 {
		runtime.Gosched()
	}
	if err := m.end(); err != os.ErrInvalid {
		t.Errorf("what went wrong before is %v", err)
	}
}
