package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/client/bench"
)

// disturbance is what happens while latency is measured.
type disturbance struct {
	name, what string
	redoubt    setup // how Redoubt is started for it
	least      int   // seconds that are measured, or it would not happen
	// alone says why Mosquitto has nothing like it; empty: it has.
	alone string
	// before makes what has to be there; nil: nothing.
	before func(t *trial, clients int) error
	// again does it once; nil: nothing happens.
	again func(t *trial, clients, turn int, stop <-chan struct{}) error
	// happened judges whether it did, by the broker's own word; nil: that it was done is enough.
	happened func(t *trial, before evidence) error
	evidence func(t *trial) evidence // as of now
}

// evidence are figures of the broker that tell that something happened.
type evidence struct {
	began    time.Time
	ended    time.Time // when latency had been measured
	counter  float64
	resident float64
}

const (
	latencyPairs = 1000
	// latencyEach is how many messages a second each pair has: 10,000 for all.
	latencyEach = 10
	// latencyWarmUp is longer than connecting takes; what happens beside begins before it is over.
	latencyWarmUp = 3 * time.Second
	besideAfter   = 2500 * time.Millisecond
)

var disturbances = []disturbance{
	{name: "latency"},
	{name: "latency-storm", what: "while clients connect over TLS", again: func(t *trial, clients, _ int, stop <-chan struct{}) error {
		return t.beside(stop, overTLS, "conn", "-c", strconv.Itoa(max(1, clients/2)))
	}},
	{name: "latency-gc", what: "while the collector runs", alone: "it has no collector", redoubt: setup{environ: []string{"GODEBUG=gctrace=1"}},
		before: retain, again: churn, evidence: began, happened: collected},
	{name: "latency-store", what: "while segments are dropped and the index compacts", redoubt: setup{settings: "store: { segment_bytes: 1MiB }\n"}, least: 12, // it looks every five
		again: func(t *trial, clients, _ int, stop <-chan struct{}) error {
			return t.beside(stop, overTCP, "offline", "-c", strconv.Itoa(max(1, clients/5)), "--messages", "50", "-S", "1024", "-q", "1", "-t", "bench/away")
		}, evidence: logged, happened: dropped},
	{name: "latency-stall", what: "while a subscriber of everything hardly reads", again: func(t *trial, _, _ int, stop <-chan struct{}) error {
		return t.beside(stop, overTCP, "rogue", "--kind", "dawdles", "-q", "1", "--duration", "60")
	}},
	{name: "latency-reload", what: "while the rules are reloaded", again: reload, evidence: reloads, happened: reloaded},
	{name: "latency-retained", what: "while 100,000 retained messages go to somebody else", before: retain, again: func(t *trial, _, _ int, stop <-chan struct{}) error {
		return t.beside(stop, overTCP, "sub", "-c", "1", "-t", "bench/kept", "--warm-up", "0", "--duration", "1")
	}},
}

// undisturbed is how many rows come first that are about latency and nothing else.
const undisturbed = 3

// often is how many rounds it has. A p99 by itself moves by half from run to run, on a machine
// that others use, for every broker alike.
func (d *disturbance) often() float64 {
	if d.again == nil {
		return twice
	}
	return half
}

// latencyRows have three figures of each run.
var latencyRows = func() (out []row) {
	for _, d := range disturbances {
		r := row{unit: "ms", clients: latencyPairs, group: d.name, often: d.often(), disk: d.name == "latency-store", try: d.try}
		p50, p99, p999 := r, r, r
		title := fmt.Sprintf("pairs at %d msg/s each, QoS 1", latencyEach)
		if d.what != "" {
			title += ", " + d.what
		}
		p50.name, p50.title, p50.value = d.name+"-p50", title+": p50", func(u *usage) float64 { return u.report.Latency.P50 }
		p99.name, p99.title, p99.value = d.name+"-p99", title+": p99", func(u *usage) float64 { return u.report.Latency.P99 }
		p999.name, p999.title, p999.value = d.name+"-p999", title+": p99.9", func(u *usage) float64 { return u.report.Latency.P999 }
		if d.again == nil {
			p99.must, p99.aim = 1.2, 1.0
		}
		out = append(out, p50, p99, p999)
	}
	return out
}()

// try measures it.
func (d *disturbance) try(l *lab, r *row, clients int, ours bool) (*usage, error) {
	if !ours && d.alone != "" {
		return nil, noPeer(d.alone)
	}
	s := setup{nodelay: true}
	if ours {
		s = d.redoubt
	}
	u := &usage{}
	var judge func() error
	err := l.try(r, ours, &s, func(t *trial) (err error) {
		if d.before != nil {
			if err := d.before(t, clients); err != nil {
				return err
			}
		}
		u.report, judge, err = d.measure(t, clients)
		return err
	})
	if err == nil && judge != nil { // some of what the broker says is read when it has ended
		err = judge()
	}
	if err == nil && u.report.Latency == nil {
		err = errors.New("the run gave no figure")
	}
	return u, err
}

// measure has the pairs send, and the other thing happen from before their measured time on.
func (d *disturbance) measure(t *trial, clients int) (*bench.Report, func() error, error) {
	g, err := t.measured(pairsAtRate(clients, max(2*t.seconds, d.least), latencyWarmUp)...)
	if err != nil {
		return nil, nil, err
	}
	if d.again == nil {
		rep, err := g.report(t.lab)
		return rep, nil, err
	}
	if err := t.pause(besideAfter); err != nil {
		g.stop()
		return nil, nil, err
	}
	var seen evidence
	if d.evidence != nil {
		seen = d.evidence(t)
	}
	turn := 0
	m := t.meanwhile(func(stop <-chan struct{}) error {
		turn++
		return d.again(t, clients, turn, stop)
	})
	rep, err := g.report(t.lab)
	seen.ended = t.clock.Now()
	if wrong := m.end(); err == nil && wrong != nil {
		err = fmt.Errorf("what was to happen meanwhile did not: %w", wrong)
	}
	if err == nil {
		err = t.side.judge()
	}
	if err != nil {
		return nil, nil, err
	}
	t.say("%s: %d times%s", d.what, m.times, t.side.text())
	if d.happened == nil || !t.ours {
		return rep, nil, nil
	}
	if d.redoubt.environ != nil {
		return rep, func() error { return d.happened(t, seen) }, nil
	}
	return rep, nil, d.happened(t, seen)
}

// pairsAtRate are the arguments of pairs that send at a fixed rate.
func pairsAtRate(clients, seconds int, warmUp time.Duration, more ...string) []string {
	return append([]string{
		"pair", "-c", strconv.Itoa(clients), "-q", "1", "--rate", strconv.Itoa(clients * latencyEach),
		"--warm-up", warmUp.String(), "--duration", strconv.Itoa(seconds),
	}, more...)
}

// retain makes retained messages stay: a hundred for each pair, 100,000 in all.
func retain(t *trial, clients int) error {
	_, err := t.run("retained", "-c", strconv.Itoa(clients*100), "-S", "256", "-t", "bench/kept", "--times", "0", "--keep")
	return err
}

// churn makes garbage: clients come with subscriptions and go, again and again.
func churn(t *trial, clients, _ int, stop <-chan struct{}) error {
	return t.beside(stop, overTCP, "conn", "-c", strconv.Itoa(clients), "--wildcards", "20", "-t", "bench/churn")
}

func began(t *trial) evidence { return evidence{began: t.clock.Now()} }

// collected reads what the runtime wrote of its collections, once the broker has ended.
func collected(t *trial, before evidence) error {
	n := collections(t.b.text.String(), before.began.Sub(t.b.began), before.ended.Sub(t.b.began))
	t.say("the collector ran %d times meanwhile", n)
	if n == 0 {
		return errors.New("the collector did not run while latency was measured: there is nothing to show")
	}
	return nil
}

// collections counts the lines of GODEBUG=gctrace=1 that are of a time between two after the start:
// "gc 7 @3.210s 1%: ...".
func collections(text string, after, before time.Duration) (n int) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "gc" {
			continue
		}
		at, err := time.ParseDuration(strings.TrimPrefix(f[2], "@"))
		if err == nil && after <= at && at <= before {
			n++
		}
	}
	return n
}

// logged is how much the log has taken, and how much of it is there.
func logged(t *trial) evidence {
	return evidence{counter: t.metric("redoubt_store_written_bytes_total"), resident: t.metric("redoubt_store_log_bytes")}
}

// dropped judges by bytes: what was written and is not there is in segments that are gone.
func dropped(t *trial, before evidence) error {
	now := logged(t)
	gone := before.resident + now.counter - before.counter - now.resident
	t.say("%.1f MiB were written meanwhile, and %.1f MiB of segments dropped", (now.counter-before.counter)/(1<<20), gone/(1<<20))
	if !(gone >= 1<<20) { // NaN is not
		return errors.New("no segment was dropped while latency was measured: there is nothing to show")
	}
	return nil
}

// reloadEvery is how often the rules change.
const reloadEvery = 250 * time.Millisecond

// reload changes the file of rules, so that it is not the same as before, and says so with SIGHUP.
func reload(t *trial, clients, turn int, stop <-chan struct{}) error {
	if t.ours {
		if err := os.WriteFile(t.path("data/rules.yaml"), manyRules(clients, turn), 0o600); err != nil {
			return err
		}
	}
	if err := t.b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	select {
	case <-stop:
	case <-time.After(reloadEvery):
	}
	return nil
}

// manyRules are those of the bench behind as many as there are pairs, which are others every other
// time.
func manyRules(n, turn int) []byte {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - id: other-%d\n    deny: publish\n    users: [nobody-%d]\n    topics: [\"elsewhere/%d/#\"]\n", i, i, i+turn%2)
	}
	b.WriteString("  - id: bench\n    allow: all\n    users: [bench]\n    topics: [\"bench/#\"]\n")
	return []byte(b.String())
}

func reloads(t *trial) evidence {
	return evidence{counter: t.metric(`redoubt_config_reloads_total{result="applied"}`)}
}

func reloaded(t *trial, before evidence) error {
	n := reloads(t).counter - before.counter
	t.say("%.0f reloads were applied meanwhile", n)
	if !(n >= 1) { // NaN is not
		return errors.New("no reload was applied while latency was measured: there is nothing to show")
	}
	return nil
}
