package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/client/bench"
)

// side has rounds that all gave a figure.
func side(runs ...float64) Side {
	var s Side
	for i, x := range runs {
		s.add(i, x)
	}
	return s
}

func TestRatiosAreBestByBest(t *testing.T) {
	less := Row{Must: .5, Aim: .3, Redoubt: side(4, 2, 3), Mosquitto: side(10, 8, 5)}
	less.judge(1)
	if *less.Ratio != .4 || *less.RatioLow != .25 || *less.RatioHigh != .6 || less.Verdict != "reached" {
		t.Errorf("%+v: %v %v %v", less, *less.Ratio, *less.RatioLow, *less.RatioHigh)
	}
	more := Row{Higher: true, Must: 1, Aim: 2, Redoubt: side(10, 30), Mosquitto: side(10, 15)}
	more.judge(1)
	if *more.Ratio != 2 || more.Verdict != "aim, 2 rounds" {
		t.Errorf("%+v", more)
	}
	missed := Row{Must: .5, Aim: .3, Redoubt: side(6), Mosquitto: side(10)}
	alone := Row{Must: .5, Aim: .3, Redoubt: side(6)}
	if missed.judge(1); missed.Verdict != "missed, 1 round" {
		t.Errorf("%+v", missed)
	}
	if alone.judge(1); alone.Ratio != nil || alone.Verdict != "" || alone.Redoubt.Best != 6 {
		t.Errorf("%+v", alone)
	}
}

// What is written can be read: the JSON as what it was, the chart as XML with a bar for each
// ratio.
func TestResultsAreWritten(t *testing.T) {
	res := &Results{Mosquitto: "mosquitto <2.0>", Rounds: 1, Scale: .5, Rows: []Row{
		{Name: "a", Title: "pairs & more", Unit: "s", Clients: 1000, Must: .5, Aim: .3, Redoubt: side(2), Mosquitto: side(10)},
		{Name: "c", Title: "itself", Unit: "s", Clients: 1, Must: .5, Aim: .2, Target: "figure", Redoubt: side(.25), Note: "it has <none>"},
		{Name: "d", Title: "lost", Unit: "%", Clients: 1, Target: "figure", Redoubt: side(0), Mosquitto: side(100)},
		{Name: "b", Title: "alone", Unit: "s", Clients: 1, Redoubt: side(2), Mosquitto: Side{Failed: []string{"x"}}},
	}}
	for i := range res.Rows {
		res.Rows[i].judge(1)
	}
	dir := filepath.Join(t.TempDir(), "results")
	text := res.table()
	for _, want := range []string{"1,000 pairs & more", "0.200 (0.200 to 0.200)", "failed", "0.50 of the clients", "3 rounds at least; these are a look: a, c, d, b.", "<= 0.5 itself", "c: it has <none>.", "1 of 1 rounds failed: x"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table has no %q:\n%s", want, text)
		}
	}
	if err := res.write(dir, text); err != nil {
		t.Fatal(err)
	}
	var back Results
	data, _ := os.ReadFile(filepath.Join(dir, "results.json"))
	if err := json.Unmarshal(data, &back); err != nil || len(back.Rows) != 4 || *back.Rows[0].Ratio != .2 {
		t.Errorf("%+v, %v", back, err)
	}
	chart, _ := os.ReadFile(filepath.Join(dir, "chart.svg"))
	d, bars := xml.NewDecoder(bytes.NewReader(chart)), 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("chart.svg: %v\n%s", err, chart)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if text := string(chart); !strings.Contains(text, "0 % (Mosquitto 100) aim, 1 round") || !strings.Contains(text, "0.25 s reached, 1 round") {
		t.Errorf("%s", text)
	}
	if bars != 3 { // the ground, a ratio, and a figure by its limit
		t.Errorf("%d rectangles", bars)
	}
}

func TestCommandLines(t *testing.T) {
	for want, args := range map[string][]string{
		`no row "x"`:      {"-rows", "p2p-q0,x"},
		"no row is named": {"-rows", ","},
		"rounds":          {"-rounds", "0"},
		"seconds":         {"-seconds", "0"},
		"scale":           {"-scale", "2"},
		"scale of NaN":    {"-scale", "NaN"},
		"-rows p2p-q0":    {"p2p-q0"},
		"port":            {"-port", "80"},
	} {
		var out strings.Builder
		if code := run(args, &out); code != 2 || !strings.Contains(out.String(), want) {
			t.Errorf("%q ended with %d: %s", args, code, out.String())
		}
	}
	some, err := choose("p2p-q1, p2p-q0")
	if err != nil || len(some) != 2 || some[0].name != "p2p-q0" {
		t.Errorf("%v, %v", some, err)
	}
}

// Each row has a command line that says how many clients, and a figure of what the generator
// answers.
func TestRows(t *testing.T) {
	rep := &bench.Report{
		Connections: bench.ConnectionsReport{Connected: 100, Resumed: 99}, Offline: &bench.OfflineReport{FillPerSec: 5},
		Broker: &bench.BrokerReport{CPUSeconds: 1, CPUPerMillion: 3, ResidentBytes: 300 << 10},
		Memory: &bench.MemoryReport{Each: 2048},
	}
	want := map[string]float64{"idle-tcp": 2, "p2p-q0": 3, "connect-tls": 100, "durable": 5}
	for _, r := range rows {
		if r.clients < 1 || r.must < 0 || r.aim < 0 || r.unit == "" || r.title == "" || (r.args != nil) == (r.run != nil || r.try != nil) {
			t.Errorf("%+v", r)
		}
		if r.args == nil {
			continue
		}
		if args := strings.Join(r.args(77), " "); !strings.Contains(args, " 77") {
			t.Errorf("%s: %s", r.name, args)
		}
		if want[r.name] == 0 {
			continue
		}
		got := r.value(&usage{report: rep, quiet: 100 << 10})
		if got != want[r.name] {
			t.Errorf("%s: %v, want %v", r.name, got, want[r.name])
		}
	}
}
