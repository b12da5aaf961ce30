// Package session is one MQTT session as a value. It takes an input and the
// current time and returns what should happen next. It opens no socket, starts
// no goroutine, reads no clock and takes no lock; the loops of package conn and
// the homes of package broker do those. It does not know who may do what
// (auth), nor who wants a message (router): it knows packet identifiers, topic
// aliases, windows and queues.
//
// Rules: MQTT 5.0 §4.1 session state, §4.3 QoS flows, §4.4 delivery retry,
// §4.6 ordering, §4.9 flow control; MQTT 3.1.1 the same sections.
package session

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Key names a session [MQTT-3.1.3-2]. It belongs to an identity and a client id: another
// identity with the same client id has a session of its own (A043, A046).
type Key struct {
	Mountpoint string
	Identity   string // the proven identity, not a claimed name
	ClientID   string
}

// Limits bound one session. They are shared by many sessions and never changed
// in place; a reload hands out a new value.
type Limits struct {
	InflightMax    int           // messages sent and unacknowledged, QoS 1 and 2
	MqueueMessages int           // messages waiting behind inflight or a slow socket
	MqueueBytes    int64         // bytes of those messages
	AwaitingRelMax int           // QoS 2 messages received and not yet released
	ReceiveMaximum int           // QoS 1 and 2 messages received and unacknowledged; told to v5 clients
	AliasInMax     int           // topic aliases a client may set
	AliasOutMax    int           // topic aliases set for a client that takes them
	WaitMax        time.Duration // longest life of a message in the mqueue; 0: no bound but its own expiry
	// Account is shared by all sessions and stays the same when the limits change.
	Account *Account
}

// Attachment is what one network connection brings to the session.
type Attachment struct {
	Version           mqtt.Version
	ReceiveMaximum    uint16 // of the client; 65,535 when it named none
	MaximumPacketSize uint32 // of the client, bytes; 0: none
	AliasMaximum      uint16 // Topic Alias Maximum of the client; 0: none
	ExpirySeconds     uint32 // after the connection closes; ExpiryNever: for ever
	Will              *mqtt.Will
}

// ExpiryNever is the Session Expiry Interval that means for ever [§3.1.2.11.2].
const ExpiryNever = 0xFFFFFFFF

// Session is the state that outlives a socket. It belongs to one home loop.
type Session struct {
	SID uint64 // unique while the process runs; No Local compares it
	lim *Limits

	subs []entry
	out  outbound
	in   *inbound // nil: nothing to remember
	life

	// Of the present connection; meaningless while offline.
	conn connState

	odd *odd // nil: nothing of it
}

// odd is what most sessions have nothing of.
type odd struct {
	aliases aliasOut // told to the client on this connection; nil: none yet
	lost    Drops    // to a limit and not taken
	many    *index   // of the subscriptions; nil: there are few
}

// strange is the thing itself, to be changed.
func (s *Session) strange() *odd {
	if s.odd == nil {
		s.odd = new(odd)
	}
	return s.odd
}

// connState is reset by Attach.
type connState struct {
	version   mqtt.Version
	online    bool
	congested bool // the socket does not take more: queue, do not send
	gone      bool // it has ended: life says when
	// What CONNACK has told holds for the connection, whatever the limits become.
	receiveMax, aliasIn uint16
	window              int32 // min(clientMax, InflightMax)
	sizeMax             uint32
	clientMax           uint16 // the client's Receive Maximum
	promised            uint16 // QoS 2 messages that it may have under way by what it was told
	aliasMax            uint16 // aliases the client takes from us
}

// Drops counts messages a session lost, by reason.
type Drops struct {
	QueueFull uint64 // mqueue over its messages or bytes
	Expired   uint64 // Message Expiry Interval passed before sending, or WaitMax
	TooLarge  uint64 // over the client's Maximum Packet Size [MQTT-3.1.2-25]
	Offline   uint64 // QoS 0 while nobody was connected
	Overload  uint64 // not queued, or no longer, because the node is short of memory
}

// Total is the sum of all reasons.
func (d Drops) Total() uint64 { return d.QueueFull + d.Expired + d.TooLarge + d.Offline + d.Overload }

// Dropped is what this session lost to a limit since somebody took the figures.
func (s *Session) Dropped() Drops {
	if s.odd == nil {
		return Drops{}
	}
	return s.odd.lost
}

// TakeDropped is Dropped, and begins to count anew.
func (s *Session) TakeDropped() Drops {
	d := s.Dropped()
	if s.odd != nil {
		s.odd.lost = Drops{}
	}
	return d
}

// rest lets go of what is empty, since whoever is away may be away for long.
func (s *Session) rest() {
	if o := s.odd; o != nil && o.aliases == nil && o.lost == (Drops{}) && o.many == nil {
		s.odd = nil
	}
	s.settleKept()
}

// Lose counts what somebody else knows to be lost.
func (s *Session) Lose(d Drops) { *s.drops() = s.drops().Plus(d) }

// drops is where to count. Hardly any session ever loses something.
func (s *Session) drops() *Drops { return &s.strange().lost }

// New makes an empty, offline session.
func New(key Key, sid uint64, lim *Limits) *Session {
	s := new(Session)
	s.Begin(key, sid, lim)
	return s
}

// Begin is New for whoever has a place for the session, which is the zero one. Its name stays
// with the caller, who has it anyhow.
func (s *Session) Begin(key Key, sid uint64, lim *Limits) {
	s.SID, s.lim = sid, lim
	s.out.burden = &unburdened
	s.out.skip = uint16(len(key.Mountpoint)) //nolint:gosec // at most 65,535
}

// Attach connects the session to a new network connection and appends to out
// what a resumed session owes its client: unacknowledged packets first, in
// their order and with their identifiers [MQTT-4.4.0-1], then the queue.
// CONNACK must already be on its way [MQTT-3.2.0-1].
func (s *Session) Attach(now time.Time, a Attachment, out []Out) []Out {
	s.forgetAliases()
	s.conn = connState{
		version:  a.Version,
		online:   true,
		window:   int32(min(int(a.ReceiveMaximum), s.lim.InflightMax)), //nolint:gosec // the first is a uint16
		sizeMax:  a.MaximumPacketSize,
		aliasMax: uint16(min(int(a.AliasMaximum), s.lim.AliasOutMax)), //nolint:gosec // the first is one

		clientMax: a.ReceiveMaximum, receiveMax: told(s.lim.ReceiveMaximum), aliasIn: told(s.lim.AliasInMax),
	}
	if a.Version == mqtt.V5 {
		s.conn.promised = told(min(s.lim.ReceiveMaximum, s.lim.AwaitingRelMax))
	}
	s.arm(a)
	s.in.rewind()
	s.forgetReceived()
	s.out.rewind()
	return s.Pump(now, out)
}

// Online tells whether a connection is attached.
func (s *Session) Online() bool { return s.conn.online }

// Version is the protocol version of the attached connection, or of the last
// one while offline.
func (s *Session) Version() mqtt.Version { return s.conn.version }

// Fits tells whether the client takes a packet of so many bytes.
func (s *Session) Fits(bytes int) bool {
	return s.conn.sizeMax == 0 || bytes <= int(s.conn.sizeMax)
}

// told is a limit as CONNACK tells it, at most 65,535.
func told(most int) uint16 { return uint16(min(max(most, 0), 65535)) } //nolint:gosec // within the range

// Limit replaces the limits of a session whose client is about to Attach.
func (s *Session) Limit(lim *Limits) { s.lim = lim }

// Relimit replaces the limits, after a reload, and appends to out what may be sent now.
// Nothing goes because of it: what is under way in either direction stays until it is
// acknowledged, and what waits stays until the next message comes to a queue that is over
// its limits, which then drops as a full one does. What CONNACK has told the client, its
// Receive Maximum and Topic Alias Maximum, holds until it connects again.
func (s *Session) Relimit(now time.Time, lim *Limits, out []Out) []Out {
	s.lim = lim
	if !s.conn.online {
		return out
	}
	s.conn.window = int32(min(int(s.conn.clientMax), lim.InflightMax)) //nolint:gosec // the first is smaller
	return s.Pump(now, out)
}

// Congest tells the session that its socket takes no more: messages wait in the
// mqueue until Writable.
func (s *Session) Congest() { s.conn.congested = true }

// Writable tells the session that its socket takes more again, and appends to
// out what waited.
func (s *Session) Writable(now time.Time, out []Out) []Out {
	s.conn.congested = false
	return s.Pump(now, out)
}

// Discard gives back every frame the session holds. The session must not be
// used afterwards.
func (s *Session) Discard() {
	s.forgetAliases()
	s.takeWill()
	s.unload()
	s.in.discard()
	s.in = nil
	s.conn.online = false
}
