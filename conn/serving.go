package conn

import "time"

// serving is whether the loop has lately served clients who have been in for a while. While it does, who is not in yet, or
// not any longer, has a part of each turn; without them a storm of connects is cheaper in large
// portions.
type serving struct {
	serves bool          // in this turn
	last   time.Time     // the last turn in which it did
	begun  time.Time     // of those who are not in, in this turn
	room   time.Duration // that they have
	company
}

const (
	// servingFor is how long clients are taken for busy after one was served.
	servingFor = 100 * time.Millisecond
	// newFor is how long who has come in is a part of the storm that brought it: a fleet that comes back
	// subscribes, and says that it is there.
	newFor = 2 * time.Second
	// strangersTime is what those who are not in have of each turn, if the turn took no longer for others:
	// to accept a connection takes some 20 microseconds, to end one 50.
	strangersTime = 100 * time.Microsecond
)

// established tells whether c has been in for a while.
func (l *Loop) established(c *Conn) bool {
	return c.stage == open && l.now.UnixMilli()-c.opened >= newFor.Milliseconds()
}

// lookAtStrangers does in a turn what is for those who are not in: they come, say something, wait for too
// long. Who is in has had what was for him before. Clients whose keep alive is over are among them.
func (l *Loop) lookAtStrangers() {
	l.begun = l.server.clock.Now()
	l.took = l.begun.Sub(l.now)
	l.room = max(strangersTime, l.took)
	l.guard(nil, l.lookAtLate) // before others come: whose time is over must not wait for them
	l.guard(nil, func() { l.before.hurry(l) })
	l.poll.strangers()
	l.guard(nil, func() { l.before.line.call(l) })
}

// strangersMay tells whether the turn has room for one more of them.
func (l *Loop) strangersMay() bool {
	return l.last.IsZero() || l.now.Sub(l.last) > servingFor || l.server.clock.Now().Sub(l.begun) < l.room
}

// remember is for the end of a turn: handshakes, on threads of their own, look at what is told here.
func (l *Loop) remember() {
	if !l.serves {
		return
	}
	l.last = l.now
	if s := l.server; l.moment-instant(s.served.Load()) > instant(servingFor/10) { // not in every turn: all processors read it
		s.served.Store(int64(l.moment))
	}
}

// Serves tells whether clients who are in were served within a tenth of a second.
func (s *Server) Serves() bool { return s.serves(s.clock.Now()) }

// serves tells whether clients who are in were served lately, on any loop.
func (s *Server) serves(now time.Time) bool {
	at := s.served.Load()
	return at != 0 && s.instant(now)-instant(at) <= instant(servingFor)
}
