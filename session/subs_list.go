package session

import "hash/maphash"

// Subscriptions are few for nearly every client, so they are a list; an index beside it
// comes only with many, and both are cut into pieces only with very many, which
// a raised limits.subscriptions allows. Pieces grow one at a time: to move a hundred thousand
// would be milliseconds, in which others wait (D-07).
const (
	indexFrom = 17
	// pieceMax is how many the list has in one piece: 20 KiB of them.
	pieceMax = 512
	// partMax is how many a part of the index has before one is split, in the mean.
	partMax = 128
)

// index finds entries of a list by their filters.
type index struct {
	part           // of a list in one piece
	seenMax uint64 // the largest seen of the list
	more    *pieces
}

// part is cells that are probed one after another from where the hash of a filter says, each
// a position and one. It takes 5 to 10 bytes for each, where a map with the filter in it takes 50.
type part struct {
	cells []uint32
	n     int
}

// pieces is what there is behind the first pieceMax entries, and the index of all.
type pieces struct {
	rest [][]entry // all but the last two are full
	n    int       // entries in rest
	// parts are split one at a time and in turn, whichever of them has most: a round doubles them.
	parts []part
	whole int // how many parts there were when the present round began, a power of two
}

// filterSeed is not known to clients, who choose the filters.
var filterSeed = maphash.MakeSeed()

func filterHash(filter string) uint64 { return maphash.String(filterSeed, filter) }

// many is the index of the subscriptions; nil: there are few.
func (s *Session) many() *index {
	if s.odd == nil {
		return nil
	}
	return s.odd.many
}

// Subscriptions is how many there are.
func (s *Session) Subscriptions() int {
	if x := s.many(); x != nil && x.more != nil {
		return len(s.subs) + x.more.n
	}
	return len(s.subs)
}

// nth is the i-th, which must be there.
func (s *Session) nth(i int) *entry {
	if i < len(s.subs) {
		return &s.subs[i]
	}
	i -= len(s.subs)
	return &s.odd.many.more.rest[i/pieceMax][i%pieceMax]
}

// find is where the filter is; negative: nowhere. hash is of use where there is an index.
func (s *Session) find(filter string) (i int, hash uint64) {
	if x := s.many(); x != nil {
		hash = filterHash(filter)
		p := x.of(hash)
		return int(p.cells[p.cell(s, hash, filter)]) - 1, hash
	}
	for i := range s.subs {
		if s.subs[i].filter == filter {
			return i, 0
		}
	}
	return -1, 0
}

// push adds an entry whose filter was looked for and is not there.
func (s *Session) push(e entry, hash uint64) {
	n, x := s.Subscriptions(), s.many()
	if n < pieceMax {
		s.subs = append(roomFor(s.subs, n), e)
	} else {
		if x.more == nil {
			x.more = &pieces{parts: []part{x.part}, whole: 1}
			x.part = part{}
		}
		x.more.push(e, n)
	}
	switch {
	case x != nil:
		x.add(s, n, hash)
	case n+1 >= indexFrom:
		x = &index{part: part{cells: make([]uint32, cellsFor(indexFrom))}}
		s.strange().many = x
		for i := range s.subs {
			x.seenMax = max(x.seenMax, s.subs[i].seen)
			x.add(s, i, filterHash(s.subs[i].filter))
		}
	}
}

// roomFor has room for one more in a piece of a list of n: by an eighth of that only, since what is added beyond
// stays for the life of most.
func roomFor(piece []entry, n int) []entry {
	if len(piece) < cap(piece) {
		return piece
	}
	return append(make([]entry, 0, min(len(piece)+1+n/8, pieceMax)), piece...)
}

// unlist takes the i-th out, and gives its place to the last.
func (s *Session) unlist(i int, hash uint64) {
	last := s.Subscriptions() - 1
	e, end := s.nth(i), s.nth(last)
	if x := s.many(); x != nil {
		p := x.of(hash)
		p.free(s, p.cell(s, hash, e.filter))
		if i != last {
			h := filterHash(end.filter)
			p = x.of(h)
			p.cells[p.cell(s, h, end.filter)] = uint32(i) + 1 //nolint:gosec // of subscriptions
		}
	}
	*e = *end
	*end = entry{}
	switch {
	case last == 0:
		s.unsubscribed()
	case last < len(s.subs):
		s.subs = s.subs[:last]
	default:
		s.odd.many.more.pop()
	}
}

// unsubscribed lets go of the list.
func (s *Session) unsubscribed() {
	if s.subs = nil; s.odd != nil {
		s.odd.many = nil
	}
}

// push adds the last of n and one.
func (m *pieces) push(e entry, n int) {
	k := m.n / pieceMax
	if k == len(m.rest) {
		m.rest = append(m.rest, nil)
	}
	m.rest[k] = append(roomFor(m.rest[k], n), e)
	m.n++
}

// pop takes the last out. An empty piece stays as long as the one before it is full, so that whoever
// subscribes and unsubscribes at its edge leaves no garbage.
func (m *pieces) pop() {
	m.n--
	k := m.n / pieceMax
	m.rest[k] = m.rest[k][:m.n%pieceMax]
	clear(m.rest[min(k+1, len(m.rest)):])
	m.rest = m.rest[:min(k+1, len(m.rest))]
}

// of is the part where a filter is, or would be put.
func (x *index) of(hash uint64) *part {
	if x.more == nil {
		return &x.part
	}
	return x.more.of(hash)
}

// of takes the lower bits of a hash, and those of whom one part has been split already one bit more.
func (m *pieces) of(hash uint64) *part {
	i := hash & uint64(2*m.whole-1) //nolint:gosec // a power of two
	if i >= uint64(len(m.parts)) {
		i -= uint64(m.whole) //nolint:gosec // the same
	}
	return &m.parts[i]
}

// add says that the i-th of the list is new.
func (x *index) add(s *Session, i int, hash uint64) {
	if m := x.more; m != nil && i >= len(m.parts)*partMax {
		m.split(s)
	}
	p := x.of(hash)
	if (p.n+1)*5 > len(p.cells)*4 { // full at four fifths
		p.grow(s)
	}
	p.put(hash, uint32(i)+1) //nolint:gosec // of subscriptions
}

// split has the next part give what belongs there to a new one.
func (m *pieces) split(s *Session) {
	from, to := len(m.parts)-m.whole, len(m.parts)
	old := m.parts[from]
	m.parts = append(m.parts, part{})
	bit, goes := uint64(m.whole), 0 //nolint:gosec // a power of two
	hashes := make([]uint64, 0, 4*partMax)
	for _, c := range old.cells {
		if c == 0 {
			continue
		}
		h := s.hashAt(c)
		hashes = append(hashes, h)
		if h&bit != 0 {
			goes++
		}
	}
	// Each has room for twice as many, by when it is split again.
	m.parts[from] = part{cells: make([]uint32, max(cellsMin, (old.n-goes)*5/2))}
	m.parts[to] = part{cells: make([]uint32, max(cellsMin, goes*5/2))}
	for _, c := range old.cells {
		if c == 0 {
			continue
		}
		if h := hashes[0]; h&bit != 0 {
			m.parts[to].put(h, c)
		} else {
			m.parts[from].put(h, c)
		}
		hashes = hashes[1:]
	}
	if len(m.parts) == 2*m.whole {
		m.whole = len(m.parts)
	}
}

func (p *part) home(hash uint64) int {
	return int(hash >> 32 * uint64(len(p.cells)) >> 32) //nolint:gosec // less than len
}

func (p *part) after(i int) int {
	if i++; i == len(p.cells) {
		return 0
	}
	return i
}

// cell is where the filter is, or would be put.
func (p *part) cell(s *Session, hash uint64, filter string) int {
	i := p.home(hash)
	for p.cells[i] != 0 && s.nth(int(p.cells[i])-1).filter != filter {
		i = p.after(i)
	}
	return i
}

const cellsMin = 8

// cellsFor is how many cells there are for n when they are made: they are full at four fifths.
func cellsFor(n int) int { return max(cellsMin, n*13/8) }

// put fills a cell for a hash; there must be room.
func (p *part) put(hash uint64, c uint32) {
	i := p.home(hash)
	for p.cells[i] != 0 {
		i = p.after(i)
	}
	p.cells[i] = c
	p.n++
}

// grow makes room for one more.
func (p *part) grow(s *Session) {
	old := p.cells
	*p = part{cells: make([]uint32, cellsFor(p.n+1))}
	for _, c := range old {
		if c != 0 {
			p.put(s.hashAt(c), c)
		}
	}
}

// hashAt is the hash of the filter that a cell is for.
func (s *Session) hashAt(c uint32) uint64 { return filterHash(s.nth(int(c) - 1).filter) }

// free frees a cell, and moves back those after it that would not be found any more.
func (p *part) free(s *Session, free int) {
	for i := p.after(free); p.cells[i] != 0; i = p.after(i) {
		away := i - p.home(s.hashAt(p.cells[i]))
		if away < 0 {
			away += len(p.cells)
		}
		gap := i - free
		if gap < 0 {
			gap += len(p.cells)
		}
		if away >= gap {
			p.cells[free] = p.cells[i]
			free = i
		}
	}
	p.cells[free] = 0
	p.n--
}
