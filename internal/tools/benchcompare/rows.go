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
	must, aim         float64 // of the ratio to Mosquitto
	higher            bool    // more is better, and the ratios are least ones
	tls               bool
	clients           int                    // that scale scales
	args              func(n int) []string   // of redoubt bench, for so many clients
	value             func(u *usage) float64 // 0: there is none
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
var rows = slices.Concat(memoryRows, messageRows, connectRows)

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

// nodelay tells whether Mosquitto is not to hold back small packets, as its option says: latency
// is compared with that, and processor time without, where it needs less of it.
func (r *row) nodelay() bool { return r.name == "p99" }

// timed tells whether a run lasts as long as it is told to.
func (r *row) timed() bool {
	s := r.args(1)[0]
	return s == "pair" || s == "fan"
}
