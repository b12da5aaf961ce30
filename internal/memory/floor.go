package memory

import (
	"runtime"
	"runtime/metrics"
	"sync"
)

// FloorBytes is how large the heap may be in any case before it is collected. A broker with few clients has some
// megabytes that are alive, so that each storm of handshakes, 30 KB of garbage each, would have it collected several times a second,
// for what the next one needs again.
const FloorBytes = 64 << 20

// StormBytes is that while strangers come: of a collection, 20 to 40 ms long on one core, clients notice more than of all that strangers compute.
const StormBytes = 256 << 20

// floorPart is the part of the memory limit that either has at most: who gives little memory has it collected more often.
const floorPart = 16

// Floor has the collector run when the heap is twice what was found alive, as GOGC 100 does, but not while it is smaller than that.
// The runtime has no such number, so GOGC is set again after each collection in which it should be another. The memory limit comes before it
// as it comes before GOGC.
type Floor struct {
	Set   func(percent int) // GOGC
	Storm func() bool       // strangers come now; nil: none ever

	mu      sync.Mutex // guards everything below
	limit   int64
	percent int
	kept    bool
	watched bool // the next collection will be noticed
}

// Bound tells the memory limit, in bytes.
func (f *Floor) Bound(limit int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limit = limit; f.kept {
		f.look()
	}
}

// Keep has the floor kept from now on, Leave not any longer: GOGC is left as it is.
func (f *Floor) Keep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept = true; !f.watched {
		f.watch()
	}
	f.look()
}

// Leave is the end of Keep.
func (f *Floor) Leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = false
}

// sentinel is garbage at once: that it is cleaned up tells that there was a collection.
type sentinel struct{ _ *Floor }

func (f *Floor) watch() {
	f.watched = true
	runtime.AddCleanup(&sentinel{}, func(f *Floor) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.watched = false; f.kept {
			f.watch()
			f.look()
		}
	}, f)
}

// Look sets GOGC for what the last collection has left. It takes a microsecond. Collections are noticed by themselves, but one that begins while
// the one before is looked at is not, and on a place that is busy it may take half a second: so somebody calls it now and then as well.
func (f *Floor) Look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept {
		f.look()
	}
}

func (f *Floor) look() {
	if percent := f.wanted(); percent != f.percent {
		f.percent = percent
		f.Set(percent)
	}
}

func (f *Floor) wanted() int {
	floor := int64(FloorBytes)
	if f.Storm != nil && f.Storm() {
		floor = StormBytes
	}
	live, beside := scanned()
	return floorPercent(min(floor, f.limit/floorPart), live, beside)
}

// scanned is what the last collection has found alive, and beside the heap's objects what GOGC is a percentage of: stacks and globals.
func scanned() (live, beside int64) {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64()), int64(s[1].Value.Uint64() + s[2].Value.Uint64())
}

// floorPercentMax bounds what a heap may grow to that is all alive when it is collected, until GOGC is set anew. And with the runtime's own
// floor, heapMinimum for 100, it is less than FloorBytes.
const (
	floorPercentMax = 1000
	heapMinimum     = 4 << 20
)

// floorPercent is the GOGC with which the heap grows to floor, or by as much as is alive where that is more.
func floorPercent(floor, live, beside int64) int {
	return min(max(GCPercent, int((floor-live)*100/max(live+beside, heapMinimum))), floorPercentMax)
}
