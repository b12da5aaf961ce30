package main

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/internal/memory"
	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/limit/top"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/store"
)

// overseer looks how hard pressed the node is and has done what follows from it. What
// follows is limit/load's to say. It belongs to one goroutine but for what is atomic.
type overseer struct {
	rooms pressedRooms
	judge load.Judge

	cycles  uint64    // collections at the last look
	takenAt int64     // what publishers had sent when there was the last of them
	rest    time.Time // before it nothing is collected out of turn
	worst   load.Level
	owed    time.Time // when memory is given back that an overload has left; zero: it has left none
	window  window

	seen overseen
}

// pressedRooms are what an overseer asks and tells. A test has others.
type pressedRooms struct {
	now      func() time.Time
	limit    func() uint64 // of memory; 0: none
	measure  func() memory.Use
	collect  func()
	giveBack func() // returns what is free to the system
	lag      func(now time.Time) (late time.Duration, loop int)
	commit   func(now time.Time) time.Duration
	taken    func() int64
	allow    func(bytes uint64)
	press    func(s *load.State)
	shed     func(level load.Level, excess uint64) (closed int)
	loudest  func(loop int, measures ...top.Measure) string // who does most, for alarms
	alarms   *alarm.Alarms
	log      *slog.Logger
}

// overseen is what was seen last, for whoever shows it.
type overseen struct {
	level           atomic.Uint32
	sure            atomic.Uint64
	lag, commitWait atomic.Int64 // nanoseconds; the most of a second
}

// How often somebody looks: a look takes some 10 us. Near the marks, and while anything
// is shed, it has to be more often than memory can fill.
const (
	lookSeldom = time.Second
	lookOften  = 100 * time.Millisecond
	// lookLeast is the least time between two looks, however often homes ask for one.
	lookLeast = 10 * time.Millisecond
	// collectPart: collections out of turn take at most this part of the time.
	collectPart = 8
	// shedWithin is how long a pass over the sessions may take before the overseer looks
	// again; the pass goes on.
	shedWithin = time.Second
	// owedAfter is how long after an overload memory is given back once more.
	owedAfter = 10 * time.Second
)

// run looks until ctx is done. soon wakes it.
func (o *overseer) run(ctx context.Context, soon <-chan struct{}) {
	next := time.NewTimer(lookSeldom)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-soon:
		}
		next.Reset(o.look())
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookLeast):
		}
	}
}

// look looks once, and answers when to look again.
func (o *overseer) look() time.Duration {
	r := &o.rooms
	now := r.now()
	lag, loop := r.lag(now)
	in := load.Input{Memory: o.memory(), LoopLag: lag, CommitWait: r.commit(now)}
	s := o.judge.See(now, in)
	o.note(now, &in, &s)
	r.press(&s)
	r.allow(in.Memory.Allowance())
	o.tell(now, &in, &s, loop)
	if s.Act {
		closed := r.shed(s.Level, s.Excess)
		r.log.Debug("shed for want of memory", "level", s.Level.String(), "excess", s.Excess, "closed", closed)
		s.Collect = true
	}
	if s.Collect && !now.Before(o.rest) {
		r.collect()
		if s.Act { // what pools keep goes with the second one
			r.collect()
		}
		o.rested(now)
	}
	o.afterwards(now, s.Level)
	if s.Level > load.Fine || s.Collect {
		return lookOften
	}
	return lookSeldom
}

// afterwards gives memory back to the system when it is over, and again when those who
// brought it have had time to go: what they leave behind sets off no collection, because
// the heap may still grow to twice what it was. It is a collection out of turn, too, and whoever
// brings the memory to a mark and back is not to have one each time: what is not given back now
// stays owed.
func (o *overseer) afterwards(now time.Time, level load.Level) {
	was := load.Level(o.seen.level.Swap(uint32(level)))
	switch {
	case level > load.Warm:
		o.owed = now.Add(owedAfter)
	case was > load.Warm:
		o.giveBack()
		o.owed = now.Add(owedAfter)
	case level == load.Fine && !o.owed.IsZero() && !now.Before(o.owed):
		if o.giveBack() {
			o.owed = time.Time{}
		}
	}
}

// giveBack gives memory back unless collections have had their part of the time.
func (o *overseer) giveBack() (done bool) {
	began := o.rooms.now()
	if began.Before(o.rest) {
		return false
	}
	o.rooms.giveBack()
	o.rested(began)
	return true
}

// rested leaves the next collection out of turn its distance to the one that began then.
func (o *overseer) rested(began time.Time) {
	after := o.rooms.now()
	o.rest = after.Add(collectPart * after.Sub(began))
}

// memory measures.
func (o *overseer) memory() load.Memory {
	u, taken := o.rooms.measure(), o.rooms.taken()
	if u.Cycles != o.cycles {
		o.cycles, o.takenAt = u.Cycles, taken
	}
	return load.Memory{
		Limit: o.rooms.limit(), Resident: u.Resident, Objects: u.Objects, Live: u.Live, Other: u.Other, Cycles: u.Cycles,
		Taken: uint64(max(0, taken-o.takenAt)), //nolint:gosec // not negative
	}
}

// note keeps what was seen.
func (o *overseer) note(now time.Time, in *load.Input, s *load.State) {
	o.window.add(now, in.LoopLag, in.CommitWait)
	o.seen.sure.Store(in.Memory.Sure())
	lag, wait := o.window.most()
	o.seen.lag.Store(int64(lag))
	o.seen.commitWait.Store(int64(wait))
}

// tell raises and clears alarms. That of memory keeps the worst it has come to. late is the loop that
// is the most belated: who is on another one is no cause of it.
func (o *overseer) tell(now time.Time, in *load.Input, s *load.State, late int) {
	r := &o.rooms
	switch {
	case s.MemoryAlarm == "":
		r.alarms.Clear(now, alarm.MemoryPressure, "")
		o.worst = load.Fine
	case s.Level > o.worst:
		r.alarms.Raise(now, alarm.MemoryPressure, "", s.MemoryAlarm+r.loudest(top.AnyLoop, top.Bytes, top.OutBytes, top.Connects, top.Refused, top.Logins))
		o.worst = s.Level
	}
	for _, a := range []struct {
		kind *alarm.Kind
		why  string
		loop int
		most []top.Measure
	}{
		{alarm.LoopLag, s.LagAlarm, late, []top.Measure{top.Packets, top.Out, top.Connects, top.Refused, top.Logins}},
		{alarm.CommitLatency, s.CommitAlarm, top.AnyLoop, []top.Measure{top.Messages}},
	} {
		switch {
		case a.why == "":
			r.alarms.Clear(now, a.kind, "")
		case r.alarms.Count(a.kind) == 0: // it keeps who it was when it began: a log is no place for a list that changes
			r.alarms.Raise(now, a.kind, "", a.why+r.loudest(a.loop, a.most...))
		}
	}
}

// window is the most of the last second, at least, and of two at most.
type window struct {
	begun     time.Time
	now, last [2]time.Duration
}

func (w *window) add(at time.Time, lag, wait time.Duration) {
	if at.Sub(w.begun) >= time.Second {
		w.begun, w.last, w.now = at, w.now, [2]time.Duration{}
	}
	w.now = [2]time.Duration{max(w.now[0], lag), max(w.now[1], wait)}
}

func (w *window) most() (lag, wait time.Duration) {
	return max(w.now[0], w.last[0]), max(w.now[1], w.last[1])
}

// oversee makes the overseer of a node whose server is there.
func (n *node) oversee() {
	n.soon = make(chan struct{}, 1)
	n.broker.LookSoon(func() {
		select {
		case n.soon <- struct{}{}:
		default:
		}
	})
	pulse, behind := conn.NewPulse(n.server), &behindDisk{d: n.durable}
	n.overseer.rooms = pressedRooms{
		now: n.clock.Now, measure: func() memory.Use { n.floor.Look(); return memory.Measure() }, collect: runtime.GC, giveBack: debug.FreeOSMemory, alarms: n.alarms, log: n.log,
		limit: n.memoryLimit, lag: pulse.Beat, commit: behind.wait, taken: n.server.Taken, allow: n.server.Allow, press: n.press, loudest: n.loudest,
		shed: func(level load.Level, excess uint64) int {
			ctx, cancel := context.WithTimeout(context.Background(), shedWithin)
			defer cancel()
			closed, err := n.server.Shed(ctx, level, excess)
			if err != nil {
				n.log.Debug("shedding is not done yet", "error", err.Error())
			}
			return closed
		},
	}
	seen := &n.overseer.seen
	n.metrics.Gauge(metrics.OverloadLevel, func() int64 { return int64(seen.level.Load()) })
	n.metrics.Gauge(metrics.MemorySure, func() int64 { return int64(seen.sure.Load()) }) //nolint:gosec // it fits
	n.metrics.Gauge(metrics.LoopLag, func() int64 { return seen.lag.Load() / 1000 })
	n.reportRooms()
	n.metrics.Gauge(metrics.CommitWait, func() int64 { return seen.commitWait.Load() / 1000 })
}

// press passes on what follows for whoever comes, publishes and waits.
func (n *node) press(s *load.State) {
	var short *broker.Short
	if s.Busy != "" {
		short = &broker.Short{Of: s.Of, Why: s.Busy}
	}
	n.broker.Press(s.Level, short)
	n.door.Press(s.Pressure, s.Level >= load.Lagging)
}

// memoryLimit is the limit in force; 0: none.
func (n *node) memoryLimit() uint64 {
	if b := n.memory.Load(); b.Bytes != memory.Unlimited {
		return uint64(b.Bytes) //nolint:gosec // positive
	}
	return 0
}

// behindDisk is how long publishers wait for the disk and the index.
type behindDisk struct {
	d     *durable
	last  store.Seq // that was on disk and not in the index; 0: all was
	since time.Time
}

func (b *behindDisk) wait(now time.Time) time.Duration {
	wait, applied := b.d.log.Waiting(now), b.d.view.Applied()
	if b.last == 0 || applied >= b.last {
		b.last = 0
		if _, last, err := b.d.log.Bounds(context.Background(), 0); err == nil && last > applied {
			b.last, b.since = last, now
		}
		return wait
	}
	return max(wait, now.Sub(b.since))
}
