package top

// places is how many names a sketch knows. Whoever has more than a 128th of the total is
// among them, and no figure is wrong by more than that. A sketch takes 26 KB; one room
// has at most 60 of them, 1.6 MB, and 6 MB more where every name has NameMax bytes.
const places = 128

// slots are of the index: four for a place, so that one look mostly is enough.
const slots = 4 * places

// sketch is Space-Saving: of very many names it knows those that have most. A new name
// takes the place of one that has least, and is given that one's count, of which then nobody
// knows how much is whose: so a count is never too small, and without what was
// taken over it is never too large.
//
// Who has least is on top of a heap by what names had when they were last looked at there.
// As nobody's count goes down, only the one on top needs to be looked at again: a name that is
// known costs nothing of it, and one that takes a place some steps, whatever the counts are.
type sketch struct {
	total uint64
	floor uint64 // what the last one had that went: a name that is not there has at most that
	n     int    // places taken

	index  [slots]uint8 // a place and one, where its hash leads or soon after; 0: none
	hashes [places]uint64
	most   [places]uint64 // a name has at most that
	doubt  [places]uint64 // of which that much may have been others'
	had    [places]uint64 // at most that, and what heap goes by
	heap   [places]uint8  // places; nobody has less than the one at half his index
	names  [places]Who
}

// add counts n for a name.
func (s *sketch) add(hash uint64, who *Who, n uint64) {
	s.total += n
	at, known := s.find(hash)
	i := int(s.index[at]) - 1
	switch {
	case known:
		s.most[i] += n
		s.names[i].saw(who, n)
		return
	case s.n < places:
		i = s.n
		s.n++
		s.most[i], s.doubt[i] = n, 0
		s.had[i], s.heap[i] = 0, uint8(i) //nolint:gosec // 128 at most
	default:
		i = s.victim()
		s.floor = s.most[i]
		s.most[i], s.doubt[i] = s.floor+n, s.floor
		s.unlink(s.hashes[i])
		at, _ = s.find(hash)
	}
	s.index[at] = uint8(i + 1) //nolint:gosec // 128 at most
	s.hashes[i] = hash
	s.names[i].keep(who, n)
}

// find is the slot of a hash, or where it would be.
func (s *sketch) find(hash uint64) (at uint64, known bool) {
	for at = hash % slots; s.index[at] != 0; at = (at + 1) % slots {
		if s.hashes[s.index[at]-1] == hash {
			return at, true
		}
	}
	return at, false
}

// unlink takes a hash out of the index, and closes the gap.
func (s *sketch) unlink(hash uint64) {
	gap, _ := s.find(hash)
	for at := (gap + 1) % slots; s.index[at] != 0; at = (at + 1) % slots {
		if wanted := s.hashes[s.index[at]-1] % slots; (at-wanted)%slots >= (at-gap)%slots { // it may stand in the gap
			s.index[gap], gap = s.index[at], at
		}
	}
	s.index[gap] = 0
}

// victim is the place of a name that has least. All places are taken.
func (s *sketch) victim() int {
	for {
		i := s.heap[0]
		if s.had[i] == s.most[i] {
			return int(i)
		}
		s.had[i] = s.most[i]
		s.sink()
	}
}

// sink moves the place on top of the heap down to where it belongs.
func (s *sketch) sink() {
	at, i := 0, s.heap[0]
	for {
		below := 2*at + 1
		if below+1 < places && s.had[s.heap[below+1]] < s.had[s.heap[below]] {
			below++
		}
		if below >= places || s.had[i] <= s.had[s.heap[below]] {
			s.heap[at] = i
			return
		}
		s.heap[at], at = s.heap[below], below
	}
}

// clear forgets everything; names do not stay.
func (s *sketch) clear() {
	clear(s.names[:s.n])
	s.index = [slots]uint8{}
	s.total, s.floor, s.n = 0, 0, 0
}
