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
	Records     int64 // that are there; fewer than the numbers from First to Last, of which some were never given out
	Format      int   // of the segments, the newest; 0 if there is none

	// Oldest and Newest are when the first and the last record were written, in Unix
	// milliseconds; 0 if none says.
	Oldest, Newest int64

	// CutBytes were removed from the end of CutSegment: a write that a crash left
	// unfinished, which was never acknowledged. If the log is Clean they lay after its
	// end, where no broker writes.
	CutSegment string
	CutBytes   int64

	Quarantined []Quarantine
	// Missing is every record between First and Last that damage has taken, also in
	// earlier runs, in order. Losses is the same with more to say.
	Missing []*store.MissingError
	Losses  []Loss
	// Unknown is, of each segment that has one, the first batch that is as it was
	// written and holds what is no record to this program. It is left as it is.
	Unknown []*store.DamageError

	Aside  []string // damaged files that earlier runs put aside
	Tidied []string // files of a repair, or a first write, that a crash interrupted: finished or removed
	Bare   bool     // there is the log's id and no segment: the first write failed, or somebody removed the files
}

// Quarantine is one segment that was damaged where it had been on disk.
type Quarantine struct {
	Segment string
	Places  []Place               // what is damaged of it
	Aside   string                // what the damaged file is called now; it is never read again, and never deleted
	Missing []*store.MissingError // what could not be read; empty if the damage hit nothing of value
}

// Place is a part of a file, in bytes.
type Place struct{ Offset, Bytes int64 }

// Loss is records that damage has taken.
type Loss struct {
	Range   store.Range
	Segment string
	AtMost  bool // nobody knows where the segment ended: these, and perhaps fewer
	Earlier bool // an earlier run said so, and put the damaged segment aside

	// After and Before are when the records around them were written, in Unix
	// milliseconds; 0 if none says.
	After, Before int64
}

// fillBefore says of the last losses when the first record after them was
// written.
func fillBefore(losses []Loss, at int64) {
	for i := len(losses) - 1; i >= 0 && losses[i].Before == 0; i-- {
		losses[i].Before = at
	}
}

// Err is nil, or names everything that is missing.
func (r *Report) Err() error {
	errs := make([]error, len(r.Missing))
	for i, e := range r.Missing {
		errs[i] = e
	}
	return errors.Join(errs...)
}
