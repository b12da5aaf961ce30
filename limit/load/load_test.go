package load

import (
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// percent is memory of which so much is surely in use, after so many collections.
func percent(p, cycles uint64) Input {
	return Input{Memory: Memory{Limit: 1000 << 20, Live: p * 10 << 20, Objects: p * 10 << 20, Resident: p * 10 << 20, Cycles: cycles}}
}

// However fast memory fills, nobody is closed before QoS 0 was dropped, and a
// collection has shown that it was not enough.
func TestTheOrderHoldsHoweverFastMemoryFills(t *testing.T) {
	var j Judge
	var levels []Level
	for i := range uint64(12) {
		s := j.See(noon.Add(time.Duration(i)*100*time.Millisecond), percent(97, i/2)) // every other look there was a collection
		levels = append(levels, s.Level)
		if want := i%2 == 0; i > 0 && s.Act != want {
			t.Errorf("look %d at %v: act is %v, want it after each collection and not between", i, s.Level, s.Act)
		}
	}
	want := []Level{Strangers, Strangers, QoS0, QoS0, Idle, Idle, Lagging, Lagging, Lagging, Lagging, Lagging, Lagging}
	if !slices.Equal(levels, want) {
		t.Errorf("levels %v, want %v", levels, want)
	}
}

func TestEachLevelHasItsMark(t *testing.T) {
	for _, c := range []struct {
		percent uint64
		want    Level
	}{{0, Fine}, {69, Fine}, {70, Warm}, {75, Strangers}, {79, Strangers}, {80, QoS0}, {85, Idle}, {90, Lagging}, {200, Lagging}} {
		var j Judge
		var s State
		for i := range uint64(10) {
			s = j.See(noon, percent(c.percent, i))
		}
		if s.Level != c.want {
			t.Errorf("%d %%: %v, want %v", c.percent, s.Level, c.want)
		}
		if (s.Busy != "") != (c.want >= Strangers) || (s.MemoryAlarm != "") != (c.want >= Strangers) {
			t.Errorf("%d %%: busy %q, alarm %q", c.percent, s.Busy, s.MemoryAlarm)
		}
		if c.want == Lagging && s.Excess != (c.percent-85)*10<<20 {
			t.Errorf("%d %%: %d MiB too much, want down to 85 %%", c.percent, s.Excess>>20)
		}
	}
}

// What was shed may come back when memory is well below the mark, for a while, one
// level after the other; around a mark nothing flaps.
func TestItRecoversByItselfAndDoesNotFlap(t *testing.T) {
	var j Judge
	now := noon
	see := func(p uint64) State {
		now = now.Add(time.Second)
		return j.See(now, percent(p, uint64(now.Unix())))
	}
	for range 6 {
		see(92)
	}
	for i := range 20 { // between 86 and 92: over where it would end
		if s := see(86 + uint64(i%2)*6); s.Level != Lagging {
			t.Fatalf("at 86 to 92 %%: %v", s.Level)
		}
	}
	var levels []Level
	for range 14 {
		if l := see(20).Level; len(levels) == 0 || levels[len(levels)-1] != l {
			levels = append(levels, l)
		}
	}
	if want := []Level{Lagging, Idle, QoS0, Strangers, Warm, Fine}; !slices.Equal(levels, want) {
		t.Errorf("it went %v, want %v", levels, want)
	}
	s := see(20)
	if s.Pressure != 0 || s.Busy != "" || s.MemoryAlarm != "" || s.Act || s.Collect {
		t.Errorf("after all is well: %+v", s)
	}
}

// A moment below the mark is not enough.
func TestOneGoodLookIsNotARecovery(t *testing.T) {
	var j Judge
	j.See(noon, percent(76, 1))
	for i := range 10 {
		at := noon.Add(time.Duration(i) * time.Second)
		if j.See(at, percent(20, 2)); j.See(at.Add(500*time.Millisecond), percent(76, 3)).Level != Strangers {
			t.Fatal("it fell within half a second")
		}
	}
}

// What may be garbage is no reason to shed anything: it is a reason to collect.
func TestGarbageIsCollectedBeforeAnythingIsShed(t *testing.T) {
	var j Judge
	in := percent(40, 1)
	in.Memory.Objects, in.Memory.Taken = 950<<20, 900<<20
	s := j.See(noon, in)
	if s.Level != Fine || !s.Collect || s.Act {
		t.Errorf("%+v, want a collection and nothing else", s)
	}
	if in.Memory.Used() != 950<<20 || in.Memory.Allowance() != 0 {
		t.Errorf("used %d MiB, allowance %d", in.Memory.Used()>>20, in.Memory.Allowance())
	}
	in.Memory.Taken = 0
	if s = j.See(noon, in); s.Collect || in.Memory.Allowance() != 500<<20 {
		t.Errorf("garbage that no publisher has sent: %+v, allowance %d MiB", s, in.Memory.Allowance()>>20)
	}
}

// A limit that the runtime could not keep is in use, whatever the collector says.
func TestResidentOverTheLimitCounts(t *testing.T) {
	in := percent(40, 1)
	if in.Memory.Resident = 1001 << 20; in.Memory.Sure() != 1001<<20 {
		t.Errorf("%d MiB are sure", in.Memory.Sure()>>20)
	}
}

func TestWithoutALimitNothingIsShed(t *testing.T) {
	var j Judge
	in := percent(99, 1)
	in.Memory.Limit = 0
	s := j.See(noon, in)
	if s.Level != Fine || s.Act || s.Collect || s.Pressure != 0 || in.Memory.Allowance() < 1<<40 {
		t.Errorf("%+v", s)
	}
}

// Late loops and slow commits make the door impatient at once and refuse new sessions
// when it lasts, and that ends by itself.
func TestLatenessIsJudgedOverTime(t *testing.T) {
	for name, c := range map[string]struct {
		set         func(*Input, time.Duration)
		slow, alarm time.Duration
		said        func(State) string
	}{
		"loops":   {func(in *Input, d time.Duration) { in.LoopLag = d }, lagSlow, lagAlarm, func(s State) string { return s.LagAlarm }},
		"commits": {func(in *Input, d time.Duration) { in.CommitWait = d }, commitSlow, commitAlarm, func(s State) string { return s.CommitAlarm }},
	} {
		var j Judge
		now := noon
		see := func(d time.Duration) State {
			in := percent(10, 1)
			c.set(&in, d)
			now = now.Add(time.Second)
			return j.See(now, in)
		}
		if p := see(c.slow - 1).Pressure; p != 0 {
			t.Errorf("%s: pressure %v before it is slow", name, p)
		}
		if p := see(c.alarm).Pressure; p != 0 {
			t.Errorf("%s: pressure %v after one look", name, p)
		}
		if p := see(c.slow).Pressure; p != 0.5 {
			t.Errorf("%s: pressure %v when it begins to be slow", name, p)
		}
		for i := range 5 {
			if s := see(c.alarm); s.Pressure != min(1, 0.5+float64(i)) || s.Busy != "" {
				t.Errorf("%s: after %d s: %+v", name, i+1, s)
			}
		}
		if s := see(c.alarm); s.Busy == "" || c.said(s) == "" || s.Level != Fine || s.MemoryAlarm != "" {
			t.Errorf("%s: after five seconds: %+v", name, s)
		}
		for i := range 10 {
			if s := see(0); s.Busy == "" || s.Pressure != 0 {
				t.Errorf("%s: %d s after it: %+v", name, i, s)
			}
		}
		if s := see(0); s.Busy != "" || c.said(s) != "" {
			t.Errorf("%s: it does not end: %+v", name, s)
		}
	}
}

// Where the store is too slow and memory or the loops are short, too, it is the others that
// are said: who needs no store comes in where only the store is short.
func TestTheStoreIsTheLeastOfShortages(t *testing.T) {
	for name, c := range map[string]struct {
		memory uint64
		lag    time.Duration
		want   Shortage
	}{
		"alone":      {10, 0, OfStore},
		"and memory": {78, 0, OfMemory},
		"and loops":  {10, 2 * lagAlarm, OfLoops},
	} {
		var j Judge
		now, s := noon, State{}
		for i := range 10 {
			in := percent(c.memory, uint64(i+1))
			in.CommitWait, in.LoopLag = 2*commitAlarm, c.lag
			now = now.Add(time.Second)
			s = j.See(now, in)
		}
		if s.Of != c.want || s.Busy == "" || s.CommitAlarm == "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
