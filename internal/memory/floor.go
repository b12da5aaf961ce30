package memory

import (
	"runtime"
	"runtime/metrics"
	"sync"
)

// StormBytes is how large the heap may be before it is collected, while strangers come and clients are served: of a collection,
// 20 to 40 ms long on one core, those notice more than of all that strangers compute. Each handshake leaves 30 KB of garbage, so that a broker with
// few clients would have a collection several times a second.
const StormBytes = 256 << 20

// floorPart is the part of the memory limit that it has at most: who gives little memory has it collected more often.
const floorPart = 16

// Floor has the collector run when the heap is twice what was found alive, as GOGC 100 does, and in a storm not while it is smaller than StormBytes. Only then:
// what a collection leaves is between what was garbage, and so memory of connections that come in such a time is half empty.
// The runtime has no such number, so GOGC is set again after each collection in which it should be another. The memory limit comes before it
// as it comes before GOGC.
type Floor struct {
	Set   func(percent int) // GOGC
	Storm func() bool       // strangers come now, and clients are served

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
	if !f.Storm() {
		return GCPercent
	}
	live, beside := scanned()
	return floorPercent(min(StormBytes, f.limit/floorPart), live, beside)
}

// scanned is what the last collection has found alive, and beside the heap's objects what GOGC is a percentage of: stacks and globals.
func scanned() (live, beside int64) {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64()), int64(s[1].Value.Uint64() + s[2].Value.Uint64())
}

// floorPercentMax bounds what a heap may grow to that is all alive when it is collected, until GOGC is set anew. heapMinimum is the runtime's own
// floor for 100, which grows with GOGC.
const (
	floorPercentMax = 3000
	heapMinimum     = 4 << 20
)

// floorPercent is the GOGC with which the heap grows to floor, or by as much as is alive where that is more.
func floorPercent(floor, live, beside int64) int {
	return min(max(GCPercent, int((floor-live)*100/max(live+beside, heapMinimum))), floorPercentMax)
}
