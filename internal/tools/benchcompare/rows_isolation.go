package main

import (
	"fmt"
	"time"
)

// isolationRows are what one client that misbehaves does to others: their p99 meanwhile, by what it
// was before with the same broker.
var isolationRows = []row{
	isolation("fast", "publishes QoS 0 as fast as it can"),
	isolation("unread", "subscribes to everything and reads nothing"),
	isolation("aliases", "binds every topic alias again and again", "-V", "5"),
	isolation("filters", "subscribes to filters without an end"),
}

// isolationPairs send few messages, so that it is the one client that the broker is busy with.
const isolationPairs = 200

func isolation(kind, what string, more ...string) row {
	return row{
		name: "isolation-" + kind, title: "pairs at 10 msg/s each, QoS 1, one client " + what + ": p99", unit: "times before",
		must: 2, aim: 2, own: true, worst: true, often: half, clients: isolationPairs,
		run: func(l *lab, r *row, clients int, ours bool) (x float64, err error) {
			err = l.try(r, ours, &setup{nodelay: true}, func(t *trial) error {
				x, err = isolate(t, clients, append([]string{"rogue", "--kind", kind, "--duration", "60"}, more...))
				return err
			})
			return x, err
		},
	}
}

// isolate measures pairs alone, and then beside the client that misbehaves.
func isolate(t *trial, clients int, rogue []string) (float64, error) {
	g, err := t.measured(pairsAtRate(clients, 2*t.seconds, time.Second)...)
	if err != nil {
		return 0, err
	}
	before, err := g.report(t.lab)
	if err != nil {
		return 0, err
	}
	g, err = t.measured(pairsAtRate(clients, 2*t.seconds, latencyWarmUp)...)
	if err != nil {
		return 0, err
	}
	if err := t.pause(besideAfter); err != nil {
		g.stop()
		return 0, err
	}
	m := t.meanwhile(func(stop <-chan struct{}) error {
		return t.beside(stop, overTCP, rogue...)
	})
	during, err := g.report(t.lab)
	if wrong := m.end(); err == nil && wrong != nil {
		err = fmt.Errorf("who was to misbehave did not: %w", wrong)
	}
	if err == nil {
		err = t.side.judge()
	}
	if err != nil {
		return 0, err
	}
	if before.Latency == nil || during.Latency == nil || before.Latency.P99 <= 0 {
		return 0, fmt.Errorf("a run gave no latency")
	}
	t.say("p99 %s ms before, %s ms meanwhile; p99.9 %s and %s%s", figure(before.Latency.P99), figure(during.Latency.P99), figure(before.Latency.P999), figure(during.Latency.P999), t.side.text())
	return during.Latency.P99 / before.Latency.P99, nil
}
