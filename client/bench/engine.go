package bench

import (
	"errors"
	"time"
)

// engine moves bytes between our clients and the broker. Everything it calls, it
// calls from turn, on the goroutine of the run: what stands on it needs no locks.
type engine interface {
	name() string
	// open begins to connect; opened or ended of the line's owner follows.
	open(l *line)
	// queue promises that what is in l.out leaves at the end of the turn.
	queue(l *line)
	// close ends the connection; its owner hears nothing more of it.
	close(l *line)
	// turn waits for something to happen, at most so long, and does what has to be done.
	turn(wait time.Duration) error
	// end closes everything and waits for what the engine started.
	end()
}

// line is one connection.
type line struct {
	owner owner
	out   []byte // to be sent
	part  []byte // of a packet that is not complete

	live   bool // opened and not ended
	queued bool // in the engine's list of this turn
	behind int  // bytes that were handed over and have not left

	// Of the engine with an event loop.
	secured *secured // nil without TLS
	fd      int
	sent    int  // bytes of out that have left
	blocked bool // waits until the socket takes more
	full    bool // epoll tells when it does

	pipe *pipe // of the engine with goroutines
}

// owner is who speaks on a line.
type owner interface {
	opened()
	// bytes takes whole packets off b and answers what is left of it.
	bytes(b []byte) (rest []byte, err error)
	// drained tells that all that was queued has left.
	drained()
	ended(err error)
}

var errClosed = errors.New("closed by the broker")

// take hands what was read to the owner and keeps what is not yet complete.
func (l *line) take(b []byte) error {
	whole := b
	if len(l.part) > 0 {
		l.part = append(l.part, b...)
		whole = l.part
	}
	rest, err := l.owner.bytes(whole)
	if err != nil {
		return err
	}
	switch {
	case len(rest) == 0:
		if l.part = l.part[:0]; cap(l.part) > partKept {
			l.part = nil
		}
	case len(rest) < len(whole) || len(l.part) == 0:
		l.part = append(l.part[:0], rest...)
	}
	return nil
}

// partKept is how much room for incomplete packets an idle line keeps, in bytes.
const partKept = 64 << 10
