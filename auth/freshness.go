package auth

import (
	"sync/atomic"
	"time"
)

// Freshness is when rules were read from where they are kept, the last time that this was
// possible. Who reads them again and finds the same notes it here, on what the client has.
// It is safe for concurrent use; a nil Freshness does not know.
type Freshness struct{ at atomic.Int64 }

// FreshAt is one that was read at now.
func FreshAt(now time.Time) *Freshness {
	f := &Freshness{}
	f.Confirm(now)
	return f
}

// Confirm says that the rules were the same at now.
func (f *Freshness) Confirm(now time.Time) {
	if f != nil {
		f.at.Store(now.UnixNano())
	}
}

// At is when; the zero time: nobody knows.
func (f *Freshness) At() time.Time {
	if f == nil {
		return time.Time{}
	}
	return time.Unix(0, f.at.Load()).UTC()
}
