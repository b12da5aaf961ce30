package main

import (
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
	often             float64 // this times the rounds: half where it takes long and moves little, twice where it moves much; 0: all
	disk              bool    // it is about what is on a disk
	tls               bool
	over              door                   // mTLS and WSS
	passwords         bool                   // Mosquitto asks for one, too
	clients           int                    // that scale scales
	args              func(n int) []string   // of redoubt bench, for so many clients
	value             func(u *usage) float64 // NaN, and 0 unless zero is set: there is none
	group             string                 // rows that stand together and have one are figures of the same run
	// run measures what the generator alone cannot, in place of args and value.
	run func(l *lab, r *row, clients int, ours bool) (float64, error)
	// try is run for rows that are figures of the same run, by value.
	try func(l *lab, r *row, clients int, ours bool) (*usage, error)
}

// usage is what one run is judged by.
type usage struct {
	report *bench.Report
	quiet  int64 // resident memory of the broker before, in bytes
	// before and during are those who were measured without and with what the row is about, where it
	// has processes of their own for them.
	before, during *bench.Report
}

const kilobytes = "KB each"

// load makes the arguments of a scenario with a count.
func load(scenario, count string, more ...string) func(int) []string {
	return func(n int) []string {
		return append([]string{scenario, count, strconv.Itoa(n)}, more...)
	}
}

// setup is what the row wants of the broker.
func (r *row) setup() *setup {
	return &setup{
		// Latency is compared with Mosquitto's option not to hold back small packets, and processor
		// time without, where it needs less of it.
		nodelay:   strings.HasPrefix(r.group, "flood-"), // rows about latency alone say it themselves
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
	if r.often == 0 {
		return n
	}
	return max(1, int(float64(n)*r.often))
}

const half, twice = .5, 2

// begin makes the row's line of the table, without figures.
func (r *row) begin(scale float64) *Row {
	out := &Row{Name: r.name, Title: r.title, Unit: r.unit, Must: r.must, Aim: r.aim, BestPeer: bestPeers[r.name], Higher: r.higher, Worst: r.worst, Target: "ratio", Clients: max(1, int(float64(r.clients)*scale))}
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
