package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/client/bench"
)

// row is one line of the table: a load, and the one figure that is taken of it.
type row struct {
	name, title, unit string
	must, aim         float64 // of the ratio to Mosquitto, unless own says otherwise; both 0: none is set
	higher            bool    // more is better, and the limits are least ones
	own               bool    // the limits are for Redoubt's figure, and not for a ratio
	worst             bool    // the worst of the rounds counts: it is a promise, and no speed
	zero              bool    // nothing is a figure, too
	fewer             bool    // half of the rounds: it takes long, and moves little
	tls               bool
	over              door                   // mTLS and WSS
	passwords         bool                   // Mosquitto asks for one, too
	clients           int                    // that scale scales
	args              func(n int) []string   // of redoubt bench, for so many clients
	value             func(u *usage) float64 // NaN, and 0 unless zero is set: there is none
	group             string                 // rows that stand together and have one are figures of the same run
	// run measures what the generator alone cannot, in place of args and value.
	run func(l *lab, r *row, clients int, ours bool) (float64, error)
}

// usage is what one run is judged by.
type usage struct {
	report *bench.Report
	quiet  int64 // resident memory of the broker before, in bytes
}

func cpuPerMillion(u *usage) float64 { return u.report.Broker.CPUPerMillion }

func p99(u *usage) float64 {
	if u.report.Latency == nil {
		return 0
	}
	return u.report.Latency.P99
}

func filled(u *usage) float64 { return u.report.Offline.FillPerSec }

const (
	secondsPerMillion = "CPU s per million"
	kilobytes         = "KB each"
)

// load makes the arguments of a scenario with a count.
func load(scenario, count string, more ...string) func(int) []string {
	return func(n int) []string {
		return append([]string{scenario, count, strconv.Itoa(n)}, more...)
	}
}

// rows are those of the table of targets that the generator can make, by subject.
var rows = slices.Concat(memoryRows, messageRows, connectRows, startRows, floodRows)

// messageRows are about messages that flow.
var messageRows = []row{
	{name: "p2p-q0", title: "pairs, QoS 0", unit: secondsPerMillion, must: .25, aim: .17, clients: 1000, args: load("pair", "-c", "-q", "0"), value: cpuPerMillion},
	{name: "p2p-q1", title: "pairs, QoS 1", unit: secondsPerMillion, must: .21, aim: .14, clients: 1000, args: load("pair", "-c", "-q", "1"), value: cpuPerMillion},
	{name: "p2p-q2", title: "pairs, QoS 2", unit: secondsPerMillion, must: .12, aim: .09, clients: 1000, args: load("pair", "-c", "-q", "2"), value: cpuPerMillion},
	{name: "fanout-q0", title: "subscribers of one publisher, QoS 0", unit: secondsPerMillion, must: .29, aim: .21, clients: 1000, args: load("fan", "--fan-out", "-q", "0"), value: cpuPerMillion},
	{name: "fanout-q1", title: "subscribers of one publisher, QoS 1", unit: secondsPerMillion, must: .31, aim: .22, clients: 1000, args: load("fan", "--fan-out", "-q", "1"), value: cpuPerMillion},
	{name: "fanin-q1", title: "publishers to one subscriber, QoS 1", unit: secondsPerMillion, must: .13, aim: .10, clients: 50, args: load("fan", "--fan-in", "-q", "1"), value: cpuPerMillion},
	{name: "share-q1", title: "publishers to a $share of 5, QoS 1", unit: secondsPerMillion, must: .28, aim: .18, clients: 50, args: load("fan", "--fan-in", "--share", "5", "-q", "1"), value: cpuPerMillion},
	{name: "p2p-tls", title: "pairs over TLS, QoS 1", unit: secondsPerMillion, must: .23, aim: .15, tls: true, clients: 100, args: load("pair", "-c", "-q", "1"), value: cpuPerMillion},
	{name: "wildcard", title: "pairs with 2,000 wildcard filters each, QoS 0", unit: secondsPerMillion, must: .23, aim: .17, clients: 50, args: load("pair", "-c", "-q", "0", "--wildcards", "2000"), value: cpuPerMillion},
	{name: "p99", title: "pairs at 10,000 msg/s, QoS 1: p99", unit: "ms", must: 1.2, aim: 1.0, clients: 1000, args: load("pair", "-c", "-q", "1", "--rate", "10000"), value: p99},
	{name: "durable", title: "sessions that are away, QoS 1: acknowledged", unit: "a second", must: 1.0, aim: 2.0, higher: true, clients: 1000, args: load("offline", "-c", "--messages", "100", "-q", "1"), value: filled},
}

func rowNames() []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

// choose finds rows by name, in the order of the table.
func choose(names string) ([]row, error) {
	if names == "" {
		return rows, nil
	}
	wanted := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })
	for _, n := range wanted {
		if !slices.Contains(rowNames(), n) {
			return nil, fmt.Errorf("there is no row %q; there are %s", n, strings.Join(rowNames(), ", "))
		}
	}
	var out []row
	for _, r := range rows {
		if slices.Contains(wanted, r.name) {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no row is named; there are %s", strings.Join(rowNames(), ", "))
	}
	return out, nil
}

// setup is what the row wants of the broker.
func (r *row) setup() *setup {
	return &setup{
		// Latency is compared with Mosquitto's option not to hold back small packets, and processor
		// time without, where it needs less of it.
		nodelay:   r.name == "p99",
		passwords: r.passwords,
		wss:       r.over == overWSS,
	}
}

// door is where its clients connect.
func (r *row) door() door {
	if r.tls {
		return overTLS
	}
	return r.over
}

// call is a run of the generator for the row. Who has a certificate needs no name, and Mosquitto
// without passwords is measured without.
func (r *row) call(b *broker, ours bool, args []string) *call {
	return &call{b: b, named: r.door() != overMTLS && (ours || r.passwords), door: r.door(), args: args}
}

// rounds is how many it has of those that are asked for.
func (r *row) rounds(n int) int {
	if r.fewer {
		return max(1, n/2)
	}
	return n
}

// begin makes the row's line of the table, without figures.
func (r *row) begin(scale float64) *Row {
	out := &Row{Name: r.name, Title: r.title, Unit: r.unit, Must: r.must, Aim: r.aim, Higher: r.higher, Worst: r.worst, Target: "ratio", Clients: max(1, int(float64(r.clients)*scale))}
	switch {
	case r.own:
		out.Target = "figure"
	case r.must == 0 && r.aim == 0:
		out.Target = "none"
	}
	return out
}

// groups are rows that are measured together.
func groups(rs []row) (out [][]row) {
	for _, r := range rs {
		if n := len(out); n > 0 && r.group != "" && out[n-1][0].group == r.group {
			out[n-1] = append(out[n-1], r)
			continue
		}
		out = append(out, []row{r})
	}
	return out
}

// timed tells whether a run lasts as long as it is told to.
func (r *row) timed() bool {
	if r.args == nil {
		return false
	}
	s := r.args(1)[0]
	return s == "pair" || s == "fan"
}
