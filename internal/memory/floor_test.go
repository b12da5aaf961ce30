package memory

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestFloorPercent(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		floor, live, beside int64
		want                int
	}{
		{64 * mib, 16 * mib, 0, 300},
		{64 * mib, 15 * mib, mib, 306}, // the heap's goal is 15 + 16 * 3.06 = 64
		{64 * mib, 32 * mib, 0, 100},
		{64 * mib, 30 * mib, 20 * mib, 100},
		{64 * mib, 900 * mib, 0, 100},
		{64 * mib, 0, 0, 1600}, // nothing was collected yet
		{256 * mib, 20 * mib, 0, 1180},
		{256 * mib, mib, 0, 3000},
		{8 * mib, 2 * mib, 0, 150}, // the runtime has 4 MiB for 100 at least
		{0, 0, 0, 100},
	} {
		if got := floorPercent(c.floor, c.live, c.beside); got != c.want {
			t.Errorf("a floor of %d, %d alive and %d beside: %d, want %d", c.floor, c.live, c.beside, got, c.want)
		}
	}
}

// keep is where what must not be collected is.
var keep []byte

// In a storm GOGC follows what each collection has left, and otherwise it is 100, for as long as it is kept.
func TestFloorFollowsCollections(t *testing.T) {
	set := make(chan int, 64)
	var storm atomic.Bool
	f := Floor{Storm: storm.Load, Set: func(percent int) { set <- percent }}
	until := func(what string, is func(percent int) bool) {
		t.Helper()
		for tries := 100; ; {
			select {
			case percent := <-set:
				if is(percent) {
					return
				}
			case <-time.After(100 * time.Millisecond): // a collection that begins while the one before is looked at is not noticed, the next one is
				if tries--; tries == 0 {
					t.Fatal(what)
				}
				runtime.GC()
			}
		}
	}
	usual := func(percent int) bool { return percent == GCPercent }
	more := func(percent int) bool { return percent > 2*GCPercent }
	storm.Store(true)
	f.Bound(1 << 40)
	f.Look()
	if len(set) != 0 {
		t.Fatalf("%d was set before it was to be kept", <-set)
	}
	runtime.GC()
	f.Keep()
	until("in a storm, with some megabytes alive", more)
	keep = make([]byte, 2*StormBytes)
	defer func() { keep = nil }()
	runtime.GC()
	until("as much is alive as that", usual)
	keep = nil
	runtime.GC()
	until("it is not any longer", more)
	f.Bound(16 << 20) // of which a sixteenth
	until("there is little memory", usual)
	f.Bound(1 << 40)
	until("there is much again", more)
	storm.Store(false)
	runtime.GC()
	until("the storm is over", usual)
	storm.Store(true)
	f.Look()
	until("somebody looks", more)
	f.Leave()
	runtime.GC()
	runtime.GC()
	f.Bound(16 << 20)
	f.Look()
	if len(set) != 0 {
		t.Errorf("%d was set when it was not kept any longer", <-set)
	}
}
