package harden

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"
)

// client is one MQTT connection of a probe.
type client struct {
	e     *Env
	ctx   context.Context
	conn  net.Conn
	r     *bufio.Reader
	level byte
	id    uint16 // last packet identifier used

	connack packet
	got     []string // topics of messages that were delivered
}

func newClient(ctx context.Context, e *Env, conn net.Conn, level byte) *client {
	return &client{e: e, ctx: ctx, conn: conn, r: bufio.NewReader(conn), level: level}
}

// said is what a broker answered to one thing: a packet, or how it kept silent.
type said struct {
	packet *packet
	level  byte
	closed bool // the connection ended
	other  string
}

// String is the observation in words.
func (s said) String() string {
	switch {
	case s.packet != nil:
		return s.packet.describe(s.level)
	case s.closed:
		return "connection closed"
	}
	return s.other
}

// is tells whether the answer is a packet of a type with one of the codes.
func (s said) is(typ byte, codes ...byte) bool {
	if s.packet == nil || s.packet.typ != typ {
		return false
	}
	code := s.packet.code(s.level)
	if typ == typeSuback {
		all := s.packet.subackCodes(s.level)
		if len(all) != 1 {
			return false
		}
		code = all[0]
	}
	for _, c := range codes {
		if c == code {
			return true
		}
	}
	return false
}

// ok tells whether the answer is a packet of a type that reports success.
func (s said) ok(typ byte) bool {
	if s.packet == nil || s.packet.typ != typ {
		return false
	}
	if typ == typeSuback {
		codes := s.packet.subackCodes(s.level)
		for _, c := range codes {
			if c >= 0x80 {
				return false
			}
		}
		return len(codes) > 0
	}
	if s.level != level5 && typ == typeConnack {
		return s.packet.code(s.level) == 0
	}
	return s.packet.code(s.level) < 0x80
}

func saidError(err error, level byte) said {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return said{closed: true, level: level}
	case errors.As(err, &timeout) && timeout.Timeout():
		return said{other: "no answer in time", level: level}
	}
	return said{other: shortened(err.Error()), level: level}
}

// connect opens a connection and sends a CONNECT. The client is nil unless it was
// accepted.
func (e *Env) connect(ctx context.Context, p *endpoint, c connectPacket) (*client, said) {
	conn, err := e.open(ctx, e.withCert(p, c.user))
	if err != nil {
		return nil, said{other: "no connection: " + shortened(err.Error()), level: c.level}
	}
	m := newClient(ctx, e, conn, c.level)
	if c.clientID == "" {
		c.clientID = e.clientID()
	}
	answer := m.ask(c.encode(), typeConnack)
	if !answer.ok(typeConnack) {
		m.drop()
		return nil, answer
	}
	m.connack = *answer.packet
	return m, answer
}

// as makes the CONNECT of a probe user.
func (u *ProbeUser) as(level byte) connectPacket {
	return connectPacket{level: level, user: &u.Name, password: u.Secret.Reveal(), hasPass: true}
}

// drop closes the connection without DISCONNECT.
func (m *client) drop() { _ = m.conn.Close() }

// leave says DISCONNECT and closes.
func (m *client) leave() {
	if m == nil {
		return
	}
	_ = m.send([]byte{typeDisconnect << 4, 0})
	m.drop()
}

func (m *client) nextID() uint16 {
	m.id++
	return m.id
}

// send writes within one step.
func (m *client) send(b []byte) error {
	if err := m.conn.SetDeadline(m.e.deadline(m.ctx)); err != nil {
		return err
	}
	_, err := m.conn.Write(b)
	return err
}

// ask sends b and reads until a packet of type want, or until the broker ends the
// connection. Messages that come in between are noted and acknowledged.
func (m *client) ask(b []byte, want byte) said {
	if err := m.send(b); err != nil {
		// What the broker said before it closed may still be there to read.
		if s := m.answer(want); s.packet != nil {
			return s
		}
		return saidError(err, m.level)
	}
	return m.answer(want)
}

func (m *client) answer(want byte) said {
	for {
		p, err := readPacket(m.r)
		if err != nil {
			return saidError(err, m.level)
		}
		if p.typ == want || p.typ == typeDisconnect || p.typ == typeConnack {
			return said{packet: &p, level: m.level}
		}
		if err := m.note(&p); err != nil {
			return saidError(err, m.level)
		}
	}
}

// note remembers a message that was delivered and acknowledges it.
func (m *client) note(p *packet) error {
	switch p.typ {
	case typePublish:
		topic, id := p.topicOf()
		m.got = append(m.got, topic)
		switch p.flags & 0x06 >> 1 {
		case 1:
			return m.send(ackPacket(typePuback, id))
		case 2:
			return m.send(ackPacket(typePubrec, id))
		}
	case typePubrel:
		if id, ok := p.packetIDOf(); ok {
			return m.send(ackPacket(typePubcomp, id))
		}
	}
	return nil
}

// publish sends a message and reads its acknowledgement. At QoS 0, which has
// none, a PINGREQ behind it tells when it was dealt with.
func (m *client) publish(p publishPacket) said {
	switch p.qos {
	case 0:
		return m.ask(append(p.encode(m.level), typePingreq<<4, 0), typePingresp)
	case 1:
		p.id = m.nextID()
		return m.ask(p.encode(m.level), typePuback)
	}
	p.id = m.nextID()
	s := m.ask(p.encode(m.level), typePubrec)
	if s.ok(typePubrec) {
		if end := m.ask(ackPacket(typePubrel, p.id), typePubcomp); !end.ok(typePubcomp) {
			return end
		}
	}
	return s
}

func (m *client) subscribe(filters ...string) said {
	return m.ask(subscribePacket(m.level, m.nextID(), 2, filters...), typeSuback)
}

// quiet reads for a while and notes what comes.
func (m *client) quiet(d time.Duration) error {
	until := m.e.Clock.Now().Add(d)
	if err := m.conn.SetReadDeadline(until); err != nil {
		return err
	}
	for {
		p, err := readPacket(m.r)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return nil
		}
		if err != nil {
			return err
		}
		if err := m.note(&p); err != nil {
			return err
		}
		if err := m.conn.SetReadDeadline(until); err != nil { // send moved it
			return err
		}
	}
}

// settled notes what the broker delivers until it had time enough to deliver
// everything. The answer to a PINGREQ behind the wait comes after all that was
// sent before it, however busy this machine is.
func (m *client) settled() error {
	if err := m.quiet(quietTime); err != nil {
		return err
	}
	return m.lives()
}

// lives notes what the broker has delivered until now.
func (m *client) lives() error {
	if s := m.ask([]byte{typePingreq << 4, 0}, typePingresp); !s.ok(typePingresp) {
		return fmt.Errorf("the connection did not live on: %s", s)
	}
	return nil
}

// await reads until a message on topic was delivered, one step long at most, and
// takes that message and no other off what was.
func (m *client) await(topic string) bool {
	until := m.e.deadline(m.ctx)
	for {
		if i := slices.Index(m.got, topic); i >= 0 {
			m.got = slices.Delete(m.got, i, i+1)
			return true
		}
		if err := m.conn.SetReadDeadline(until); err != nil {
			return false
		}
		p, err := readPacket(m.r)
		if err != nil || m.note(&p) != nil {
			return false
		}
	}
}

// take answers what was delivered since the last take.
func (m *client) take() []string {
	got := m.got
	m.got = nil
	return got
}

func randomText() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}
