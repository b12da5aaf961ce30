package conn

import "time"

// broadPerTurn is how many connections a turn writes to at least that have a message which
// many others have as well, if broadTime is enough for them. A message for ten thousand is some
// forty milliseconds of encryption and system calls; those who have something else to say must
// not wait for all of it (D-07).
const (
	broadPerTurn = 16
	broadTime    = 200 * time.Microsecond
)

// broadLook is after how many of these the clock is looked at.
const broadLook = 4

// broad are connections that have such a message, in the order in which they have their
// turns. A connection that has something for it alone meanwhile is written to at once, and
// its place passes.
type broad struct {
	on      bool // what is sent now is for many
	conns   []*Conn
	head    int    // of conns; those before it have been written to
	listed  uint64 // how many ever were
	written uint64 // how many of these have been written to

	round uint64 // those listed up to here are this round
	taken int    // what other loops have sent in this round, bytes

	since  time.Time     // when on was set
	spent  time.Duration // of the turn: with on
	others time.Duration // what the last turn took for others, if anything is for many
}

// deferred is a connection whose packets wait: until the next turn, and until after
// connections have been written to.
type deferred struct {
	conn  *Conn
	after uint64
}

func (b *broad) empty() bool { return b.head == len(b.conns) }

func (b *broad) add(c *Conn) {
	b.conns = append(b.conns, c)
	b.listed++
}

// takes tells whether the loop takes what other loops send. Of those who are written to in
// many turns each has its turn once a round: what comes in a round is no more than what came
// in a turn before, and publishers elsewhere wait as they did.
func (b *broad) takes(most int) bool {
	if b.empty() || b.written >= b.round {
		b.round, b.taken = b.listed, 0
	}
	return b.taken < most
}

// flushBroad writes to some of those that many share a message with: for as long as the rest
// of the turn took for others, so that however busy it is they have as long as those. Who sent the
// message is not read until the last of them has it, so that a publisher is not ahead of the
// network.
func (l *Loop) flushBroad() {
	b := &l.broad
	spent := b.spent
	if b.spent, b.others = 0, 0; b.empty() && l.home.Later() == 0 {
		return
	}
	begun := l.server.clock.Now()
	others := begun.Sub(l.now) - spent
	b.others = others
	for n := 0; !b.empty(); n++ {
		if n > 0 && n%broadLook == 0 {
			if took := l.server.clock.Now().Sub(begun); took >= others && (n >= broadPerTurn || took >= broadTime) {
				break
			}
		}
		c := b.conns[b.head]
		b.conns[b.head] = nil
		b.head++
		b.written++
		if c.out.broad {
			l.guard(c, func() { l.flush(c) })
		}
	}
	switch {
	case b.empty():
		b.conns, b.head = b.conns[:0], 0
	case b.head > len(b.conns)/2: // a list that is never empty must not grow for ever
		left := copy(b.conns, b.conns[b.head:])
		clear(b.conns[left:])
		b.conns, b.head = b.conns[:left], 0
	}
}

// catchUp delivers what other loops have sent for many and there was no turn for: some, and
// more for as long as the last turn took for others: however long turns are, what is for many
// is not behind for ever. Writing it has a time of its own (flushBroad).
func (l *Loop) catchUp() {
	l.guard(nil, func() { l.home.CatchUp(l.now) })
	for l.broad.others > 0 && l.home.Later() > 0 && l.server.clock.Now().Sub(l.now) < l.broad.others {
		l.guard(nil, func() { l.home.CatchUp(l.now) })
	}
}

// Broad implements broker.Wire. What a message for many takes before anybody is written to is
// time that those have had.
func (l *Loop) Broad(on bool) (was bool) {
	b := &l.broad
	if was, b.on = b.on, on; was == on {
		return was
	}
	if now := l.server.clock.Now(); on {
		b.since = now
	} else {
		b.spent += now.Sub(b.since)
	}
	return was
}
