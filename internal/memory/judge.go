package memory

import "time"

// GCPercent is how much garbage the heap may grow by between two collections, in
// percent of what is live (GOGC). It is Go's own default, chosen and not only
// kept: 10 makes an idle TLS connection 40 % smaller, which the collection after a
// storm does too, and every handshake 30 % dearer (0.50 against 0.65 ms of CPU),
// which nothing gives back. The paths of a PUBLISH allocate next to nothing, so
// that there a smaller number would save nothing either.
const GCPercent = 100

// Every is the time between two samples. Two quiet ones are waited for, so that
// memory is on its way back at most 15 s after a storm.
const Every = 5 * time.Second

const (
	// worthMin is what one never collects for: Go's own smallest heap.
	worthMin = 4 << 20
	// worthPart: less than this part of what the process holds is not worth a
	// collection either, which has to look at all that is live.
	worthPart = 10
	// comeback: what is given back must not be there again, at the rate at which
	// the process allocates now, before this has passed. It tells quiet from busy
	// without a number of bytes that would be wrong on another machine.
	comeback = time.Minute
	// quietSamples in a row: one may fall between two bursts.
	quietSamples = 2
	// perClient is what one client that has gone leaves behind, bytes: between the
	// 1 KB of an idle TCP connection and the 10 KB of one over TLS. It goes without
	// allocating anything, so that the allocator does not tell.
	perClient = 4 << 10
)

// At most burst collections out of turn in any span, and never more than this part
// of the time: a load that comes and goes for ever gets one in two and a half
// minutes, a storm right after a storm is not kept waiting.
const (
	span     = 5 * time.Minute
	burst    = 2
	timePart = 200
)

// Sample is what the process knew of its memory at one moment.
type Sample struct {
	At        time.Time
	Allocated uint64 // bytes of the heap ever allocated; only grows
	Resident  uint64 // bytes that the runtime has from the system and has not returned
	Free      uint64 // of those, bytes that hold nothing: returned without any collection
	Clients   int64  // connections of the broker
}

// Judge decides from samples when a collection out of turn is worth its price:
// after something has ended. It is a value, reads no clock and collects nothing.
// The zero Judge has seen nothing.
type Judge struct {
	last    Sample           // the one before
	floor   uint64           // least Resident since the last collection
	peak    int64            // most Clients since the last collection
	quiet   int              // samples in a row
	at      [burst]time.Time // of the last collections, oldest first
	resting time.Time        // not before
}

// See takes the next sample and tells whether to collect now. After a yes the
// caller collects, or does not, and says so with Collected.
func (j *Judge) See(s Sample) bool {
	first, last := j.last.At.IsZero(), j.last
	j.last = s
	if first {
		j.floor, j.peak = s.Resident, s.Clients
		return false
	}
	j.floor, j.peak = min(j.floor, s.Resident), max(j.peak, s.Clients)
	could := j.could(s)
	if could < max(worthMin, s.Resident/worthPart) || busy(last, s, could) {
		j.quiet = 0
		return false
	}
	if j.quiet++; j.quiet < quietSamples {
		return false
	}
	return !s.At.Before(j.resting) && (j.at[0].IsZero() || s.At.Sub(j.at[0]) >= span)
}

// could is what a collection may give back: what has come since the last one, or
// is known to be free, and what belonged to clients that have gone. Not all of it
// need be garbage; that only a collection tells.
func (j *Judge) could(s Sample) uint64 {
	return max(s.Resident-j.floor, s.Free) + uint64(j.peak-s.Clients)*perClient
}

// busy tells whether so much is being allocated that what is given back would soon
// be here again.
func busy(last, s Sample, could uint64) bool {
	passed := s.At.Sub(last.At)
	if passed <= 0 { // somebody set the clock: the next one tells
		return true
	}
	return float64(s.Allocated-last.Allocated)/passed.Seconds()*comeback.Seconds() > float64(could)
}

// Collected tells what a collection has left, and what it took of the time.
func (j *Judge) Collected(s Sample, took time.Duration) {
	at := [burst]time.Time(append(j.at[1:], s.At))
	*j = Judge{last: s, floor: s.Resident, peak: s.Clients, at: at, resting: s.At.Add(timePart * took)}
}

// Asked tells what a collection has left that somebody else wanted.
func (j *Judge) Asked(s Sample) {
	*j = Judge{last: s, floor: s.Resident, peak: s.Clients, at: j.at, resting: j.resting}
}
