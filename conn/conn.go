// Package conn is the event loops: they own sockets and connections, take
// packets off them within the limits, and drive the sessions of package broker.
// Nothing on a loop blocks. It does not know what a packet means for anybody
// but its own connection.
//
// A Server has one Loop per core and an Engine, which moves bytes between
// sockets and loops. On Linux that is Epoll: an idle connection has no goroutine
// and no buffer. Portable spends a goroutine on each connection and runs
// everywhere. One suite of tests runs the broker on both.
//
// Rules: MQTT 5.0 §4.2 network connections, §4.13 errors; design rules: verdict
// from the fixed header before anything is buffered, one absolute deadline from
// accept to CONNECT, one write per dirty connection and turn.
package conn

import (
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/pki"
)

// stage is how far a connection has come.
type stage uint8

const (
	awaitingConnect stage = iota
	authenticating        // CONNECT was read; nothing further is, until the verdict and until its session may begin
	open
	closing // queued bytes still leave, nothing is read
	gone
	greeting   // TLS: no whole ClientHello yet, and nothing allocated for one; WebSocket: no byte
	exchanging // an AUTH is to come before CONNECT is accepted
	shaking    // a goroutine of the engine does the TLS handshake and the WebSocket upgrade
)

// Conn is one client's network connection. It belongs to one Loop at a time (it
// moves once, after CONNECT, to its session's home): that loop's goroutine is
// the only one that touches it, so it has no mutex.
type Conn struct {
	// Set once, by the engine.
	sock     socket
	listener *listener.Listener
	some     *seldom // nil: nothing of it

	// Changed by the move home only.
	loop *Loop
	ref  broker.ConnRef

	// Owned by loop.
	place   listener.Admission // the address is in it
	port    uint16             // of the address
	stage   stage
	version mqtt.Version
	marks
	half    *half // an incomplete packet; nil: there is none
	session broker.Ref
	opened  int64 // Unix milliseconds, when CONNECT was accepted
	out     outQueue
	pace    pace
}

// seldom is what most connections over TCP or TLS have nothing of, once they are open.
type seldom struct {
	hello *arrival     // from CONNECT until it is open
	via   *via         // what a proxy said of it; nil: there is none
	trust *pki.Clients // of the listener when the handshake began
	auth  *exchange    // nil without an Authentication Method
	ws    *frames      // nil unless WebSocket
}

// with keeps v for a new connection, unless there is nothing in it.
func (c *Conn) with(v seldom) {
	if c.some = nil; v != (seldom{}) {
		c.some = new(seldom)
		*c.some = v
	}
}

// more is a copy of what c has of it.
func (c *Conn) more() seldom {
	if c.some == nil {
		return seldom{}
	}
	return *c.some
}

// arrives keeps a CONNECT until c is open.
func (c *Conn) arrives(a *arrival) {
	a.some = c.more()
	a.some.hello = a
	c.some = &a.some // in one piece
}

// arrived forgets it.
func (c *Conn) arrived() {
	v := c.more()
	v.hello = nil
	c.with(v)
}

// hello is the CONNECT of c, nil before it and once c is open.
func (c *Conn) hello() *arrival { return c.more().hello }

// auth is the exchange of c, nil without an Authentication Method.
func (c *Conn) auth() *exchange { return c.more().auth }

// ws is what c knows of frames, nil unless it is a WebSocket.
func (c *Conn) ws() *frames { return c.more().ws }

// trust is what the listener of c trusted when the handshake began.
func (c *Conn) trust() *pki.Clients { return c.more().trust }

// from is where c comes from; the zero AddrPort where there is no address.
func (c *Conn) from() netip.AddrPort { return netip.AddrPortFrom(c.place.From(), c.port) }

// marks are those of a connection that have room beside its stage.
type marks struct {
	clean  bool // CONNECT asked for a clean start
	armed  bool // the timer looks at half
	greedy bool // has packets left for the next turn
	bulk   bulk
}

// listens tells whether packets are taken from c.
func (c *Conn) listens() bool {
	return c.stage == awaitingConnect || c.stage == exchanging || c.stage == open
}

// peer is what the broker is told of where c came from.
func (c *Conn) peer() broker.Peer {
	return broker.Peer{Addr: c.place.From(), Port: c.port, Listener: c.listener.Name, Chain: c.listener.Chain, Certificate: c.certificate(), Known: c.place.Known()}
}

// arrival is a CONNECT on its way to a session.
type arrival struct {
	connect  *mqtt.Connect
	assigned bool // the client id is ours
	by       auth.Principal
	judge    string          // the authenticator that refuses it
	until    time.Time       // when it is given up
	to       *broker.Arrival // nil: the broker was not asked yet
	some     seldom          // of its connection

	// In one piece, which is gone when the connection is open: many small ones would leave as
	// many holes among what stays.
	packet  mqtt.Connect
	request auth.Request
	arrives broker.Arrival
}

// pace is when a connection is read and when it is given up.
type pace struct {
	lastSeen        instant // last complete packet [MQTT-3.1.2-22]
	until           instant // not read before
	keepAliveMillis uint32  // one and a half times the interval; 0 before CONNECT is accepted
	reading         bool    // the socket was asked for input and has not answered
	held            bool    // not read until the broker says so
	timed           bool    // listed in Loop.paused
	choked          bool    // not read until what it was owed has been sent
}

// patience is for how long a client may be silent.
func (p *pace) patience() time.Duration { return time.Duration(p.keepAliveMillis) * time.Millisecond }

// socket is what an engine gives a loop for one connection. Its methods are
// called on the loop's goroutine and never block; answers come as events.
type socket interface {
	// Read asks for more input: one input or ended event follows.
	Read()
	// Write takes over b, which came from getBuffer, and tells whether the system
	// has all of it. If not, one written event follows, and Write is not called
	// before.
	Write(b []byte) (done bool)
	// Shown is the certificates that the client has shown in the handshake, its own
	// first; nil: none.
	Shown() []*x509.Certificate
	// Agreed is what the two sides of the handshake have agreed on; the zero value: there
	// is no TLS.
	Agreed() Agreed
	// Leave and Join take the socket from one loop's poller to another's.
	Leave()
	Join(l *Loop)
	// Close ends the socket. Politely means: the peer is told that no more comes
	// and is given a moment to read what was sent before the connection is torn
	// down; otherwise at once. No event follows that matters. place is left when
	// the socket has really gone.
	Close(politely bool, place listener.Admission)
}
