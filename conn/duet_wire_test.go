package conn

import (
	"crypto/x509"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// simSocket is a socket without a system: the bytes of both directions lie in
// the test's hands and move when the scheduler says so. A native one reports
// through its loop's poller, as epoll's do; the others through the inbox, as the
// portable engine's do.
type simSocket struct {
	d      *duet
	phone  *phone
	conn   *Conn
	native bool
	poll   *simPoller // where it is joined

	// Towards the broker.
	unsent []byte // written by the client
	rx     []byte // arrived
	leaves bool   // the client has closed; the broker learns of it behind unsent
	fin    bool   // the broker may learn of it
	wants  bool   // the loop asked for input

	// Towards the client.
	out   []byte // taken over by Write; the network has not taken it
	owed  bool   // a portable write whose end has not been told
	tx    []byte // on its way to the client
	txMax int
	in    []byte // read by the client, not a whole packet yet
	clean bool   // of its CONNECT
	life  *life
	simEnd
	ousted bool // a newer connection has its session
}

// simEnd is how far the end of a connection has come.
type simEnd struct {
	shut    bool // the broker has closed
	reset   bool // and not politely
	counted bool // the client has noticed
}

// Read implements socket.
func (s *simSocket) Read() {
	s.d.onLoop(s)
	if s.wants {
		s.d.t.Fatalf("%v: the loop asked twice for input", s.phone)
	}
	s.wants = true
}

// Write implements socket.
func (s *simSocket) Write(b []byte) (done bool) {
	s.d.onLoop(s)
	if len(s.out) > 0 || s.owed {
		s.d.t.Fatalf("%v: a write while another is under way", s.phone)
	}
	s.out = append(s.out, b...)
	putBuffer(b)
	s.push()
	s.owed = !s.native
	return s.native && len(s.out) == 0
}

// push moves what the network takes.
func (s *simSocket) push() (moved bool) {
	n := min(len(s.out), s.txMax-len(s.tx))
	if n <= 0 {
		return false
	}
	s.tx, s.out = append(s.tx, s.out[:n]...), s.out[n:]
	return true
}

// Leave implements socket.
func (s *simSocket) Shown() []*x509.Certificate { return nil }
func (s *simSocket) Agreed() Agreed             { return Agreed{} }

func (s *simSocket) Leave() { s.poll = nil }

// Join implements socket.
func (s *simSocket) Join(l *Loop) { s.poll = l.poll.(*simPoller) }

// Close implements socket.
func (s *simSocket) Close(politely bool, place listener.Admission) {
	place.Leave()
	s.poll, s.shut, s.wants, s.owed = nil, true, false, false
	if !politely {
		s.out, s.reset = nil, true
		if s.d.rng.IntN(2) == 0 {
			s.tx = nil // a reset overtakes what was sent
		}
	}
	if len(s.out) > 0 {
		s.d.t.Fatalf("%v: closed politely with %d bytes unsent", s.phone, len(s.out))
	}
	if !s.leaves && !s.ousted {
		s.d.t.Fatalf("%v: the broker closed the connection for no reason\n%s", s.phone, s.d.log)
	}
	if s.life != nil && !s.life.keeps {
		s.life.ended = true
	}
}

// feed lets n bytes arrive at the broker, and the end behind the last.
func (s *simSocket) feed(n int) (moved bool) {
	n = min(n, len(s.unsent))
	s.rx, s.unsent = append(s.rx, s.unsent[:n]...), s.unsent[n:]
	ends := s.leaves && !s.fin && len(s.unsent) == 0
	s.fin = s.fin || ends
	return n > 0 || ends
}

// pump is what the goroutines of a portable socket do.
func (s *simSocket) pump() (moved bool) {
	if s.native || s.shut {
		return false
	}
	l := s.conn.loop
	if s.wants && len(s.rx) > 0 {
		n := min(len(s.rx), 1+s.d.rng.IntN(bufferMin))
		b := append([]byte(nil), s.rx[:n]...)
		s.rx, s.wants, moved = s.rx[n:], false, true
		l.inbox.post(event{kind: evInput, conn: s.conn, buf: b})
	} else if s.wants && s.fin {
		s.wants, moved = false, true
		l.inbox.post(event{kind: evEnded, conn: s.conn})
	}
	if !s.owed {
		return moved
	}
	moved = s.push() || moved
	switch {
	case len(s.out) == 0:
		s.owed, moved = false, true
		l.inbox.post(event{kind: evWritten, conn: s.conn})
	case s.fin: // the peer takes no more
		s.owed, s.out, moved = false, nil, true
		l.inbox.post(event{kind: evEnded, conn: s.conn})
	}
	return moved
}

// simPoller is how a loop of the simulation waits: its wait tells the scheduler
// whether the loop would sleep, and returns.
type simPoller struct {
	d       *duet
	loop    *Loop
	asleep  bool
	coming  []*simSocket // native ones that were just accepted
	found   []*simSocket
	greeted []*simSocket
}

func (p *simPoller) settle() {}

func (p *simPoller) wait(d time.Duration) { p.asleep = d > 0 && !p.look() }
func (p *simPoller) wake()                { p.asleep = false }
func (p *simPoller) busy() bool           { return false }
func (p *simPoller) abandon()             {}
func (p *simPoller) close()               {}

// look finds what epoll would report, in no order.
func (p *simPoller) look() bool {
	p.greeted, p.coming = append(p.greeted, p.coming...), nil
	p.found = p.found[:0]
	for _, s := range p.d.socks {
		if s.poll == p && s.native && s.ready() {
			p.found = append(p.found, s)
		}
	}
	p.d.rng.Shuffle(len(p.found), func(i, j int) { p.found[i], p.found[j] = p.found[j], p.found[i] })
	return len(p.found)+len(p.greeted) > 0
}

func (s *simSocket) readable() bool { return s.wants && (len(s.rx) > 0 || s.fin) }
func (s *simSocket) writable() bool { return len(s.out) > 0 && len(s.tx) < s.txMax }
func (s *simSocket) ready() bool    { return s.readable() || s.writable() || s.fin }

// dispatch does what the epoll engine does with what it found.
func (p *simPoller) strangers() {}

func (p *simPoller) dispatch() {
	l := p.loop
	for _, s := range p.greeted {
		if l.receive(s.conn) {
			s.Join(l)
			l.resumeReading(s.conn)
		}
	}
	p.greeted = nil
	for _, s := range p.found {
		if s.poll == p { // it may have left, or ended, with what the inbox brought
			l.guard(s.conn, s.event)
		}
	}
	p.found = p.found[:0]
}

func (s *simSocket) event() {
	l, c := s.poll.loop, s.conn
	if s.writable() {
		if s.push(); len(s.out) == 0 {
			c.out.writing = false
			l.mark(c)
		}
	}
	switch {
	case c.stage == gone:
	case s.wants && len(s.rx) > 0:
		b := s.rx
		s.rx, s.wants, c.pace.reading = nil, false, false
		l.input(c, b)
		if c.stage != gone {
			l.resumeReading(c)
		}
	case s.fin:
		s.wants, c.pace.reading = false, false
		l.ended(c, nil)
	}
}

// spy is a loop as its home sees it: it notes what passes and changes nothing.
type spy struct {
	*Loop
	d *duet
}

// Send implements broker.Wire.
func (s spy) Send(ref broker.ConnRef, o session.Out) bool {
	if o.Frame != nil {
		s.d.frames[o.Frame] = struct{}{}
	}
	if c := s.at(ref); c != nil {
		if sock := c.sock.(*simSocket); sock.life == nil {
			s.d.opened(sock, o)
		}
	}
	return s.Loop.Send(ref, o)
}

// Forward implements broker.Wire.
func (s spy) Forward(home int, b *broker.Batch) bool {
	taken := s.Loop.Forward(home, b)
	if !taken {
		s.d.refused[s.id]++
	}
	return taken
}

// opened notes that a session has a new connection, in the order in which it
// happens: the first that is sent on a connection is CONNACK [MQTT-3.2.0-1].
func (d *duet) opened(s *simSocket, o session.Out) {
	p := s.phone
	if o.Kind != session.OutPacket || len(o.Bytes) < 4 || mqtt.Type(o.Bytes[0]>>4) != mqtt.CONNACK || o.Bytes[3] != 0 {
		d.t.Fatalf("%v: the first packet is not a CONNACK that says yes: % x", p, o.Bytes)
	}
	present := !s.clean && p.now != nil && p.now.keeps
	if said := o.Bytes[2]&1 != 0; said != (present && p.version != mqtt.V31) { // 3.1 has no such flag
		d.t.Fatalf("%v: session present %v, want %v", p, said, present)
	}
	if p.holder != nil {
		p.holder.ousted = true
	}
	p.holder = s
	if !present {
		if p.now != nil {
			p.now.ended = true
		}
		p.now = newLife(p, len(d.lives), s.clean)
		d.lives = append(d.lives, p.now)
	}
	s.life = p.now
}
