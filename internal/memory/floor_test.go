package memory

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
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
		{64 * mib, 0, 0, 1000}, // nothing was collected yet
		{256 * mib, 20 * mib, 0, 1000},
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

// GOGC follows what each collection has left, for as long as it is kept.
func TestFloorFollowsCollections(t *testing.T) {
	var mu sync.Mutex
	set := make(chan int, 16)
	last := 0
	var storm atomic.Bool
	f := Floor{Storm: storm.Load, Set: func(percent int) {
		mu.Lock()
		defer mu.Unlock()
		last = percent
		set <- percent
	}}
	f.Bound(1 << 40)
	if last != 0 {
		t.Fatalf("%d was set before it was to be kept", last)
	}
	runtime.GC()
	f.Keep()
	few := <-set
	if few <= 2*GCPercent {
		t.Fatalf("%d with some megabytes alive", few)
	}
	keep = make([]byte, 2*FloorBytes)
	defer func() { keep = nil }()
	runtime.GC()
	for percent := range set {
		if percent == GCPercent {
			break
		}
	}
	keep = nil
	runtime.GC()
	for percent := range set {
		if percent > 2*GCPercent {
			break
		}
	}
	f.Bound(16 << 20) // a floor of 1 MiB
	for percent := range set {
		if percent == GCPercent {
			break
		}
	}
	f.Bound(1 << 40)
	for len(set) > 0 {
		<-set
	}
	keep = make([]byte, 24<<20)
	runtime.GC()
	usual := <-set
	storm.Store(true)
	runtime.GC()
	for percent := range set {
		if percent > usual {
			break
		}
	}
	storm.Store(false)
	f.Bound(16 << 20)
	f.Look()
	f.Leave()
	for len(set) > 0 {
		<-set
	}
	runtime.GC()
	runtime.GC()
	f.Bound(1 << 40)
	if len(set) != 0 {
		t.Errorf("%d was set when it was not kept any longer", <-set)
	}
}
