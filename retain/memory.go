package retain

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// memory is what a store knows of what it has in memory and what not. Without Rows all
// of it is complete. The store's mu guards it.
type memory struct {
	complete bool // everything retained is in memory
	// gone is the newest version of a change that memory knows nothing of any more: what
	// was read as of an older one may lack it.
	gone   uint64
	hand   place             // where shed looks next
	sheds  uint64            // messages that left, all in all
	stones map[string]uint64 // topics of which nothing is retained, and since which version; while not complete
	grave  []stone           // the same by age, in a ring
	oldest int               // of grave

	momentary      int // messages that no row will have
	momentaryBytes int64

	fill *filling // nil: not loading
}

type stone struct {
	topic   string
	version uint64
}

// filling is how far Refill has come.
type filling struct {
	cur   Cursor
	sheds uint64 // when it began: once something left it was in vain
}

const (
	// stonesMax is how many removals are remembered while not everything is in memory, so
	// that each is no reason to read a portion again. At 10,000 a second it is half a second.
	stonesMax = 4096
	// shedMax bounds how many messages one Put looks at for who may leave. It is a
	// mebibyte of small ones, so that large ones cannot come faster than small ones leave.
	shedMax = 4096
	// rowBytes is what a message takes in memory beside its own bytes, about.
	rowBytes = 96 + slotBytes
)

// count is the messages that are retained, wherever they are, and what they take in
// memory or would.
func (s *Store) count() (messages int, bytes int64) {
	if s.complete {
		return s.topics.n, s.bytes
	}
	messages, bytes = s.opt.Rows.Count()
	return messages + s.momentary, bytes + int64(messages)*rowBytes + s.momentaryBytes
}

// InMemory is how many messages are in memory and how much they take with what was read
// for walks, in bytes, and whether these are all.
func (s *Store) InMemory() (messages int, bytes int64, all bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.topics.n, s.bytes + s.held.Load(), s.complete
}

// left notes that memory does not know a change any more.
func (s *Store) left(version uint64) { s.gone = max(s.gone, version) }

// bury notes that nothing is retained of a topic since a version.
func (s *Store) bury(topic []byte, version uint64) {
	switch {
	case s.opt.Rows == nil || version == 0:
		return
	case s.complete:
		s.left(version)
		return
	case s.stones == nil:
		s.stones = make(map[string]uint64)
	}
	st := stone{string(topic), version}
	s.stones[st.topic] = version
	if len(s.grave) < stonesMax {
		s.grave = append(s.grave, st)
		return
	}
	old := s.grave[s.oldest]
	s.grave[s.oldest] = st
	s.oldest = (s.oldest + 1) % stonesMax
	if v, there := s.stones[old.topic]; there && v == old.version {
		delete(s.stones, old.topic)
		s.left(v)
	}
}

// shed lets messages leave memory that nobody asked for since the hand last came by,
// until what stays fits. What no row has stays.
func (s *Store) shed() {
	if s.opt.Rows == nil || s.opt.MemoryMax < 0 || s.bytes <= s.opt.MemoryMax {
		return
	}
	reached := s.opt.Rows.Reached()
	for looks := 0; looks < shedMax && s.bytes > s.opt.MemoryMax && s.topics.n > 0; looks++ {
		if s.hand.block >= len(s.topics.blocks) {
			s.hand = place{}
		}
		items := s.topics.blocks[s.hand.block].items
		if s.hand.i >= len(items) {
			s.hand = place{s.hand.block + 1, 0}
			continue
		}
		e := &items[s.hand.i]
		switch {
		case e.f.Used.Swap(0) != 0, e.f.Version == 0, e.f.Version > reached:
			s.hand.i++
			continue
		}
		f := e.f
		s.complete = false
		s.sheds++
		s.left(f.Version)
		s.removeAt(s.hand, f)
		f.Release()
	}
}

// touch notes that somebody asked for the message at p.
func (s *Store) touch(p place) {
	if s.opt.Rows != nil {
		s.topics.blocks[p.block].items[p.i].f.Used.Store(1)
	}
}

// Withdraw removes the retained message of a topic if it is of version only: what took
// its place stays. version is the number of the record that says so.
func (s *Store) Withdraw(topic []byte, version, only uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p, f := s.topics.find(topic, s.topics.tagOf(topic)); {
	case f == nil:
		s.left(version) // the row decides
	case f.Version == only:
		s.removeAt(p, f)
		f.Release()
		s.bury(topic, version)
	}
	s.version.Store(max(s.version.Load(), version))
}

// Unsure tells whether Room cannot say for want of knowing what is on disk: the limits
// are reached, and the topic may be one that has a message. Learn finds out.
func (s *Store) Unsure(topic []byte, bytes int) bool {
	if s.opt.Rows == nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.complete {
		return false
	}
	messages, sum := s.count()
	most := int64(2*bytes) + rowBytes + 1024 // more than any frame of so many takes
	if (s.opt.MessagesMax < 0 || messages < s.opt.MessagesMax) && (s.opt.BytesMax < 0 || sum+most <= s.opt.BytesMax) {
		return false
	}
	_, f := s.topics.find(topic, s.topics.tagOf(topic))
	_, buried := s.stones[string(topic)]
	return f == nil && !buried
}

// Learn brings into memory what is retained of a topic, or that nothing is. It reads the
// disk.
func (s *Store) Learn(now time.Time, topic string) error {
	p, err := s.Read(now, topic, Cursor{}, 1)
	if err == nil {
		p.Release()
	}
	return err
}

// keep puts what was read for one topic into memory, unless something has changed.
func (s *Store) keep(topic string, p *Portion) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := []byte(topic)
	tag := s.topics.tagOf(name)
	_, f := s.topics.find(name, tag)
	_, buried := s.stones[topic]
	switch {
	case s.complete || s.gone > p.asOf || !p.over || f != nil || buried:
	case len(p.items) == 0:
		s.bury(name, p.asOf)
	default:
		s.shed() // before it, so that whoever asked finds it
		s.insert(p.items[0], tag)
	}
}

// Refill loads what is not in memory if all of it fits, at most some messages at a time,
// and tells whether there is more to load. It reads the disk; one goroutine at a time may
// call it.
func (s *Store) Refill(now time.Time, most int) (more bool, err error) {
	s.mu.Lock()
	ready := s.refillable()
	var cur Cursor
	if ready {
		cur = s.fill.cur
	}
	s.mu.Unlock()
	if !ready {
		return false, nil
	}
	p, err := s.read(now, Everything, &cur, bounds{messages: most, bytes: int64(most) * rowBytes, visits: most})
	if err != nil {
		return false, err
	}
	defer p.Release()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.asOf < s.gone { // something left meanwhile
		return true, nil
	}
	for _, f := range p.items {
		name := f.Topic()
		tag := s.topics.tagOf(name)
		if _, there := s.topics.find(name, tag); there != nil {
			continue
		}
		if _, buried := s.stones[string(name)]; !buried {
			s.insert(f, tag)
		}
	}
	s.version.Store(max(s.version.Load(), p.asOf))
	s.shed()
	if s.sheds != s.fill.sheds {
		s.fill = nil
		return false, nil
	}
	s.fill.cur = p.end
	if p.over {
		for _, v := range s.stones { // forgotten, and portions may still be held that are older
			s.left(v)
		}
		s.complete, s.fill, s.stones, s.grave, s.oldest = true, nil, nil, nil, 0
	}
	return !p.over, nil
}

// refillable tells whether everything would fit, with an eighth to spare, and begins
// anew if something has left since it began.
func (s *Store) refillable() bool {
	if s.complete {
		return false
	}
	_, bytes := s.count()
	if s.opt.MemoryMax >= 0 && bytes > s.opt.MemoryMax-s.opt.MemoryMax/8 {
		s.fill = nil
		return false
	}
	if s.fill == nil || s.fill.sheds != s.sheds {
		s.fill = &filling{sheds: s.sheds}
	}
	return true
}

// Momentary tells whether f is in memory only, and no row has it.
func Momentary(f *mqtt.Frame) bool { return f.Version == 0 }
