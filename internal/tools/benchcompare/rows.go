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

func perConnection(u *usage) float64 {
	n := u.report.Connections.Connected
	if n == 0 {
		return 0
	}
	return float64(u.report.Broker.ResidentBytes-u.quiet) / float64(n) / 1024
}

func cpuPerConnects(u *usage) float64 {
	n := u.report.Connections.Connected
	if n == 0 {
		return 0
	}
	return u.report.Broker.CPUSeconds / float64(n) * 10000
}

func p99(u *usage) float64 {
	if u.report.Latency == nil {
		return 0
	}
	return u.report.Latency.P99
}

func filled(u *usage) float64 { return u.report.Offline.FillPerSec }

// hold is how long idle connections stay before memory is read, so that a collector can give back
// what the ramp left.
const hold = "20s"

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

// rows are those of the table of targets that the generator can make.
var rows = []row{
	{"idle-tcp", "idle TCP connections, 1 subscription", kilobytes, 1.0, .75, false, false, 15000, load("conn", "-c", "--subscribe", "--hold", hold), perConnection},
	{"idle-tls", "idle TLS 1.3 connections, 1 subscription", kilobytes, .75, .65, false, true, 10000, load("conn", "-c", "--subscribe", "--hold", hold), perConnection},
	{"p2p-q0", "pairs, QoS 0", secondsPerMillion, .25, .17, false, false, 1000, load("pair", "-c", "-q", "0"), cpuPerMillion},
	{"p2p-q1", "pairs, QoS 1", secondsPerMillion, .21, .14, false, false, 1000, load("pair", "-c", "-q", "1"), cpuPerMillion},
	{"p2p-q2", "pairs, QoS 2", secondsPerMillion, .12, .09, false, false, 1000, load("pair", "-c", "-q", "2"), cpuPerMillion},
	{"fanout-q0", "subscribers of one publisher, QoS 0", secondsPerMillion, .29, .21, false, false, 1000, load("fan", "--fan-out", "-q", "0"), cpuPerMillion},
	{"fanout-q1", "subscribers of one publisher, QoS 1", secondsPerMillion, .31, .22, false, false, 1000, load("fan", "--fan-out", "-q", "1"), cpuPerMillion},
	{"fanin-q1", "publishers to one subscriber, QoS 1", secondsPerMillion, .13, .10, false, false, 50, load("fan", "--fan-in", "-q", "1"), cpuPerMillion},
	{"share-q1", "publishers to a $share of 5, QoS 1", secondsPerMillion, .28, .18, false, false, 50, load("fan", "--fan-in", "--share", "5", "-q", "1"), cpuPerMillion},
	{"p2p-tls", "pairs over TLS, QoS 1", secondsPerMillion, .23, .15, false, true, 100, load("pair", "-c", "-q", "1"), cpuPerMillion},
	{"wildcard", "pairs with 2,000 wildcard filters each, QoS 0", secondsPerMillion, .23, .17, false, false, 50, load("pair", "-c", "-q", "0", "--wildcards", "2000"), cpuPerMillion},
	{"connect-tls", "TLS connects", "CPU s per 10,000", 1.05, .95, false, true, 3000, load("conn", "-c"), cpuPerConnects},
	{"p99", "pairs at 10,000 msg/s, QoS 1: p99", "ms", 1.2, 1.0, false, false, 1000, load("pair", "-c", "-q", "1", "--rate", "10000"), p99},
	{"durable", "sessions that are away, QoS 1: acknowledged", "a second", 1.0, 2.0, true, false, 1000, load("offline", "-c", "--messages", "100", "-q", "1"), filled},
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
