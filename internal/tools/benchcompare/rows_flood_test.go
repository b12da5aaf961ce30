package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client/bench"
)

// Three figures of one flood: two by the process of the strangers, the latency by the one of the pairs.
func TestFiguresOfAFlood(t *testing.T) {
	p99 := func(ms float64) *bench.Report { return &bench.Report{Latency: &bench.Latency{P99: ms}} }
	size := int64(3 << 10)
	u := &usage{
		report: &bench.Report{Latency: &bench.Latency{P99: 90}, Flood: &bench.FloodReport{Opened: 9, Open: 4, Resident: &size, LifeMax: 7, P99Ratio: 60}},
		before: p99(2), during: p99(3),
	}
	for _, rs := range groups(floodRows) {
		if got := figures(rs, u); !slices.Equal(got, []float64{3, 7, 1.5}) {
			t.Errorf("%s: %v", rs[0].group, got)
		}
	}
	for name, u := range map[string]*usage{
		"no pairs before": {report: u.report, during: p99(3)},
		"none meanwhile":  {report: u.report, before: p99(3)},
		"nothing came":    {report: u.report, before: &bench.Report{}, during: p99(3)},
		"nothing later":   {report: u.report, before: p99(3), during: &bench.Report{}},
		"no time at all":  {report: u.report, before: p99(0), during: p99(3)},
	} {
		if got := strangerLatency(u); !math.IsNaN(got) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The pairs are measured long enough without strangers and with them, they are warm when those come and
// those are there until the pairs have ended; what memory grows by is seen beside the same pairs.
func TestProcessesOfAFlood(t *testing.T) {
	value := func(args []string, flag string) string {
		i := slices.Index(args, flag)
		if i < 0 || i+1 == len(args) {
			t.Fatalf("no %s in %q", flag, args)
		}
		return args[i+1]
	}
	lasts := func(args []string, flag string) time.Duration {
		d, err := time.ParseDuration(value(args, flag))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	pairs, strangers := bystanders(bystanderWarmUp, floodDuring), besiegers("stalled", 77, true)
	if slices.Contains(besiegers("stalled", 77, false), "--collect") || !slices.Contains(strangers, "--collect") {
		t.Error("Redoubt is to collect before its memory is read, and nobody else")
	}
	for _, want := range []string{"pair -c 50", "-q 1", "--rate 1000"} {
		if !strings.Contains(strings.Join(pairs, " "), want) {
			t.Errorf("no %q in %q", want, pairs)
		}
	}
	for _, want := range []string{"flood -c 77", "--kind stalled", "--bystanders 1"} {
		if !strings.Contains(strings.Join(strangers, " "), want) {
			t.Errorf("no %q in %q", want, strangers)
		}
	}
	if floodBefore*bystanderRate < 100*100*time.Second || lasts(strangers, "--before") < time.Second {
		t.Error("before was too short")
	}
	come := floodAfter + lasts(strangers, "--warm-up") + lasts(strangers, "--before") + floodCollect // after who measures has begun
	if warm := lasts(pairs, "--warm-up"); come > warm || warm > come+time.Second {
		t.Errorf("strangers come after %s, the pairs are warm after %s", come, warm)
	}
	if with := lasts(pairs, "--duration"); with <= 10*time.Second || lasts(strangers, "--duration") <= with {
		t.Errorf("%q, %q", pairs, strangers)
	}
	c := (&trial{r: &row{tls: true}, ours: true}).shared(overTLS, strangers...)
	if !c.shared || !c.named || c.door != overTLS {
		t.Errorf("%+v", c)
	}
}

// Redoubt is asked for a collection before memory is read, and nobody else.
func TestWhoIsAskedToCollect(t *testing.T) {
	if a, b := settling(true), settling(false); !slices.Contains(a, "--collect") || !slices.Equal(a[:len(a)-1], b) {
		t.Errorf("%q, %q", a, b)
	}
}

// A flood of fewer than were asked for is no flood, and its few messages are no rate that has to be kept.
func TestFloodsHaveToBeWhole(t *testing.T) {
	for n, c := range []struct {
		rep  bench.Report
		want string // of the error; empty: none
	}{
		{bench.Report{Flood: &bench.FloodReport{Opened: 3000}}, ""},
		{bench.Report{Flood: &bench.FloodReport{Opened: 2999}}, "2999 of 3000"},
		{bench.Report{}, "said nothing"},
	} {
		if err := cameAll(&c.rep, 3000); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d: %v", n, err)
		}
	}
	late := fmt.Sprintf(`{"seconds":13,"latency_ms":{"count":2},"flood":{"opened":%d}}`, 3000)
	if _, err := readReport(&call{args: besiegers("silent", 3000, true)}, []byte(late), nil, nil); err != nil {
		t.Error(err)
	}
	late = `{"seconds":12,"latency_ms":{"count":11000}}`
	if _, err := readReport(&call{args: bystanders(time.Second, floodDuring)}, []byte(late), nil, nil); err == nil {
		t.Error("pairs that did not keep the rate were measured")
	}
}

// A broker whose memory did not grow while strangers came has a figure, 0, which reaches what is asked, and
// table and JSON say so. One whose memory was not read has failed.
func TestMemoryThatDoesNotGrowIsAFigure(t *testing.T) {
	shrank := int64(-200)
	for name, c := range map[string]struct {
		resident      *int64
		verdict, says string
	}{
		"shrank":   {&shrank, "aim, 1 round", "flood-silent, Redoubt: memory did not grow in 1 of 1 rounds, which is 0 KB."},
		"not read": {nil, "failed", "flood-silent, Redoubt: 1 of 1 rounds failed: the run gave no figure"},
	} {
		of := &floodRows[0]
		rep := &bench.Report{Flood: &bench.FloodReport{Opened: 3000, Open: 3000, Resident: c.resident}}
		var log strings.Builder
		l := &lab{log: &log}
		l.remark(of, rep, true)
		r := of.begin(1)
		l.note(r, &r.Redoubt, of.name, 0, figures(floodRows[:1], &usage{report: rep}), 0, nil)
		r.judge(1)
		text := (&Results{Rounds: 1, Scale: 1, Rows: []Row{*r}}).table()
		if r.Verdict != c.verdict || !strings.Contains(text, c.says) {
			t.Errorf("%s: %q, no %q in\n%s", name, r.Verdict, c.says, text)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if has := strings.Contains(string(data), `"runs":[0]`); has != (c.resident != nil) {
			t.Errorf("%s: %s", name, data)
		}
		if has := strings.Contains(log.String(), "-200 bytes each"); has != (c.resident != nil) {
			t.Errorf("%s: %s", name, log.String())
		}
	}
}
