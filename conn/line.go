package conn

import (
	"errors"
	"io"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
)

// errHandshakeRate ends a connection whose network has begun more handshakes than
// it may.
var errHandshakeRate = errors.New("too many handshakes from this network (limits." + string(listener.OverHandshakeRate) + ")")

// line is the connections of a loop whose handshake could begin and is put off,
// because their network is over its rate. What they have sent stays in the kernel.
type line struct {
	waiting []putOff
	next    time.Time // the first of them; zero: none waits
}

type putOff struct {
	ref broker.ConnRef
	at  time.Time
}

func (f *line) push(c *Conn, at time.Time) {
	f.waiting = append(f.waiting, putOff{c.ref, at})
	if f.next.IsZero() || at.Before(f.next) {
		f.next = at
	}
}

// call begins the handshakes whose time has come.
func (f *line) call(l *Loop) {
	if f.next.IsZero() || l.now.Before(f.next) {
		return
	}
	still := f.waiting[:0]
	f.next = time.Time{}
	for _, w := range f.waiting {
		c := l.at(w.ref)
		if c == nil || c.stage != greeting {
			continue
		}
		if l.now.Before(w.at) {
			if still = append(still, w); f.next.IsZero() || w.at.Before(f.next) {
				f.next = w.at
			}
			continue
		}
		l.guard(c, func() { c.sock.(beginner).begin() })
	}
	f.waiting = still
}

// beginner is a socket whose handshakes the loop begins.
type beginner interface{ begin() }

// mayBegin asks the door about the handshake of c, and answers true if it is to
// begin now.
func (l *Loop) mayBegin(c *Conn) bool {
	wait, refusal := c.place.Begin(l.now, c.listener.TLS != nil)
	switch {
	case refusal != "":
		l.shaken(c, errHandshakeRate)
		return false
	case wait > 0:
		l.before.line.push(c, l.now.Add(wait))
		return false
	}
	return true
}

// hungUp ends a connection that waits in line and whose client has gone.
func (l *Loop) hungUp(c *Conn) { l.ended(c, io.EOF) }
