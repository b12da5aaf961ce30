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
const StormBytes = 512 << 20

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

// look sets GOGC for what the last collection has left. It stops the world for some microseconds, and does not where little would change.
func (f *Floor) look() {
	percent := f.wanted()
	if p := f.percent; p > 0 && percent != GCPercent && percent > p-p/8 && percent < p+p/8 {
		return
	}
	if percent != f.percent {
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

// floorPercent is the GOGC with which the heap grows to floor, or by as much as is alive where that is more.
func floorPercent(floor, live, beside int64) int {
	live = max(live, 1<<20) // before the first collection nothing is known to be alive
	return max(GCPercent, int((floor-live)*100/(live+beside)))
}
