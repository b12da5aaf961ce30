package conn

import (
	"net"
	"runtime"
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/listener"
)

// computing is the right of one handshake to use a processor, where each handshake has a
// goroutine of its own. It is taken before something is computed and given back whenever the
// client is waited for, so that all handshakes together are the part of the machine that the
// door deals out (limits.handshake_cpu). It belongs to the handshake's goroutine.
type computing struct {
	server *Server
	place  listener.Admission // a copy, which says on whose behalf
	ended  <-chan struct{}    // closed: nobody wants the handshake any longer
	turn   *limit.Turn        // nil: not taken
}

// take waits for a turn; false: the handshake is over.
func (c *computing) take() bool {
	ready := make(chan struct{})
	turn := &limit.Turn{Dealt: func() { close(ready) }}
	c.server.dealLater(c.place, c.place.Ask(c.server.clock.Now(), turn))
	select {
	case <-ready:
		c.turn = turn
		runtime.Gosched() // who dealt the turn goes on with it in the same place: a loop that waits for one comes first
		return true
	case <-c.ended:
		c.server.dealLater(c.place, c.place.Done(c.server.clock.Now(), turn))
		return false
	}
}

// give ends the turn, if there is one.
func (c *computing) give() {
	if c.turn != nil {
		c.server.dealLater(c.place, c.place.Done(c.server.clock.Now(), c.turn))
		c.turn = nil
		c.server.giveWay()
	}
}

// giveWay is for who has computed: one handshake after the other on a thread is to the kernel one that runs, and goes on.
// Where loops that wake up have to wait for it, it has them come now, if there are clients whom they serve: without those a
// storm of connects costs less where a loop finds much each time it comes.
func (s *Server) giveWay() {
	if s.givesWay(s.clock.Now()) {
		offer()
	}
}

func (s *Server) givesWay(now time.Time) bool { return !s.short && s.serves(now) }

// dealLater lets waiting handshakes compute when their part of the time allows it.
// There is at most one of these timers.
func (s *Server) dealLater(place listener.Admission, after time.Duration) {
	if after <= 0 {
		return
	}
	s.dealing.Add(1)
	time.AfterFunc(after, func() {
		defer s.dealing.Done()
		s.guard(func() { s.dealLater(place, place.Deal(s.clock.Now())) }, func() {})
	})
}

// breather is a transport whose handshake computes in turns: it has none while it
// waits for the client.
type breather struct {
	net.Conn
	computing *computing // nil: the handshake is over
}

// Read implements net.Conn.
func (b *breather) Read(p []byte) (int, error) {
	if b.computing == nil {
		return b.Conn.Read(p)
	}
	b.computing.give()
	n, err := b.Conn.Read(p)
	if !b.computing.take() && err == nil {
		err = errHandshakeTime
	}
	return n, err
}

// Write implements net.Conn.
func (b *breather) Write(p []byte) (int, error) {
	if b.computing == nil {
		return b.Conn.Write(p)
	}
	b.computing.give()
	n, err := b.Conn.Write(p)
	if !b.computing.take() && err == nil {
		err = errHandshakeTime
	}
	return n, err
}
