package broker

import (
	"sync"
	"sync/atomic"

	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// A shared subscription with members that outlive the process has a line: what nobody
// of them could take waits there, in the log, and whoever has room first gets it. The
// home of the line hands it out; see group_queue.go. What a member gets it has
// in the log as its own before it is sent, so that a crash finds every message in one
// place: docs/adr/0014.

// line is one shared subscription, as all homes see it.
type line struct {
	id          fact.FilterID // a message that waits for the group names it
	share, real string
	home        int           // that hands out what waits
	ref         atomic.Uint64 // the router's name of the group

	kept   atomic.Int64  // members of which the log knows: while there is none, nothing waits
	coming atomic.Int64  // messages for the line that are on their way to the log
	last   atomic.Uint64 // number of the newest message for it that was applied
	done   atomic.Uint64 // all up to here is given to somebody
	poked  atomic.Bool   // its home was told to look

	users atomic.Int64 // members of any kind; written with lines.mu held

	mu     sync.Mutex // guards everything below; nothing is called while it is held
	owed   owed
	giving int // members that are giving something back, which is not in the line yet
	owes   int // times that somebody began to
	dirty  bool
}

// owed is what waits in a line.
type owed struct {
	first    store.Seq // 0: nothing
	messages int
	bytes    int64
}

// lines are the groups of a broker whose sessions outlive it.
type lines struct {
	some atomic.Int64 // lines

	mu    sync.RWMutex // guards everything below; never held while something else is asked
	byID  map[fact.FilterID]*line
	byRef map[router.Ref]*line
}

func newLines() *lines {
	return &lines{byID: make(map[fact.FilterID]*line), byRef: make(map[router.Ref]*line)}
}

// join counts a member of any kind and answers the line of its group.
func (t *lines) join(id fact.FilterID, share, real string, ref router.Ref, homes int) *line {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.byID[id]
	if l == nil {
		l = &line{id: id, share: share, real: real, home: int(uint64(id) % uint64(homes))} //nolint:gosec // few
		t.byID[id] = l
		t.some.Add(1)
	}
	l.users.Add(1)
	if old := l.router(); old != ref { // the first, or the group was made anew meanwhile
		delete(t.byRef, old)
		l.ref.Store(uint64(ref.Gen)<<32 | uint64(ref.Slot))
		t.byRef[ref] = l
	}
	return l
}

// leave takes it back.
func (t *lines) leave(l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.users.Add(-1) > 0 {
		return
	}
	delete(t.byID, l.id)
	delete(t.byRef, l.router())
	t.some.Add(-1)
}

// at is the line of a group; nil: there is none.
func (t *lines) at(ref router.Ref) *line {
	if t == nil || t.some.Load() == 0 {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byRef[ref]
}

// named is the line of that identifier; nil: it is somebody else's.
func (t *lines) named(id fact.FilterID) *line {
	if t.some.Load() == 0 {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// all are the lines there are.
func (t *lines) all() (list []*line) {
	if t == nil {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, l := range t.byID {
		list = append(list, l)
	}
	return list
}

func (l *line) router() router.Ref {
	n := l.ref.Load()
	return router.Ref{Home: router.GroupHome, Slot: uint32(n), Gen: uint32(n >> 32)} //nolint:gosec // its halves
}

// mixed tells whether there are members of which the log does not know.
func (l *line) mixed() bool { return l.users.Load() > l.kept.Load() }

func (l *line) group() session.Group { return groupOf(l.router()) }

// waiting tells whether something waits: then what is published waits behind it, so that
// a member gets messages in the order in which they came.
func (l *line) waiting() bool {
	return l.kept.Load() > 0 && (l.coming.Load() > 0 || l.last.Load() > l.done.Load())
}

// hear notes a message that waits now, and has the line looked at whole when more does
// than messagesMax or bytesMax: whoever looks drops the oldest, and has in memory what
// waits, which must not be all the log.
func (l *line) hear(seq store.Seq, bytes int64, messagesMax int, bytesMax int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owed.first == 0 || seq < l.owed.first {
		l.owed.first = seq
	}
	l.owed.messages++
	l.owed.bytes += bytes
	l.dirty = l.dirty || l.owed.messages > messagesMax || l.owed.bytes > bytesMax
}

// owe says that a member begins to give back what it has, of which first is the least
// number. The log keeps it from here on.
func (l *line) owe(first store.Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.giving++
	l.owes++
	if first != 0 && (l.owed.first == 0 || first < l.owed.first) {
		l.owed.first = first
	}
}

// given says that it is in the line.
func (l *line) given() {
	l.mu.Lock()
	l.giving--
	l.dirty = true
	l.mu.Unlock()
	l.again()
}

// again has the line looked at although nothing has come.
func (l *line) again() {
	for {
		n := l.last.Load()
		if l.last.CompareAndSwap(n, max(n, 1)) {
			l.done.Store(0)
			return
		}
	}
}

// end forgets what waits, since nobody is left who would have it after a crash, and
// answers how much that was.
func (l *line) end() (messages int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	messages, l.owed = l.owed.messages, owed{}
	l.done.Store(l.last.Load())
	return messages
}

// LineBehind is what waits for groups, in the words of Home.Behind: the holder is called by
// the filter.
func (b *Broker) LineBehind() (sum Behind) {
	for _, l := range b.lines.all() {
		l.mu.Lock()
		o := l.owed
		l.mu.Unlock()
		if o.first == 0 {
			continue
		}
		sum.Groups = sum.Groups.plus(Waiting{1, int64(o.messages), o.bytes})
		if sum.Oldest == 0 || o.first < sum.Oldest {
			sum.Oldest, sum.Holder = o.first, session.Key{ClientID: "$share/" + l.share + "/" + l.real}
		}
	}
	return sum
}

// poke tells the line's home to look.
func (b *Broker) poke(l *line) {
	if l.poked.CompareAndSwap(false, true) {
		h := b.all[l.home]
		h.wire.Post(h.poked(l))
	}
}
