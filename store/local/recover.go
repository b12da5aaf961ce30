package local

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

const (
	newSuffix     = ".new"     // being written; of no value after a crash
	rebuiltSuffix = ".rebuilt" // complete, and about to replace a damaged segment
	asideSuffix   = ".bad-"    // a damaged segment, and a number
	idName        = "log.id"   // the log's id again, for a log whose only header is damaged
)

// jump is how many numbers are left out after a crash, so that none is given out
// that an unfinished write may have used: more than one write has records.
const jump = 1 << 20

// recovery is one Open: it reads every segment, repairs what it can and knows
// afterwards what is there.
type recovery struct {
	dir    disk.Dir
	report *Report

	id    logID
	saved bool // idName is there
	heads []head

	segs []*segment
	last store.Seq // newest record that was durable before the segment at hand
	next store.Seq
}

// head is a segment whose header was read.
type head struct {
	name string
	header
	bad bool // damaged: only first is known
}

// recoverDir brings the folder to a state in which the log can go on.
func recoverDir(dir disk.Dir) (*recovery, error) {
	r := &recovery{dir: dir, report: &Report{Clean: true}, next: 1}
	names, err := r.tidy()
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	if err := r.readHeads(names); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	for i := range r.heads {
		if err := r.segment(i); err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
	}
	return r, nil
}

// tidy finishes or undoes what a crash interrupted and answers the segments in
// order.
func (r *recovery) tidy() ([]string, error) {
	names, err := r.dir.List()
	if err != nil {
		return nil, err
	}
	changed := false
	for _, n := range names {
		old, rebuilt := strings.CutSuffix(n, rebuiltSuffix)
		switch {
		case strings.HasSuffix(n, newSuffix), rebuilt && slices.Contains(names, old):
			err = r.dir.Remove(n)
		case rebuilt: // the damaged one is aside already
			err = r.dir.Rename(n, old)
		default:
			continue
		}
		if changed = true; err != nil {
			return nil, err
		}
	}
	if changed {
		if err := r.dir.Sync(); err != nil {
			return nil, err
		}
		if names, err = r.dir.List(); err != nil {
			return nil, err
		}
	}
	r.saved = slices.Contains(names, idName)
	names = slices.DeleteFunc(names, func(n string) bool { _, ok := parseSegmentName(n); return !ok })
	slices.Sort(names)
	return names, nil
}

// readHeads reads all headers before any frame: what a newer program wrote is
// refused before anything is changed, and a segment's end is known by the header
// after it.
func (r *recovery) readHeads(names []string) error {
	known := false
	for _, n := range names {
		h, err := r.readHead(n)
		if err != nil {
			return err
		}
		if !h.bad && known && h.log != r.id {
			return fmt.Errorf("segment %s belongs to another log; take it out of the folder", n)
		}
		if !h.bad {
			r.id, known = h.log, true
		}
		r.heads = append(r.heads, h)
	}
	if !known {
		return r.readID()
	}
	return nil
}

func (r *recovery) readHead(name string) (head, error) {
	h := head{name: name}
	f, err := r.dir.Open(name, false)
	if err != nil {
		return h, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return h, &store.DamageError{Segment: name, Err: err}
	}
	w := &window{name: name, f: f, size: min(size, headerBytes)}
	b, err := w.at(0, headerBytes)
	if err != nil {
		return h, err
	}
	h.header, err = parseHeader(b)
	first, _ := parseSegmentName(name)
	var newer *VersionError
	switch {
	case errors.As(err, &newer):
		newer.Segment = name
		return h, newer
	case err != nil:
		h.header, h.bad = header{first: first}, true
	case h.first != first:
		return h, fmt.Errorf("segment %s says that it begins with record %d; somebody renamed it", name, h.first)
	}
	return h, nil
}

// readID is for a log without a header that can be read, often a new one.
func (r *recovery) readID() error {
	f, err := r.dir.Open(idName, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, len(r.id))
	if n, _ := f.ReadAt(b, 0); n == len(b) { // unreadable is as good as lost: it is the second copy
		r.id = logID(b)
	}
	return nil
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
	f, err := r.dir.Open(h.name, newest)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return &store.DamageError{Segment: h.name, Err: err}
	}
	w := &window{name: h.name, f: f, size: size}
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
	missing := r.missing(s, end)
	if h.bad || damaged(s, missing) {
		if s, err = r.quarantine(h, w, s, end, newest, missing); err != nil {
			return err
		}
	} else if newest {
		if err := r.settle(f, s, end); err != nil {
			return err
		}
	}
	if newest && size > w.size {
		r.report.CutSegment, r.report.CutBytes = h.name, size-w.size
	} else if newest && s.tail > 0 {
		r.report.CutSegment, r.report.CutBytes = h.name, s.tail
	}
	return r.accept(s, end, newest, missing)
}

// ending is how a segment ends.
type ending struct {
	last  store.Seq // the newest record it had
	next  store.Seq // what may be given out after it
	clean bool
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
		}
		return e
	case s.seal != nil:
		return ending{last: max(e.last, s.seal.sealLast()), next: s.seal.first, clean: true}
	}
	// A record has at least three bytes, so that size is more than what may have
	// been in a part that cannot be read.
	e.next = s.expect + jump + store.Seq(size) //nolint:gosec // a length
	if r.heads[i].bad && s.empty() && size > headerBytes {
		e.last = e.next - 1 // nobody knows where it ended
	}
	return e
}

// missing lists what the segment had and has no more.
func (r *recovery) missing(s *scanned, e ending) []*store.MissingError {
	var out []*store.MissingError
	for _, m := range s.missing {
		out = append(out, &store.MissingError{Range: m, Where: s.name})
	}
	if e.last >= s.expect {
		out = append(out, &store.MissingError{Range: store.Range{First: s.expect, Last: e.last}, Where: s.name})
	}
	return out
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
		if err := r.dir.Remove(s.name); err != nil {
			return err
		}
		return r.dir.Sync()
	}
	r.segs = append(r.segs, &s.segment)
	return nil
}
