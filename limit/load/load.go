// Package load answers how hard pressed the node is, and what is shed for it: a value
// that is told what was measured and what time it is. It measures nothing, closes
// nobody and starts no goroutine. What is shed, and in which order, is here and
// nowhere else: strangers, then QoS 0, then who is idle, then who lags.
//
// Rules: design.md §6, the fixed shedding order; reliability row M-01; the Go
// runtime's guide to its collector, for what a memory limit bounds.
package load

import (
	"fmt"
	"time"
)

// Level is how much is shed. Each does what those before it do, too.
type Level uint8

// The levels, in the order of shedding. It is fixed: who has proved nothing comes
// first, who has been promised something last, and what is on disk never.
const (
	Fine      Level = iota
	Warm            // nothing is shed; the door becomes impatient
	Strangers       // nobody gets a new session, and few may be at the door
	QoS0            // what is at QoS 0 does not wait: it is sent now, or dropped
	Idle            // who is silent and keeps buffers is closed, the largest first
	Lagging         // who does not keep up is closed, the largest first; publishers wait
	Levels          // how many there are
)

var levelNames = [Levels]string{"fine", "warm", "strangers", "qos0", "idle", "lagging"}

// String is the word of logs and of redoubt status.
func (l Level) String() string { return levelNames[min(l, Levels-1)] }

// marks are the parts of the memory limit in use from which a level holds, in percent.
// The collector runs the more often the less is left for garbage: at 70 % every time
// that 30 % of the limit were allocated, at 90 % three times as often, and beyond it
// does little else. Steps of five give each level a collection or two to show what
// it has brought before the next one begins.
var marks = [Levels]uint64{0, 70, 75, 80, 85, 90}

// Mark is where a level begins, in percent of the memory limit.
func (l Level) Mark() int { return int(marks[min(l, Levels-1)]) } //nolint:gosec // a percentage

// below is how many percent under its mark a level ends, and calm for how long it must
// have been so: what was shed comes back when it may, and must not at once be shed again.
const (
	below = 5
	calm  = time.Second
)

// Memory is what is known of the memory of the process, in bytes.
type Memory struct {
	Limit    uint64 // in force; 0: none
	Resident uint64 // from the system and not returned: what the limit counts
	Objects  uint64 // of it, objects of the heap, garbage among them
	Live     uint64 // of those, what the last collection found alive
	Other    uint64 // stacks and the runtime's own
	Taken    uint64 // what was taken from publishers since that collection, at most
	Cycles   uint64 // collections so far
}

// Sure is what is surely in use: what the last collection has left. It is late by one
// collection, of which there is one before the limit is reached.
func (m *Memory) Sure() uint64 {
	if m.Limit > 0 && m.Resident > m.Limit { // there was no stopping it
		return max(m.Other+m.Live, m.Resident)
	}
	return m.Other + m.Live
}

// Used is what may be in use: Sure, and what has come since. What was taken may have
// gone again, and what is garbage among the objects nobody knows yet.
func (m *Memory) Used() uint64 {
	return max(m.Sure(), m.Other+min(m.Objects, m.Live+m.Taken))
}

// Allowance is how much more may be taken from publishers until the memory is looked
// at again: up to the mark of Lagging. It is what keeps the time between two looks from
// mattering: past it publishers are not read.
func (m *Memory) Allowance() uint64 {
	if m.Limit == 0 {
		return 1 << 60
	}
	top, used := of(m.Limit, marks[Lagging]), m.Used()
	if used >= top {
		return 0
	}
	return top - used
}

func of(limit, percent uint64) uint64 { return limit / 100 * percent }

// reached is the level whose mark so many bytes are at.
func (m *Memory) reached(bytes uint64) Level {
	if m.Limit == 0 {
		return Fine
	}
	l := Fine
	for l+1 < Levels && bytes >= of(m.Limit, marks[l+1]) {
		l++
	}
	return l
}

// Input is what was measured.
type Input struct {
	Memory     Memory
	LoopLag    time.Duration // how late the most belated loop came to its work
	CommitWait time.Duration // how long the oldest of what is to be on disk has waited
}

// State is what follows from it.
type State struct {
	Level    Level
	Act      bool    // shed what the level says, now, and then collect
	Collect  bool    // only a collection tells more
	Excess   uint64  // bytes to get rid of, by what is sure
	Pressure float64 // of the door: 0 to 1
	Busy     string  // why nobody gets a new session; empty: they do
	Of       Shortage
	// Alarms: what was seen, in words; empty: nothing is wrong.
	MemoryAlarm, LagAlarm, CommitAlarm string
}

// Judge goes from what was measured to what is done. The zero Judge has seen nothing.
type Judge struct {
	level  Level
	cycle  uint64    // collections when something was last shed
	calm   time.Time // since when memory is below the level; zero: it is not
	lag    delay
	commit delay
}

// See takes the next measurement. It rises by one level at a time, and again when a
// collection has shown what the one before has brought: so the order holds however fast
// memory fills. It falls one at a time, too.
func (j *Judge) See(now time.Time, in Input) State {
	m := &in.Memory
	sure := m.Sure()
	reached := m.reached(sure)
	s := State{}
	switch fresh := m.Cycles != j.cycle; {
	case reached > j.level && (fresh || j.level < Strangers):
		s.Act = max(j.level+1, min(reached, Strangers)) > Warm
		j.level = max(j.level+1, min(reached, Strangers)) // Warm does nothing that would have to show first
		j.cycle = m.Cycles
	case reached == j.level && fresh && j.level > Strangers: // not enough yet
		s.Act, j.cycle = true, m.Cycles
	case m.reached(m.Used()) > reached:
		s.Collect = true
	}
	j.fall(now, m, sure)
	s.Level = j.level
	s.Collect = s.Collect || j.level > Warm // nothing may be allocated any more that would bring one
	if j.level > Warm {
		if low := of(m.Limit, marks[j.level]-below); sure > low {
			s.Excess = sure - low
		}
		s.MemoryAlarm = fmt.Sprintf("over %d %% of the memory limit of %d MiB is in use: %s", j.level.Mark(), m.Limit>>20, sheds[j.level])
		s.Busy, s.Of = "the broker is short of memory", OfMemory
	}
	s.Pressure = max(memoryPressure(m), j.lag.see(now, in.LoopLag, lagSlow, lagAlarm), j.commit.see(now, in.CommitWait, commitSlow, commitAlarm))
	if j.level > Warm {
		s.Pressure = 1
	}
	if j.commit.on {
		s.CommitAlarm = fmt.Sprintf("what must be on disk before it is acknowledged has waited for longer than %v, for %v or more: the disk of the store is too slow, or something else uses it", commitAlarm, sustained)
		if s.Busy == "" { // those who need no store are let in, which they must not be for want of anything else
			s.Busy, s.Of = "the store is too slow at the moment", OfStore
		}
	}
	if j.lag.on {
		s.LagAlarm = fmt.Sprintf("event loops come to their work more than %v late, for %v or more: the processors are too few for what clients ask, or something else uses them", lagAlarm, sustained)
		s.Busy, s.Of = "the broker is too busy at the moment", OfLoops
	}
	return s
}

var sheds = [Levels]string{
	Strangers: "nobody gets a new session",
	QoS0:      "nobody gets a new session, and QoS 0 does not wait for slow clients",
	Idle:      "nobody gets a new session, QoS 0 does not wait, and silent clients that keep buffers are closed",
	Lagging:   "nobody gets in, QoS 0 does not wait, clients that do not keep up are closed, and publishers wait",
}

// fall goes back one level after it has been calm for a while.
func (j *Judge) fall(now time.Time, m *Memory, sure uint64) {
	switch {
	case j.level == Fine || m.Limit > 0 && sure >= of(m.Limit, marks[j.level]-below):
		j.calm = time.Time{}
	case j.calm.IsZero():
		j.calm = now
	case now.Sub(j.calm) >= calm:
		j.level--
		j.calm = now
	}
}

// memoryPressure rises from a half to 1 between Warm and Strangers.
func memoryPressure(m *Memory) float64 {
	if m.reached(m.Sure()) < Warm {
		return 0
	}
	from, to := float64(of(m.Limit, marks[Warm])), float64(of(m.Limit, marks[Strangers]))
	return min(1, 0.5+0.5*(float64(m.Sure())-from)/(to-from))
}

// Shortage is what there is too little of for new sessions.
type Shortage int

// The shortages.
const (
	OfMemory Shortage = iota
	OfLoops
	OfStore
)
