package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/redoubtmq/redoubt/client/bench"
)

// floodRows are about strangers that never say who they are: each kind is one run with three
// figures.
var floodRows = slices.Concat(
	flood("silent", "silent", false, 1, .6),
	flood("hello", "half-hello", true, 1.5, 1),
	flood("stalled", "stalled", true, 40, 25),
)

const (
	bystanderPairs = 50
	bystanderRate  = 1000
	// floodBefore is ten seconds, so that p99 of a thousand messages a second has a hundred above it.
	floodBefore = 10 * time.Second
	// A stranger may stay ten seconds, and has to be seen for longer.
	floodDuring = 12 * time.Second
	// floodQuiet is for how long the strangers' process has its one pair alone, and floodCollect what it takes
	// to read memory after a collection.
	floodQuiet, floodCollect = time.Second, time.Second
	// floodAfter is how long the pairs have to connect before who brings the strangers begins. What that
	// one does first, connecting and its own warm-up included, ends when the pairs' warm-up does.
	floodAfter      = time.Second
	floodOwnWarmUp  = 500 * time.Millisecond
	bystanderWarmUp = floodAfter + floodOwnWarmUp + floodQuiet + floodCollect + 500*time.Millisecond
	// floodLonger is how long the strangers stay after the pairs were measured, so that their going
	// is in nobody's latency.
	floodLonger = time.Second
)

func flood(name, kind string, tls bool, must, aim float64) []row {
	what := map[string]string{"silent": "sockets that say nothing", "half-hello": "sockets with half a ClientHello", "stalled": "sockets that stall after ClientHello"}[kind]
	r := row{
		unit: kilobytes, must: must, aim: aim, own: true, zero: true, often: half, tls: tls, clients: 3000, group: "flood-" + name,
		try: func(l *lab, r *row, clients int, ours bool) (u *usage, err error) {
			err = l.try(r, ours, r.setup(), func(t *trial) error {
				u, err = beset(t, kind, clients)
				return err
			})
			return u, err
		},
	}
	size, life, latency := r, r, r
	size.name, size.title, size.value = "flood-"+name, what, strangerSize
	life.name, life.title, life.unit, life.must, life.aim, life.worst, life.value = "flood-"+name+"-life", what+": longest life", "s", 10, 10, true, strangerLife
	latency.name, latency.title, latency.unit, latency.must, latency.aim, latency.worst, latency.value = "flood-"+name+"-p99", what+": p99 of others", "times before", 2, 1.3, true, strangerLatency
	return []row{size, life, latency}
}

// bystanders are the arguments of those who are measured, in a process of their own: strangers of the
// same one would be in its way, and be measured as the broker's latency.
func bystanders(warmUp, duration time.Duration) []string {
	return []string{
		"pair", "-c", strconv.Itoa(bystanderPairs), "-q", "1", "--rate", strconv.Itoa(bystanderRate),
		"--warm-up", warmUp.String(), "--duration", duration.String(),
	}
}

// besiegers are the arguments of the strangers' process. The one pair that it has itself is no measure.
// Memory is read after a collection. Who has no collector is asked for none: to Mosquitto the same signal means to
// save.
func besiegers(kind string, clients int, ours bool) []string {
	args := []string{
		"flood", "-c", strconv.Itoa(clients), "--kind", kind, "--bystanders", "1", "--rate", "1",
		"--warm-up", floodOwnWarmUp.String(), "--before", floodQuiet.String(), "--duration", (floodDuring + floodLonger).String(),
	}
	if ours {
		args = append(args, "--collect")
	}
	return args
}

// beset measures pairs alone, and then while strangers come.
func beset(t *trial, kind string, clients int) (*usage, error) {
	defer t.aside()()
	first(t.b.cmd.Process.Pid)
	g, err := t.bystand(time.Second, floodBefore)
	if err != nil {
		return nil, err
	}
	u := &usage{}
	if u.before, err = g.report(t.lab); err != nil {
		return nil, err
	}
	if g, err = t.bystand(bystanderWarmUp, floodDuring); err != nil {
		return nil, err
	}
	if err = t.pause(floodAfter); err != nil {
		g.stop()
		return nil, err
	}
	strangers, err := t.begin(t.shared(t.r.door(), besiegers(kind, clients, t.ours)...))
	if err != nil {
		g.stop()
		return nil, err
	}
	whenIdle(strangers.cmd.Process.Pid)
	if u.during, err = g.report(t.lab); err != nil {
		strangers.stop()
		return nil, err
	}
	if u.report, err = strangers.report(t.lab); err != nil {
		return nil, fmt.Errorf("who was to bring strangers did not: %w", err)
	}
	if err := cameAll(u.report, clients); err != nil {
		return nil, err
	}
	if u.before.Latency != nil && u.during.Latency != nil {
		t.say("p99 of the pairs %s ms before, %s ms meanwhile; %d strangers came, and the broker closed %d", figure(u.before.Latency.P99), figure(u.during.Latency.P99), u.report.Flood.Opened, u.report.Flood.Closed)
	}
	return u, nil
}

// bystand begins with those who are measured.
func (t *trial) bystand(warmUp, duration time.Duration) (*generator, error) {
	g, err := t.begin(t.shared(t.r.door(), bystanders(warmUp, duration)...))
	if err == nil {
		nice(g.cmd.Process.Pid, firstNice)
	}
	return g, err
}

// shared is a call of a generator that shares its core with another one, and comes before or after it.
func (t *trial) shared(d door, args ...string) *call {
	c := t.call(d, args...)
	c.shared = true
	return c
}

// cameAll is an error where the flood was less than one.
func cameAll(rep *bench.Report, clients int) error {
	f := rep.Flood
	switch {
	case f == nil:
		return errors.New("who was to bring strangers said nothing of them")
	case f.Opened < int64(clients):
		return fmt.Errorf("%d of %d strangers came: what there was to endure was less than was asked for", f.Opened, clients)
	}
	return nil
}

// strangerSize is what each takes. Of a broker whose memory shrank meanwhile that is nothing: what they
// took was less than what it gave back.
func strangerSize(u *usage) float64 {
	f := u.report.Flood
	if f == nil || f.Resident == nil {
		return math.NaN()
	}
	return float64(max(0, *f.Resident)) / 1024
}

// strangerLife is that of the one that was open longest, whether or not it was closed in the end.
func strangerLife(u *usage) float64 {
	f := u.report.Flood
	if f == nil || f.Opened == 0 {
		return math.NaN()
	}
	return math.Round(max(f.LifeMax, f.Oldest)*10) / 10 // a timer of ten seconds ends some milliseconds later
}

// strangerLatency is the pairs' p99 beside strangers by what it was without. What the strangers'
// process measures is not in it.
func strangerLatency(u *usage) float64 {
	if u.before == nil || u.during == nil || u.before.Latency == nil || u.during.Latency == nil || u.before.Latency.P99 <= 0 {
		return math.NaN()
	}
	return u.during.Latency.P99 / u.before.Latency.P99
}
