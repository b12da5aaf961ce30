package main

import (
	"errors"
	"math"
	"strconv"
	"time"
)

// growthRows are what a message costs when there is ten times as much of something, by what it cost
// before, with the same broker. It may grow by a logarithm: from n to 10 n by log 10 n / log n.
var growthRows = []row{
	growth("connections", "idle connections, up from a tenth: a message of pairs", 15000, besideIdle),
	growth("sessions", "sessions that are away, up from a tenth: a message of pairs", 10000, besideSessions),
	growth("subscriptions", "wildcard filters, up from a tenth: a message of pairs", 100000, amongFilters),
	growth("retained", "retained messages, up from a tenth: one of them delivered", 100000, ofRetained),
	growth("stored", "messages in store, up from a tenth: another one stored", 100000, uponStored),
	{
		name: "growth-loops", title: "pairs: a message with two event loops, by one with half of the load", unit: timesTheCost,
		often: half, clients: 1000, run: twoLoops,
	},
}

const timesTheCost = "times the cost"

// growthPairs send what is measured.
const growthPairs = 100

func logarithm(n int) float64 { return math.Round(100*(1+1/math.Log10(float64(n)))) / 100 }

// growth makes a row of n at full size, and cost the cost of a message with so many.
func growth(name, title string, n int, costs func(t *trial, few, many int) (float64, float64, error)) row {
	limit := logarithm(n / 10)
	return row{
		name: "growth-" + name, title: title, unit: timesTheCost, must: limit, aim: limit, own: true, often: half, disk: name == "stored", clients: n,
		run: func(l *lab, r *row, clients int, ours bool) (x float64, err error) {
			err = l.try(r, ours, &setup{}, func(t *trial) error {
				few, many, err := costs(t, max(1, clients/10), clients)
				if err != nil {
					return err
				}
				t.say("%s and %s CPU s per million", figure(few), figure(many))
				x = many / few
				return nil
			})
			return x, err
		},
	}
}

// besideIdle measures pairs beside connections that stay and do nothing.
func besideIdle(t *trial, few, many int) (a, b float64, err error) {
	at := func(n int) (x float64, err error) {
		g, err := t.begin(t.call(overTCP, "conn", "-c", strconv.Itoa(n), "--subscribe", "--hold", "600", "-t", "bench/idle"))
		if err != nil {
			return 0, err
		}
		defer g.stop()
		if err := t.crowd(n); err != nil {
			return 0, err
		}
		if err := t.pause(idleAfter); err != nil { // the last of them subscribe
			return 0, err
		}
		if x, err = t.cost(growthPairs); err == nil && !g.runs() {
			err = errors.New("who was to be idle went away meanwhile")
		}
		return x, err
	}
	if a, err = at(few); err == nil {
		b, err = at(many)
	}
	return a, b, err
}

const idleAfter = time.Second

// besideSessions measures pairs beside sessions that nobody has come for.
func besideSessions(t *trial, few, many int) (a, b float64, err error) {
	return growing(t, few, many, func(n int, names string) error {
		_, err := t.run("offline", "-c", strconv.Itoa(n), "--messages", "1", "-q", "1", "--undrained", "-t", "bench/away/"+names, "-I", names)
		return err
	}, func() (float64, error) { return t.cost(growthPairs) })
}

// growing adds up to few, measures, adds up to many and measures again.
func growing(t *trial, few, many int, add func(n int, names string) error, cost func() (float64, error)) (a, b float64, err error) {
	if err = add(few, "few-"); err != nil {
		return 0, 0, err
	}
	if a, err = cost(); err != nil {
		return 0, 0, err
	}
	if err = add(many-few, "many-"); err != nil {
		return 0, 0, err
	}
	b, err = cost()
	return a, b, err
}

// amongFilters measures 50 pairs whose subscribers have all the filters, of which one matches.
func amongFilters(t *trial, few, many int) (a, b float64, err error) {
	const pairs = 50
	at := func(n int) (float64, error) { return t.cost(pairs, "--wildcards", strconv.Itoa(max(1, n/pairs))) }
	if a, err = at(few); err == nil {
		b, err = at(many)
	}
	return a, b, err
}

// ofRetained is what each retained message costs who asks for all of them.
func ofRetained(t *trial, few, many int) (a, b float64, err error) {
	at := func(n, times int) (float64, error) {
		rep, err := t.run("retained", "-c", strconv.Itoa(n), "-S", "64", "--times", strconv.Itoa(times))
		if err != nil {
			return 0, err
		}
		if rep.Broker == nil || rep.Broker.CPUPerMillion <= 0 {
			return 0, errors.New("the run gave no figure")
		}
		return rep.Broker.CPUPerMillion, nil
	}
	if a, err = at(few, 5); err == nil {
		b, err = at(many, 1)
	}
	return a, b, err
}

// uponStored is what it costs to store another message for sessions that are away.
func uponStored(t *trial, few, many int) (a, b float64, err error) {
	const each = 10
	// 300,000 messages are several flushes of the index, in both: with a sixth of them one round had
	// a flush and the other had none.
	const another = "600"
	return growing(t, few, many, func(n int, names string) error {
		_, err := t.run("offline", "-c", strconv.Itoa(max(1, n/each)), "--messages", strconv.Itoa(each), "-q", "1", "--undrained", "-t", "bench/"+names, "-I", names)
		return err
	}, func() (float64, error) {
		rep, err := t.run("offline", "-c", "500", "--messages", another, "-q", "1", "-t", "bench/new")
		if err != nil {
			return 0, err
		}
		if x := costOfFill(rep); x > 0 {
			return x, nil
		}
		return 0, errors.New("the run gave no figure")
	})
}

// loopRate is a load that leaves each loop mostly idle, in messages a second.
const loopRate = 20000

// twoLoops measures a broker on one core, with one event loop, and then one on two, with two, each
// of which has the same load. The generator needs some of the second core, so that a rate would
// show how much it left: the figure is processor time. Two loops do at most 2 by it times what
// one does; what they wait for each other while both are busy it does not show.
func twoLoops(l *lab, r *row, clients int, ours bool) (float64, error) {
	if !ours {
		return 0, noPeer("it has one event loop")
	}
	at := func(loops int) (x float64, err error) {
		err = l.try(r, ours, &setup{bothCores: loops == 2}, func(t *trial) error {
			x, err = t.cost(clients, "--rate", strconv.Itoa(loopRate*loops))
			if err == nil {
				t.say("%d loops: %s CPU s per million", loops, figure(x))
			}
			return err
		})
		return x, err
	}
	one, err := at(1)
	if err != nil {
		return 0, err
	}
	two, err := at(2)
	return two / one, err
}
