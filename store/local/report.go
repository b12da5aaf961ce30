package local

import (
	"errors"

	"github.com/redoubtmq/redoubt/store"
)

// Report is what Open found, for the person on call.
type Report struct {
	// Clean tells that the last process which wrote closed the log. A new log is
	// clean.
	Clean bool

	First, Last store.Seq // as Bounds says
	Next        store.Seq // the next number to be given out
	Segments    int
	Bytes       int64

	// CutBytes were removed from the end of CutSegment: a write that a crash left
	// unfinished, which was never acknowledged.
	CutSegment string
	CutBytes   int64

	Quarantined []Quarantine
	// Missing is every record between First and Last that damage has taken, also in
	// earlier runs, in order.
	Missing []*store.MissingError
}

// Quarantine is one segment that was damaged where it had been on disk.
type Quarantine struct {
	Segment string
	Aside   string                // what the damaged file is called now; it is never read again, and never deleted
	Missing []*store.MissingError // what could not be read; empty if the damage hit nothing of value
}

// Err is nil, or names everything that is missing.
func (r *Report) Err() error {
	errs := make([]error, len(r.Missing))
	for i, e := range r.Missing {
		errs[i] = e
	}
	return errors.Join(errs...)
}
