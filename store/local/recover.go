package local

import (
	"cmp"
	"fmt"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

// jump is how many numbers are left out after a crash, so that none is given out
// that an unfinished write may have used: more than one write has records.
const jump = 1 << 20

// recovery is one Open: it reads every segment, repairs what it can and knows
// afterwards what is there. A dry one judges the same and changes nothing.
type recovery struct {
	dir    disk.Dir
	dry    bool
	meter  meter
	report *Report

	id    logID
	saved bool // idName is there
	heads []head

	segs []*segment
	last store.Seq // newest record that was durable before the segment at hand
	next store.Seq
}

// meter tells somebody how far the reading is.
type meter struct {
	tell               func(done, total int64) // may be nil
	ahead, done, total int64                   // bytes: before the segment at hand, read so far, of all segments
}

// at is told how far the segment at hand is read; it may be read twice.
func (m *meter) at(off int64) {
	if done := m.ahead + off; m.tell != nil && done > m.done {
		m.done = done
		m.tell(m.done, m.total)
	}
}

// recoverDir brings the folder to a state in which the log can go on; if dry, it
// only says what that would take.
func recoverDir(dir disk.Dir, dry bool, tell func(done, total int64)) (*recovery, error) {
	r := &recovery{dir: dir, dry: dry, meter: meter{tell: tell}, report: &Report{Clean: true}, next: 1}
	heads, err := r.tidy()
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	if err := r.readHeads(heads); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	for i := range r.heads {
		if err := r.segment(i); err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
		r.meter.at(r.heads[i].size)
		r.meter.ahead += r.heads[i].size
	}
	r.sum()
	return r, nil
}

// sum completes the report.
func (r *recovery) sum() {
	rep, c := r.report, catalogue{segs: r.segs, last: r.last}
	rep.First, rep.Last = c.bounds()
	rep.Next, rep.Segments = r.next, len(r.segs)
	rep.Bare = len(r.segs) == 0 && r.saved
	for _, s := range r.segs {
		rep.Bytes += s.size
	}
}

// segment reads the i-th segment, and repairs it if it has to be.
func (r *recovery) segment(i int) error {
	h, newest := &r.heads[i], i == len(r.heads)-1
	if h.bad {
		h.log, h.follows = r.id, r.last
		if i == 0 {
			h.follows = h.first - 1
		}
	}
	if i > 0 && h.first <= r.last {
		return fmt.Errorf("segment %s begins before the one ahead of it ends; somebody copied files", h.name)
	}
	f, err := r.dir.Open(h.file, newest && !r.dry)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	size := h.size
	w := (&window{name: h.name, f: f, size: size, moved: r.meter.at}).front()
	s, err := scan(w, h.name, &h.header, nil)
	if err != nil {
		return err
	}
	if at := s.torn(h.rebuilt); newest && at >= 0 {
		w.size = at
		if s, err = scan(w, h.name, &h.header, nil); err != nil {
			return err
		}
	}
	end := r.end(i, s, size)
	missing := r.note(h, s, end)
	if cut := size - w.size + s.tail; newest && cut > 0 && !h.lost(s) {
		r.report.CutSegment, r.report.CutBytes = h.name, cut
	}
	if h.bad || damaged(s, missing) {
		if s, err = r.quarantine(h, w, s, end, newest, missing); err != nil {
			return err
		}
	} else if newest && !r.dry {
		if err := r.settle(f, s, end); err != nil {
			return err
		}
	}
	return r.accept(s, end, newest, missing)
}

// ending is how a segment ends.
type ending struct {
	last  store.Seq // the newest record it had
	next  store.Seq // what may be given out after it
	clean bool
	// unsure says that last is not known, and none was later.
	unsure bool
}

// end works out the ending from the segment after it, or its seal, or what is
// left.
func (r *recovery) end(i int, s *scanned, size int64) ending {
	e := ending{last: max(s.last, s.follows)}
	if s.empty() {
		e.last = s.follows
	}
	switch {
	case i+1 < len(r.heads):
		if n := r.heads[i+1]; !n.bad {
			e.last = max(e.last, n.follows)
		} else if s.seal != nil {
			e.last = s.seal.sealLast()
		} else if len(s.holes) > 0 && n.first > s.expect { // what the end of it was nobody can tell any more
			e.last, e.unsure = max(e.last, n.first-1), true
		}
		return e
	case s.seal != nil:
		return ending{last: max(e.last, s.seal.sealLast()), next: s.seal.first, clean: true}
	}
	// A record has at least three bytes, so that size is more than what may have
	// been in a part that cannot be read.
	e.next = s.expect + jump + store.Seq(size) //nolint:gosec // a length
	if r.heads[i].lost(s) && size > headerBytes {
		e.last = e.next - 1 // nobody knows where it ended
	}
	return e
}

// note reports what the segment has, and what it had and has no more.
func (r *recovery) note(h *head, s *scanned, e ending) (missing []*store.MissingError) {
	rep, lost := r.report, s.lost
	if e.last >= s.expect {
		l := s.loss(e.last)
		l.AtMost = (e.unsure || s.empty()) && e.last-s.expect >= jump
		lost = append(lost, l)
	}
	for _, l := range lost {
		missing = append(missing, &store.MissingError{Range: l.Range, Where: s.name})
	}
	fillBefore(rep.Losses, s.oldest)
	for _, l := range lost {
		l.Segment, l.After = s.name, cmp.Or(l.After, rep.Newest)
		l.Earlier = l.Earlier && h.rebuilt
		rep.Losses = append(rep.Losses, l)
	}
	rep.Records += s.records
	rep.Unknown = append(rep.Unknown, s.unknown...)
	rep.Oldest, rep.Newest = cmp.Or(rep.Oldest, s.oldest), cmp.Or(s.newest, rep.Newest)
	return missing
}

// damaged tells whether a segment must be put aside. A hole at the end that took
// nothing is left alone: what can be there is a seal.
func damaged(s *scanned, missing []*store.MissingError) bool {
	n := len(s.holes)
	return n > 1 || n == 1 && (s.holes[0].off < s.size || s.seal != nil || len(missing) > 0)
}

// accept adds the segment to the log. An empty one is kept only at the end, where
// it remembers the next number.
func (r *recovery) accept(s *scanned, e ending, newest bool, missing []*store.MissingError) error {
	r.last = e.last
	r.report.Missing = append(r.report.Missing, missing...)
	if newest {
		r.next, r.report.Clean = e.next, e.clean
	}
	if s.empty() && len(missing) == 0 && !newest {
		if r.dry {
			return nil
		}
		if err := r.dir.Remove(s.name); err != nil {
			return err
		}
		return r.dir.Sync()
	}
	r.segs = append(r.segs, &s.segment)
	return nil
}
