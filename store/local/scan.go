package local

import (
	"cmp"
	"sort"

	"github.com/redoubtmq/redoubt/store"
)

// indexEvery is how far apart, in bytes, the places are that a segment remembers
// for readers who begin in its middle: 4 KB of memory for 64 MiB of log.
const indexEvery = 32 << 10

// segment is one file of the log as readers see it. Within a segment numbers are
// consecutive but for what was lost.
type segment struct {
	name    string
	marker  marker
	first   store.Seq
	follows store.Seq
	last    store.Seq // newest durable record in it; first-1 when it is empty
	size    int64     // durable bytes; what lies after them is not read
	index   []place
}

// place says that the frame with record seq begins at off.
type place struct {
	seq store.Seq
	off int64
}

// note remembers a frame's place if the last one is far enough away.
func (s *segment) note(seq store.Seq, off int64) {
	if n := len(s.index); n == 0 || off-s.index[n-1].off >= indexEvery {
		s.index = append(s.index, place{seq, off})
	}
}

// seek answers where to begin reading for seq.
func (s *segment) seek(seq store.Seq) int64 {
	i := sort.Search(len(s.index), func(i int) bool { return s.index[i].seq > seq })
	if i == 0 {
		return headerBytes
	}
	return s.index[i-1].off
}

// empty tells whether it has no record.
func (s *segment) empty() bool { return s.last < s.first }

// hole is a stretch of a file that is no frame.
type hole struct{ off, end int64 }

// scanned is what reading a whole segment found.
type scanned struct {
	segment
	holes  []hole
	lost   []Loss    // numbers that the frames around them say were there
	expect store.Seq // the number after the last record
	group  int64     // the last write that left a frame: where it began
	seal   *frame    // nil unless it ends with one
	tail   int64     // bytes after the seal, which nobody wrote on purpose

	end            int64 // of the last batch
	records        int64
	oldest, newest int64                // when the first and the last record with a time were written
	unknown        []*store.DamageError // the first frame that is right and holds what is no record
}

// scan reads every frame of a segment up to w.size. visit, if not nil, is given
// each one.
func scan(w *window, name string, h *header, visit func(raw []byte) error) (*scanned, error) {
	m := markerOf(h.log, h.first)
	s := &scanned{segment: segment{name: name, marker: m, first: h.first, follows: h.follows}, expect: h.first, group: headerBytes}
	s.last = h.first - 1
	off := int64(headerBytes)
	for off < w.size && s.seal == nil {
		f, raw, ok, err := w.frameAt(off, m)
		if err != nil {
			return nil, err
		}
		if !ok || f.first < s.expect {
			next, err := w.search(off+1, m)
			if err != nil {
				return nil, err
			}
			if n := len(s.holes); n > 0 && s.holes[n-1].end == off {
				s.holes[n-1].end = next
			} else {
				s.holes = append(s.holes, hole{off, next})
			}
			off = next
			continue
		}
		if visit != nil {
			if err := visit(raw); err != nil {
				return nil, err
			}
		}
		s.take(&f, off)
		off += f.size()
	}
	s.size = off
	s.tail = max(0, w.size-off)
	if n := len(s.holes); n > 0 && s.holes[n-1].end >= w.size && s.seal == nil {
		s.size = s.holes[n-1].off // it ends with the last frame
	}
	return s, nil
}

// take accepts a frame.
func (s *scanned) take(f *frame, off int64) {
	s.group = max(s.group, int64(f.group))
	if f.kind == frameSeal {
		seal := *f // the frame itself must not be kept: it would cost an allocation each
		seal.body = append([]byte(nil), f.body...)
		s.seal = &seal
		return
	}
	if f.first > s.expect {
		s.lost = append(s.lost, s.loss(f.first-1))
	}
	s.note(f.first, off)
	s.expect = f.next()
	s.last = s.expect - 1
	s.records += int64(f.count)
	s.end = off + f.size()
	s.read(f, off)
}

// loss is what is missing after the last batch, up to last. Without a hole there,
// it was missing when the file was written.
func (s *scanned) loss(last store.Seq) Loss {
	n := len(s.holes)
	return Loss{Range: store.Range{First: s.expect, Last: last}, After: s.newest, Earlier: n == 0 || s.holes[n-1].off < s.end}
}

// read looks into the records of a batch: when they were written, and whether
// this program knows them.
func (s *scanned) read(f *frame, off int64) {
	var r store.Record
	rest := f.body
	for range f.count {
		n, err := store.DecodeRecord(rest, &r)
		if err != nil {
			if s.unknown == nil {
				s.unknown = append(s.unknown, &store.DamageError{Segment: s.name, Offset: off, Err: err})
			}
			return
		}
		if rest = rest[n:]; r.At != 0 {
			fillBefore(s.lost, r.At)
			s.oldest, s.newest = cmp.Or(s.oldest, r.At), r.At
		}
	}
}

// torn answers where the part begins that a power cut may have left: the first
// hole that no later write proves to have been on disk. A write begins only
// when the one before it is durable, and only then is anybody told; so what lies
// in the last write, hole or frame, was never acknowledged if the write is not
// whole. -1 if there is none.
func (s *scanned) torn(rebuilt bool) int64 {
	if rebuilt { // was whole before it got its name
		return -1
	}
	for _, h := range s.holes {
		if h.off >= s.group {
			return h.off
		}
	}
	return -1
}
