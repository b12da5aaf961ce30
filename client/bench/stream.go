package bench

import "math/bits"

// streamWindow is how far behind the newest a message may come and still be told
// from its own copy.
const streamWindow = 1024

// stream is what came from one publisher to one subscriber, or to one group that
// shares a subscription: which of its messages were seen, once or more often.
// Its size is fixed.
type stream struct {
	seen     [streamWindow / 64]uint64 // of the last streamWindow sequence numbers before next
	base     uint32                    // the first that counts
	next     uint32                    // one after the highest seen
	holes    uint32                    // that left the window unseen, and may still come
	distinct uint64
}

// verdict is what a message is to its stream.
type verdict byte

const (
	fresh verdict = iota // higher than all before
	late                 // seen for the first time, after one that was sent later
	twice                // seen before
)

// saw records one message.
func (s *stream) saw(seq uint32) verdict {
	if seq >= s.next {
		s.advance(seq)
		s.set(seq)
		s.distinct++
		return fresh
	}
	behind := s.next - seq
	switch {
	case seq < s.base: // before we came; of no copy it could be told
		return twice
	case behind > streamWindow && s.holes == 0:
		return twice
	case behind > streamWindow: // one of those that were missing then, for all we know
		s.holes--
	case s.has(seq):
		return twice
	default:
		s.set(seq)
	}
	s.distinct++
	return late
}

// advance moves the window so that seq is its newest.
func (s *stream) advance(seq uint32) {
	if seq-s.next >= streamWindow { // nothing of the old window stays
		old := min(s.next-s.base, streamWindow)
		var had uint32
		for _, w := range s.seen {
			had += uint32(bits.OnesCount64(w))
		}
		s.holes += old - had + (seq - s.next + 1 - streamWindow)
		s.seen = [streamWindow / 64]uint64{}
		s.next = seq + 1
		return
	}
	for ; s.next <= seq; s.next++ { // next takes the place of next-streamWindow
		if s.next-s.base >= streamWindow && !s.has(s.next) {
			s.holes++
		}
		s.seen[s.next/64%uint32(len(s.seen))] &^= 1 << (s.next % 64)
	}
}

func (s *stream) has(seq uint32) bool {
	return s.seen[seq/64%uint32(len(s.seen))]>>(seq%64)&1 != 0
}

func (s *stream) set(seq uint32) { s.seen[seq/64%uint32(len(s.seen))] |= 1 << (seq % 64) }

// begin makes seq the first that counts, for a subscriber that knows nothing of what was
// sent before.
func (s *stream) begin(seq uint32) { s.base, s.next = seq, seq }

// missing is how many between the first that counts and the highest never came.
func (s *stream) missing() uint64 { return uint64(s.next-s.base) - s.distinct }
