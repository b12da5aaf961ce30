package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/client/bench"
)

// trial is one broker that more than one run of the generator meets, one after the other or side by
// side.
type trial struct {
	*lab
	r    *row
	b    *broker
	ours bool
	side account // of what ran beside a measurement; read it when that has ended
}

// try starts a broker, lets the first clients log in, and has work done with it.
func (l *lab) try(r *row, ours bool, s *setup, work func(t *trial) error) error {
	b, err := l.startSide(ours, s)
	if err != nil {
		return err
	}
	defer b.end()
	t := &trial{lab: l, r: r, b: b, ours: ours}
	if _, err := t.run("conn", "-c", "20"); err != nil {
		return err
	}
	return work(t)
}

// call is a run of the generator over TCP, or where the arguments say.
func (t *trial) call(d door, args ...string) *call {
	return &call{b: t.b, named: t.ours, door: d, args: args}
}

func (t *trial) run(args ...string) (*bench.Report, error) {
	return t.generate(t.call(overTCP, args...))
}

// cost is the broker's processor time for a million deliveries of pairs with QoS 1.
func (t *trial) cost(pairs int, more ...string) (float64, error) {
	rep, err := t.run(append([]string{"pair", "-c", strconv.Itoa(pairs), "-q", "1", "--duration", strconv.Itoa(t.seconds)}, more...)...)
	if err != nil {
		return 0, err
	}
	if rep.Broker == nil || rep.Broker.CPUPerMillion <= 0 {
		return 0, errors.New("the run gave no figure")
	}
	return rep.Broker.CPUPerMillion, nil
}

// say tells what a figure does not, in the log of the comparison.
func (t *trial) say(format string, args ...any) {
	side := "mosquitto"
	if t.ours {
		side = "redoubt"
	}
	fmt.Fprintf(t.log, "%-18s %-9s %s\n", t.r.name, side, fmt.Sprintf(format, args...))
}

// measured begins a run of the generator that measures latency.
func (t *trial) measured(args ...string) (*generator, error) {
	first(t.b.cmd.Process.Pid)
	g, err := t.begin(t.call(overTCP, args...))
	if err == nil {
		first(g.cmd.Process.Pid)
	}
	return g, err
}

// pause waits, unless everything is to end.
func (l *lab) pause(d time.Duration) error {
	select {
	case <-l.stop:
		return errStopped
	case <-time.After(d):
		return nil
	}
}

// meanwhile is something that is done again and again beside a measurement.
type meanwhile struct {
	stop  chan struct{}
	ended chan error
	times int // read it after end
}

// meanwhile begins with it. again does it once, and ends early when it is told to stop.
func (l *lab) meanwhile(again func(stop <-chan struct{}) error) *meanwhile {
	m := &meanwhile{stop: make(chan struct{}), ended: make(chan error, 1)}
	go func() {
		for {
			err := again(m.stop)
			m.times++
			select {
			case <-m.stop:
				m.ended <- nil // what was cut off may well complain
				return
			default:
			}
			if err != nil {
				m.ended <- err
				return
			}
		}
	}()
	return m
}

// end stops it, and answers what went wrong before.
func (m *meanwhile) end() error {
	close(m.stop)
	return <-m.ended
}

// Priorities for the kernel's scheduler. Who measures and who is measured come before everything
// else on the machine, where we may say so (root): a slice that somebody else has is a latency that
// no broker makes.
const firstNice = -20

// besideNice is for who runs beside: after who measures, and before everything else.
func besideNice() int {
	if os.Getuid() == 0 {
		return firstNice / 2
	}
	return -firstNice / 2
}

// first puts a process, and all of its threads, first.
func first(pid int) { prefer(pid, firstNice) }

// prefer sets both priorities that count: within its session, of which it is the only process, and
// that of the session, which the kernel weighs first where it has groups of them.
func prefer(pid, value int) {
	nice(pid, value)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(value)), 0)
}

// aside puts our own session first, in which generators are that share a core, and answers how to put
// it back.
func (t *trial) aside() (back func()) {
	const own = "/proc/self/autogroup"
	text, err := os.ReadFile(own)
	f := strings.Fields(string(text)) // "/autogroup-66 nice 0"
	if err != nil || len(f) == 0 || os.WriteFile(own, []byte(strconv.Itoa(firstNice)), 0) != nil {
		return func() {}
	}
	return func() { _ = os.WriteFile(own, []byte(f[len(f)-1]), 0) }
}

// metric reads one of Redoubt's series; 0 where it has none, and NaN, which shows nothing, where it
// could not be asked.
func (t *trial) metric(name string) float64 {
	if !t.ours {
		return 0
	}
	c := http.Client{Timeout: 5 * time.Second}
	answer, err := c.Get("http://" + t.address(portMetrics) + "/metrics")
	if err != nil {
		return math.NaN()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	if err != nil || answer.StatusCode != http.StatusOK {
		return math.NaN()
	}
	return series(string(text), name)
}

// series finds one, by its name and labels as they are written.
func series(text, name string) float64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			x, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				return 0
			}
			return x
		}
	}
	return 0
}

// crowd waits until a broker has so many files open, of which a connection is one.
func (t *trial) crowd(n int) error {
	deadline := t.clock.Now().Add(crowdWithin)
	for t.clock.Now().Before(deadline) {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", t.b.cmd.Process.Pid))
		if err != nil {
			return err
		}
		if len(list) >= n {
			return nil
		}
		if err := t.pause(50 * time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d connections did not come about within %s", n, crowdWithin)
}

const crowdWithin = 60 * time.Second
