package conn

import (
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/limit/top"
	"github.com/redoubtmq/redoubt/metrics"
)

// strangers are the connections of a loop whose CONNECT has not been accepted, in
// the order they came. The wheel holds the deadline of each; this is for the time
// when patience is short. Those that went on or away are passed over.
type strangers struct {
	waiting []stranger
	head    int
	line    line // of them, who wait to begin a handshake
}

type stranger struct {
	ref   broker.ConnRef
	since time.Time
}

// of is the connection of s, or nil when it has gone, or is a stranger no more.
func (s *stranger) of(l *Loop) *Conn {
	if c := l.at(s.ref); c != nil && c.stranger() {
		return c
	}
	return nil
}

// stranger tells whether the CONNECT of c has not been accepted; it is not on its way out.
func (c *Conn) stranger() bool {
	switch c.stage {
	case greeting, shaking, awaitingConnect, authenticating, exchanging:
		return true
	}
	return false
}

func (f *strangers) push(l *Loop, c *Conn) {
	for f.head < len(f.waiting) && f.waiting[f.head].of(l) == nil { // at most the connect deadline's worth is behind the first
		f.head++
	}
	if f.head > len(f.waiting)/2 {
		f.waiting = append(f.waiting[:0], f.waiting[f.head:]...)
		f.head = 0
	}
	f.waiting = append(f.waiting, stranger{c.ref, l.now})
}

// hurry closes those who have waited for longer than there is patience at the
// moment. One who waits for us is left to its own deadline: to throw it out would
// cost what was done for it, and bring it back. The rest have the next turn.
func (f *strangers) hurry(l *Loop) {
	n := 0
	for ; f.head < len(f.waiting); f.head++ {
		s := &f.waiting[f.head]
		c := s.of(l)
		if c == nil {
			continue
		}
		if l.now.Sub(s.since) < c.listener.Door.Patience() {
			return
		}
		if !c.place.WaitsForUs() {
			if n++; n > overduePerTurn || n > 1 && !l.strangersMay() {
				l.again = true
				return
			}
			l.guard(c, func() { l.overdue(c) })
		}
	}
	f.waiting, f.head = f.waiting[:0], 0
}

// evict ends a connection that has to make room, wherever it is called from.
func (l *Loop) evict(ref broker.ConnRef) {
	l.inbox.post(event{kind: evCall, fn: func(l *Loop) {
		if c := l.at(ref); c != nil {
			l.guard(c, func() { l.makeRoom(c) })
		}
	}})
}

// makeRoom ends a connection whose place another has already.
func (l *Loop) makeRoom(c *Conn) {
	if c.stage == greeting || c.stage == shaking {
		l.count.Inc(metrics.HandshakesFailedEvicted)
	}
	l.server.stranger(l.now, c.from(), c.listener, top.Refused)
	l.abort(c, broker.CauseEvicted)
}
