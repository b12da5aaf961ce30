package session

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
)

// plainIn is an honest client that publishes through a network that breaks, and
// the rest of the broker. It knows what became of each message: one of QoS 2 is
// accepted exactly once, one of QoS 1 at least once, and never is anything
// acknowledged that was not accepted or refused.
type plainIn struct {
	t        *rapid.T
	s        *Session
	l        *ledger
	version  mqtt.Version
	most     int // open messages the client allows itself
	up       []plainPacket
	down     []Out
	open     []*plainPublish // not acknowledged, in the order of sending
	accepted map[int]int     // serial to how often
	refused  map[int]bool
	serial   int
	online   bool
}

type plainPublish struct {
	serial   int
	qos      mqtt.QoS
	id       uint16
	released bool // PUBREC came, PUBREL was sent
	here     bool // PUBLISH was sent on this connection
}

// plainPacket is on its way to the broker.
type plainPacket struct {
	m      *plainPublish
	pubrel bool
	dup    bool
}

// TestTwinIn plays a network and a broker at random between an honest client and
// a session.
func TestTwinIn(t *testing.T) {
	many(t, func(t *rapid.T) {
		w := &plainIn{t: t, l: newLedger(t), accepted: make(map[int]int), refused: make(map[int]bool)}
		lim := &Limits{ReceiveMaximum: rapid.IntRange(1, 5).Draw(t, "receive maximum"), AwaitingRelMax: 5}
		w.version = rapid.SampledFrom([]mqtt.Version{mqtt.V311, mqtt.V5}).Draw(t, "version")
		if w.most = lim.ReceiveMaximum; w.version != mqtt.V5 {
			w.most = lim.AwaitingRelMax // it cannot know, but an honest one is far below
		}
		w.s = New(Key{}, 1, lim)
		reason := func(t *rapid.T) mqtt.ReasonCode {
			return rapid.SampledFrom([]mqtt.ReasonCode{mqtt.Success, mqtt.Success, mqtt.NoMatchingSubscribers, mqtt.NotAuthorized}).Draw(t, "reason")
		}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) { w.publish(mqtt.QoS(rapid.IntRange(0, 2).Draw(t, "qos"))) },
			"more":    func(t *rapid.T) { w.publish(2) },
			"read":    func(t *rapid.T) { w.read(rapid.IntRange(0, 2).Draw(t, "await") == 0, reason(t)) },
			"settle":  func(t *rapid.T) { w.settle(rapid.Bool().Draw(t, "await"), reason(t)) },
			"hear":    func(*rapid.T) { w.hear() },
			"break":   func(*rapid.T) { w.lose() },
			"connect": func(*rapid.T) { w.connect() },
			"":        func(*rapid.T) { w.check() },
		})
		w.finish()
	})
}

// publish sends a new message if the client may have one more open
// [MQTT-3.3.4-7]; §4.9 counts those sent on this connection.
func (w *plainIn) publish(q mqtt.QoS) {
	here := 0
	for _, m := range w.open {
		if m.here {
			here++
		}
	}
	if !w.online || q > 0 && here >= w.most {
		return
	}
	w.serial++
	m := &plainPublish{serial: w.serial, qos: q, here: true}
	if q > 0 {
		for m.id = 1; slices.ContainsFunc(w.open, func(o *plainPublish) bool { return o.id == m.id }); m.id++ {
		}
		w.open = append(w.open, m)
	}
	w.up = append(w.up, plainPacket{m: m})
}

// connect resumes the session: what is open is sent again [MQTT-4.4.0-1].
func (w *plainIn) connect() {
	w.lose()
	w.online = true
	outs := w.s.Attach(now0, Attachment{Version: w.version, ReceiveMaximum: 10, ExpirySeconds: 60}, nil)
	if len(outs) > 0 {
		w.t.Fatalf("%v to a client that is owed nothing", outs)
	}
	for _, m := range w.open {
		m.here = !m.released
		w.up = append(w.up, plainPacket{m: m, pubrel: m.released, dup: true})
	}
}

// lose breaks the connection: what is under way in both directions is gone.
func (w *plainIn) lose() {
	if w.online {
		w.online, w.up, w.down = false, nil, nil
		w.s.Detach(now0, true)
	}
}

// read is the broker taking one packet off the socket.
func (w *plainIn) read(await bool, reason mqtt.ReasonCode) {
	if len(w.up) == 0 {
		return
	}
	p := w.up[0]
	w.up = w.up[1:]
	if p.pubrel {
		w.say(w.s.Pubrel(p.m.id, nil))
		return
	}
	v, _, outs, err := take(w.s, w.l, &mqtt.Publish{
		Topic: []byte("a"), Payload: []byte(strconv.Itoa(p.m.serial)), QoS: p.m.qos, PacketID: p.m.id, Dup: p.dup && p.m.qos > 0,
	})
	if err != nil {
		w.t.Fatalf("message %d of an honest client is refused: %v; %s", p.m.serial, err, stateWords(w.s))
	}
	w.say(outs)
	if v != toRoute {
		return
	}
	if await {
		w.accept(p.m.serial, p.m.qos)
		w.s.Await(p.m.qos, p.m.id)
		return
	}
	w.judge(p.m.serial, p.m.qos, reason)
	w.say(w.s.Acknowledge(p.m.qos, p.m.id, reason, nil))
}

// settle is what the oldest pending message waited for.
func (w *plainIn) settle(await bool, reason mqtt.ReasonCode) {
	if !w.s.Busy() {
		return
	}
	if p := w.s.Deferred(); p != nil {
		serial, err := strconv.Atoi(string(p.Frame.Payload()))
		if err != nil {
			w.t.Fatal(err)
		}
		if await {
			w.accept(serial, p.QoS)
			w.s.Routed()
			return
		}
		w.judge(serial, p.QoS, reason)
		q, id := p.QoS, p.ID
		w.s.Unpend()
		w.say(w.s.Acknowledge(q, id, reason, nil))
		return
	}
	w.say(w.s.Settle(mqtt.Success, nil))
}

func (w *plainIn) judge(serial int, q mqtt.QoS, reason mqtt.ReasonCode) {
	if reason.Failed() {
		w.refused[serial] = true
		return
	}
	w.accept(serial, q)
}

func (w *plainIn) accept(serial int, q mqtt.QoS) {
	w.accepted[serial]++
	if q != 1 && w.accepted[serial] > 1 {
		w.t.Fatalf("message %d of QoS %d is routed twice [MQTT-4.3.3-10]", serial, q)
	}
}

// say takes what the session answers.
func (w *plainIn) say(outs []Out) {
	if len(outs) > 0 && !w.online {
		w.t.Fatalf("%v to nobody", outs)
	}
	w.down = append(w.down, outs...)
}

// hear is the client taking one answer off the socket.
func (w *plainIn) hear() {
	if len(w.down) == 0 {
		return
	}
	o := w.down[0]
	w.down = w.down[1:]
	i := slices.IndexFunc(w.open, func(m *plainPublish) bool { return m.id == o.ID })
	if i < 0 {
		w.t.Fatalf("%v %d answers nothing", o.Ack, o.ID)
	}
	m := w.open[i]
	known := w.accepted[m.serial] > 0 || w.refused[m.serial]
	switch {
	case !known:
		w.t.Fatalf("message %d was acknowledged with %v before anybody looked at it", m.serial, o.Ack)
	case o.Ack == mqtt.PUBACK && m.qos == 1, o.Ack == mqtt.PUBREC && m.qos == 2 && !m.released && o.Reason.Failed(), o.Ack == mqtt.PUBCOMP && m.released:
		w.open = slices.Delete(w.open, i, i+1)
		if !o.Reason.Failed() && w.accepted[m.serial] == 0 {
			w.t.Fatalf("message %d was refused, and %v says success", m.serial, o.Ack)
		}
	case o.Ack == mqtt.PUBREC && m.qos == 2:
		if !m.released { // a second PUBREC is no news
			m.released = true
			w.up = append(w.up, plainPacket{m: m, pubrel: true})
		}
	default:
		w.t.Fatalf("%v for message %d of QoS %d, released %v", o.Ack, m.serial, m.qos, m.released)
	}
}

func (w *plainIn) check() {
	s := w.s
	var unsettled [3]uint32
	for i := range s.got().pending.len() {
		unsettled[s.in.pending.at(i).QoS]++
	}
	if unsettled != s.got().unsettled {
		w.t.Fatalf("unsettled %v, counted %v", unsettled, s.got().unsettled)
	}
	if n := s.AwaitingRel() + int(unsettled[2]); n > 5 {
		w.t.Fatalf("%d identifiers are remembered, limit 5", n)
	}
}

// finish is a network without trouble: everything ends.
func (w *plainIn) finish() {
	w.connect()
	for n := 0; len(w.up)+len(w.down)+len(w.open) > 0 || w.s.Busy(); n++ {
		if n > 1000 {
			w.t.Fatalf("%d messages are never acknowledged; %s", len(w.open), stateWords(w.s))
		}
		w.read(false, mqtt.Success)
		w.settle(false, mqtt.Success)
		w.hear()
	}
	if got := stateWords(w.s); got != "empty" {
		w.t.Fatalf("at the end: %s", got)
	}
	w.s.Discard()
	w.l.settle()
}
