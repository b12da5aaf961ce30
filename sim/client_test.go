package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// client keeps its own state over connections, over nodes and over their crashes, as a good
// client does: what is not answered it says again, and what it has it does not take twice.
type client struct {
	w       *world
	name    string
	durable bool
	clean   bool     // now and then it begins anew
	qos     mqtt.QoS // of its subscriptions
	window  int
	will    *mqtt.Will
	n       int // publishes so far

	conn   *conn // nil: none
	online bool  // CONNACK came

	sending []outgoing
	lastID  uint16
	acked   []string // payloads whose delivery is the brokers' from now on

	having  []uint16 // QoS 2 identifiers received and not released
	got     []string // payloads in the order of their arrival; QoS 2 without repetitions
	subs    map[string]bool
	asking  []string
	unacked map[uint16]bool
	most    int // of unacked
}

// outgoing is a publish that is not settled.
type outgoing struct {
	topic, payload string
	qos            mqtt.QoS
	id             uint16
	released       bool // PUBREC came
}

// conn is a connection, with what is on its way to the broker. When the client has given
// it up, what it had sent may still arrive.
type conn struct {
	c    *client
	n    *node
	at   *wire // of the process that it leads to
	ref  broker.ConnRef
	sess broker.Ref
	link *link
	way  []func()
	anew bool // its CONNECT asks for a clean start
	open bool // the broker has let it in
	gone bool // nobody reads it any more
}

// dead tells whether nothing more comes of it.
func (c *conn) dead() bool { return c.link.closed || !c.n.up || c.n.wire != c.at }

// say puts a packet on its way.
func (c *conn) say(packet func()) { c.way = append(c.way, packet) }

// pass lets one packet arrive; false if there is none, or nobody reads it.
func (c *conn) pass() bool {
	if len(c.way) == 0 || c.dead() || c.link.paused {
		return false
	}
	packet := c.way[0]
	c.way = c.way[1:]
	packet()
	return true
}

// arrive connects to a node.
func (c *client) arrive(n *node) {
	n.conns++
	k := &conn{c: c, n: n, at: n.wire, ref: broker.ConnRef{Slot: n.conns, Gen: 1}, link: &link{}}
	n.wire.links[k.ref] = k.link
	c.conn, c.online = k, false
	c.w.conns = append(c.w.conns, k)
	connect := &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: uint16(c.window), SessionExpiry: 1000} //nolint:gosec // small
	if !c.durable {
		connect.SessionExpiry = 0
	}
	if c.will != nil {
		will := *c.will
		connect.Will = &will
	}
	if c.clean && c.w.rnd.IntN(3) == 0 {
		connect.CleanStart, k.anew = true, true
		for _, u := range c.w.said { // what it was owed may go
			u.to = slices.DeleteFunc(u.to, func(to *client) bool { return to == c })
		}
		c.renew()
	}
	c.w.note("%s connects to %s, clean %v", c.name, n.name, connect.CleanStart)
	k.say(func() { k.connect(connect) })
}

// connect is what a loop does with a CONNECT whose sender is proven.
func (k *conn) connect(connect *mqtt.Connect) {
	by := auth.Principal{Identity: k.c.name, Username: k.c.name, ClientID: "c"}
	key, e := k.n.b.Place(&by, "c")
	if e != nil {
		k.c.w.fatal("%s: %v", k.c.name, e)
	}
	k.enter(key, &broker.Arrival{Conn: k.ref, Connect: connect, By: by})
}

// enter is let in, at once or later.
func (k *conn) enter(key session.Key, a *broker.Arrival) {
	if k.n.home.Here(key) {
		k.begin(key, a)
		return
	}
	k.link.paused = true
	k.n.home.Summon(k.n.clock(), key, func(_ time.Time, refusal *mqtt.Error) {
		k.goOn(refusal, func() { k.begin(key, a) })
	})
}

// begin gives it its session, if nothing has to be waited for.
func (k *conn) begin(key session.Key, a *broker.Arrival) {
	a.Later = func(refusal *mqtt.Error) {
		k.at.Post(func(time.Time) { k.goOn(refusal, func() { k.enter(key, a) }) })
	}
	o, refusal := k.n.home.Open(k.n.clock(), a)
	switch k.link.closed = refusal != nil; {
	case refusal != nil:
	case o.Later:
		k.link.paused = true
	default:
		k.sess, k.open = o.Ref, true
	}
}

// goOn ends a wait.
func (k *conn) goOn(refusal *mqtt.Error, next func()) {
	if k.link.paused = false; k.link.closed {
		return
	}
	if k.link.closed = refusal != nil; refusal == nil {
		next()
	}
}

// leave gives the connection up. noticed says that its node hears of it, after what was on
// the way.
func (c *client) leave(noticed bool) {
	k := c.conn
	k.gone = true
	if k.anew && !k.open { // if it took effect later, nobody could tell this session from the next
		k.link.closed = true
	}
	if noticed {
		k.say(func() {
			k.link.closed = true
			if k.open {
				k.n.home.Gone(k.n.clock(), k.sess)
			}
		})
	}
	c.conn, c.online = nil, false
}

// alive tells whether it has a connection that somebody may answer.
func (c *client) alive() bool {
	if c.conn != nil && c.conn.dead() && len(c.conn.link.sent) == 0 {
		c.conn.gone = true
		c.conn, c.online = nil, false
	}
	return c.conn != nil
}

// begin is said when CONNACK comes.
func (c *client) begin(present bool) {
	c.online, c.asking, c.unacked = true, nil, make(map[uint16]bool)
	if !present {
		c.renew()
	}
	for _, o := range slices.Clone(c.sending) {
		if o.released {
			c.ack(mqtt.PUBREL, o.id)
			continue
		}
		c.send(o, true)
	}
}

// renew is what a client forgets with its session.
func (c *client) renew() {
	c.having = nil
	clear(c.subs)
	for i := range c.sending {
		c.sending[i].released = false
	}
}

// words are a packet for a person.
func words(o *session.Out) string {
	switch o.Kind {
	case session.OutPublish:
		return fmt.Sprintf("PUBLISH %s q%d #%d flags %x", o.Frame.Payload(), o.QoS(), o.ID, o.Flags)
	case session.OutAck:
		return fmt.Sprintf("%v #%d %02x", o.Ack, o.ID, uint8(o.Reason))
	}
	return fmt.Sprintf("%x", o.Bytes)
}

func (c *client) ack(kind mqtt.Type, id uint16) {
	k := c.conn
	c.w.note("%s says to %s: %v #%d", c.name, k.n.name, kind, id)
	k.say(func() { k.n.home.Ack(k.n.clock(), k.sess, &mqtt.Ack{Type: kind, PacketID: id}) })
}

func (c *client) send(o outgoing, dup bool) {
	k := c.conn
	k.say(func() {
		k.n.home.Publish(k.n.clock(), k.sess, &mqtt.Publish{Topic: []byte(o.topic), Payload: []byte(o.payload), QoS: o.qos, PacketID: o.id, Dup: dup})
	})
}

// publish begins a publish of QoS 1 or 2.
func (c *client) publish(topic string, q mqtt.QoS) (payload string) {
	for c.lastID++; c.lastID == 0 || slices.ContainsFunc(c.sending, func(o outgoing) bool { return o.id == c.lastID }); {
		c.lastID++
	}
	o := outgoing{topic: topic, payload: fmt.Sprintf("%s%d", c.name, c.n), qos: q, id: c.lastID}
	c.n++
	c.sending = append(c.sending, o)
	c.send(o, false)
	return o.payload
}

// subscribe asks for a subscription.
func (c *client) subscribe(filter string) {
	c.asking = append(c.asking, filter)
	k := c.conn
	k.say(func() {
		k.n.home.Subscribe(k.n.clock(), k.sess, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: filter, QoS: c.qos}}})
	})
}

// handle handles one packet; false if there is none.
func (c *client) handle() bool {
	if !c.alive() || len(c.conn.link.sent) == 0 {
		return false
	}
	o := c.conn.link.sent[0]
	c.conn.link.sent = c.conn.link.sent[1:]
	defer o.Done()
	c.w.note("%s has from %s: %v", c.name, c.conn.n.name, words(&o))
	switch o.Kind {
	case session.OutPublish:
		c.take(&o)
	case session.OutAck:
		c.answered(&o)
	case session.OutPacket:
		switch mqtt.Type(o.Bytes[0] >> 4) {
		case mqtt.CONNACK:
			c.begin(o.Bytes[2]&1 == 1)
		case mqtt.SUBACK:
			if code := o.Bytes[len(o.Bytes)-1]; code < 0x80 {
				c.subs[c.asking[0]] = true
			}
			c.asking = c.asking[1:]
		}
	}
	return true
}

// take receives a publish.
func (c *client) take(o *session.Out) {
	c.unacked[o.ID] = true
	c.most = max(c.most, len(c.unacked))
	payload := string(o.Frame.Payload())
	if o.QoS() == 1 {
		c.got = append(c.got, payload)
		delete(c.unacked, o.ID)
		c.ack(mqtt.PUBACK, o.ID)
		return
	}
	if !slices.Contains(c.having, o.ID) {
		c.having = append(c.having, o.ID)
		c.got = append(c.got, payload)
	}
	c.ack(mqtt.PUBREC, o.ID)
}

// answered hears what became of what it said.
func (c *client) answered(o *session.Out) {
	if o.Ack == mqtt.PUBREL {
		c.having = slices.DeleteFunc(c.having, func(id uint16) bool { return id == o.ID })
		delete(c.unacked, o.ID)
		c.ack(mqtt.PUBCOMP, o.ID)
		return
	}
	i := slices.IndexFunc(c.sending, func(s outgoing) bool { return s.id == o.ID })
	if i < 0 {
		return
	}
	s := &c.sending[i]
	switch {
	case o.Reason >= 0x80 && o.Ack != mqtt.PUBCOMP: // refused
	case o.Ack == mqtt.PUBREC:
		if !s.released {
			c.settled(s.payload)
		}
		s.released = true
		c.ack(mqtt.PUBREL, o.ID)
		return
	case o.Ack == mqtt.PUBACK:
		c.settled(s.payload)
	}
	c.sending = slices.Delete(c.sending, i, i+1)
}

func (c *client) settled(payload string) {
	c.acked = append(c.acked, payload)
	c.w.answered(c.conn.n, payload)
}
