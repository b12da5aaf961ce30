package main

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/memory"
	"github.com/redoubtmq/redoubt/metrics"
)

// Strangers ask for hashing, so all of it together takes at most a quarter of the
// memory, and there is always one.
func TestHashersFitTheMemory(t *testing.T) {
	before := runtime.GOMAXPROCS(64)
	defer runtime.GOMAXPROCS(before)
	for _, c := range []struct {
		bytes int64
		want  int
	}{{memory.Needed, 1}, {200 << 20, 2}, {512 << 20, 6}, {64 << 30, 8}, {memory.Unlimited, 8}} {
		if got := hashers(memory.Budget{Bytes: c.bytes}); got != c.want {
			t.Errorf("%s: %d at a time, want %d", memory.Text(c.bytes), got, c.want)
		}
	}
	runtime.GOMAXPROCS(1)
	if got := hashers(memory.Budget{Bytes: 64 << 30}); got != 1 {
		t.Errorf("%d at a time on one processor", got)
	}
}

// A small budget bounds what of the retained messages is in memory, whatever the limit says.
func TestRetainedMemoryFollowsTheBudget(t *testing.T) {
	c := &config.Config{}
	c.Limits.RetainedMemory = 512 << 20
	for budget, want := range map[int64]int64{1 << 40: 512 << 20, 1 << 30: 256 << 20, 64 << 20: 16 << 20, memory.Unlimited: 512 << 20} {
		if got := retainOptions(c, memory.Budget{Bytes: budget}, nil).MemoryMax; got != want {
			t.Errorf("with %d bytes: %d, want %d", budget, got, want)
		}
	}
}

// While a broker starts, little is garbage; once clients are in, the collector is as it was
// planned. Who has set GOGC has the last word in both.
func TestTheCollectorIsAsPlannedAfterTheStart(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(memory.GCPercent))
	now := func() int {
		is := debug.SetGCPercent(1)
		debug.SetGCPercent(is)
		return is
	}
	t.Setenv("GOGC", "")
	collectSeldom()
	if is := now(); is != startingGCPercent {
		t.Errorf("%d while it starts", is)
	}
	n := &node{metrics: metrics.New(), clock: clock.System{}}
	defer n.floor.Leave()
	if n.collectAsUsual(); now() != memory.GCPercent {
		t.Errorf("%d after the start", now())
	}
	t.Setenv("GOGC", "70")
	debug.SetGCPercent(70)
	collectSeldom()
	(&node{metrics: metrics.New(), clock: clock.System{}}).collectAsUsual()
	if is := now(); is != 70 {
		t.Errorf("%d, and 70 was set", is)
	}
}
