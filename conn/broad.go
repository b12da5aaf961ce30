package conn

// broadPerTurn is how many connections a turn writes to that have a message which many
// others have as well, unless it has as many others to write to. A message for ten
// thousand is some forty milliseconds of encryption and system calls; those who have
// something else to say must not wait for all of it (D-07).
const broadPerTurn = 64

// broad are connections that have such a message, in the order in which they have their
// turns. A connection is listed once, whatever comes for it meanwhile.
type broad struct {
	on      bool // what is sent now is for many
	conns   []*Conn
	head    int    // of conns; those before it have been written to
	listed  uint64 // how many ever were
	written uint64 // how many of these have been written to
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

// flushBroad writes to n of those that many share a message with. Who sent it is not read
// until the last of them has it, so that a publisher is not ahead of the network.
func (l *Loop) flushBroad(n int) {
	b := &l.broad
	for ; n > 0 && !b.empty(); n-- {
		c := b.conns[b.head]
		b.conns[b.head] = nil
		b.head++
		b.written++
		l.guard(c, func() { l.flush(c) })
	}
	switch {
	case b.empty():
		b.conns, b.head = b.conns[:0], 0
	case b.head > len(b.conns)/2: // a list that is never empty must not grow for ever
		rest := copy(b.conns, b.conns[b.head:])
		clear(b.conns[rest:])
		b.conns, b.head = b.conns[:rest], 0
	}
}

// Broad implements broker.Wire.
func (l *Loop) Broad(on bool) { l.broad.on = on }
