package broker

import (
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// again sends what a client has no answer for once more [MQTT-3.3.1-1].
func (p *play) again(l *link, f *flight) {
	f.repeated = true
	if f.released {
		p.say("%s repeats PUBREL %d", l.who.name, f.packet.PacketID)
		p.feed(l, (&mqtt.Ack{Type: mqtt.PUBREL, PacketID: f.packet.PacketID}).Append(nil, l.version, 0))
		return
	}
	p.say("%s repeats %q, QoS %d, id %d", l.who.name, f.m.text, f.packet.QoS, f.packet.PacketID)
	pk := f.packet
	pk.Dup = true
	switch delayed := f.packet.Topic[0] == '$'; {
	case pk.QoS == 1 && delayed:
		return // the script has enough of these
	case pk.QoS == 1: // it is taken for another one
		was := f.m
		f.m = p.note(l.who.memory, was.topic, was.text, was.qos, was.retain)
		f.m.ordered, f.m.root = true, was.root
		was.root.copies++
		if pk.HasMessageExpiry && l.version == mqtt.V5 {
			f.m.expires = expiresAt(p.d.now, pk.MessageExpiry, true)
		}
		p.goes(l, f.m, 0)
	case !f.received:
		if pk.HasMessageExpiry { // it began with this copy, or the one before
			f.m.expires, f.m.vague = time.Time{}, true
		}
		if slices.Contains(p.hazy, f.m) {
			break
		}
		f.m.always = nil // it may have been routed already
		p.consider(f.m)
		p.hazy = append(p.hazy, f.m)
	}
	p.feed(l, pk.Append(nil, l.version))
}

// stepRepeat sends a message once more although the connection is the same, as a
// client of 3.1 does that is tired of waiting.
func (p *play) stepRepeat(w *party, s step) {
	if n := len(w.memory.flights); n > 0 {
		if f := w.memory.flights[int(s.a)%n]; !f.released && f.packet.QoS == 2 {
			p.again(w.link, f)
		}
	}
}

// stepRelease sends PUBREL for the oldest message that has its PUBREC.
func (p *play) stepRelease(w *party, _ step) {
	for _, f := range w.memory.flights {
		if f.received && !f.released {
			p.say("%s releases %d", w.name, f.packet.PacketID)
			f.released = true
			p.feed(w.link, (&mqtt.Ack{Type: mqtt.PUBREL, PacketID: f.packet.PacketID}).Append(nil, w.link.version, 0))
			return
		}
	}
}

// stepAck sends an answer that w owes: mostly the oldest.
func (p *play) stepAck(w *party, s step) {
	if len(w.link.todo) == 0 {
		return
	}
	i := 0
	if s.a&3 == 0 {
		i = int(s.b) % len(w.link.todo)
	}
	p.acknowledge(w, i, s.c&7 == 7)
}

func (p *play) acknowledge(w *party, i int, refuse bool) {
	l, s := w.link, w.memory
	a := l.todo[i]
	l.todo = slices.Delete(l.todo, i, i+1)
	if refuse && l.version == mqtt.V5 && a.Type != mqtt.PUBCOMP {
		a.Reason = mqtt.UnspecifiedError
	}
	p.say("%s answers %v %d %v", w.name, a.Type, a.PacketID, a.Reason)
	for j, o := range s.owed {
		if o.stage == waiting || o.pid != a.PacketID {
			continue
		}
		if a.Type == mqtt.PUBREC && !a.Reason.Failed() {
			o.stage = released
		} else { // [MQTT-4.3.3-4]
			s.owed = slices.Delete(s.owed, j, j+1)
		}
		break
	}
	p.feed(l, a.Append(nil, l.version, 0))
}

// stepStray answers what nobody sent.
func (p *play) stepStray(w *party, s step) {
	a := mqtt.Ack{Type: pick([]mqtt.Type{mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP}, s.a), PacketID: 60000 + uint16(s.b)}
	p.say("%s sends %v %d", w.name, a.Type, a.PacketID)
	p.feed(w.link, a.Append(nil, w.link.version, 0))
}

// stepDisconnect says goodbye: with its will or without, with an expiry or without.
func (p *play) stepDisconnect(w *party, s step) {
	l, m := w.link, w.memory
	d := mqtt.Disconnect{}
	if l.version == mqtt.V5 {
		if s.a&1 == 1 {
			d.Reason = mqtt.DisconnectWithWill
		}
		if s.a>>1&1 == 1 {
			d.SessionExpiry = &modelExpiries[s.b&3]
		}
	}
	p.say("%s disconnects: %v, expiry %v", w.name, d.Reason, d.SessionExpiry != nil)
	why := CauseDisconnect
	if d.SessionExpiry != nil {
		if m.expiry == 0 && *d.SessionExpiry > 0 { // [§3.14.2.2.2]
			why, d.Reason = CauseProtocol, mqtt.DisconnectWithWill
			e := *d.SessionExpiry
			d.SessionExpiry = &e
		} else {
			m.expiry = *d.SessionExpiry
		}
	}
	b := d.Append(nil, l.version, 0)
	p.depart(m, d.Reason != mqtt.Success)
	p.feed(l, b)
	if l.shut == nil || l.shut.why != why {
		p.fail("%s: its DISCONNECT ends in %+v", w.name, l.shut)
	}
}

// stepLoss is a network that fails.
func (p *play) stepLoss(w *party, _ step) {
	l := w.link
	p.say("%s loses its connection", w.name)
	p.depart(w.memory, true)
	l.shut = &shutting{why: CauseGone}
	delete(p.d.wires[w.home].paused, l.ref)
	p.d.homes[w.home].Gone(p.d.now, l.session)
}

// stepTick lets some seconds pass, one by one.
func (p *play) stepTick(_ *party, s step) {
	for range 1 + s.a&3 {
		p.second()
		p.compare()
	}
}

// second is one second, and what falls due with it.
func (p *play) second() {
	p.d.now = p.d.now.Add(time.Second)
	p.say("a second passes")
	due := 0
	for _, s := range p.sessions {
		if past(s.willAt, p.d.now) || s.will != nil && past(s.endsAt, p.d.now) {
			due++
		}
		for _, o := range s.owed {
			o.must = o.must && (o.stage != waiting || !past(o.m.expires, p.d.now))
		}
	}
	for _, x := range p.parcels {
		if past(x.m.expires, p.d.now) {
			x.must, x.now = false, false
		}
	}
	for _, l := range p.later {
		if past(l.due, p.d.now) {
			due++
		}
	}
	p.together = due > 1 // in which order they go out is not promised
	for i, h := range p.d.homes {
		for _, s := range slices.Clone(p.sessions) {
			if s.who.home == i {
				p.dueOf(s)
			}
		}
		p.dueLater(i)
		if at := h.NextTick(); past(at, p.d.now) { // else the loop sleeps
			h.Tick(p.d.now)
		}
	}
	p.together = false
}

// past tells whether a time that may be none has come.
func past(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

func (p *play) dueOf(s *memory) {
	switch {
	case past(s.endsAt, p.d.now):
		p.say("   the session of %s ends", s)
		p.fire(s)
		p.end(s)
	case past(s.willAt, p.d.now):
		p.fire(s)
	}
}

// postponed is a message for later.
type postponed struct {
	m   *note
	due time.Time
}

func (p *play) dueLater(home int) {
	p.later = slices.DeleteFunc(p.later, func(l *postponed) bool {
		if l.m.from.home != home || !past(l.due, p.d.now) {
			return false
		}
		if l.m.from.mayWrite(l.m.topic) {
			p.say("   %q is due", l.m.text)
			l.m.always = p.everybody()
			p.consider(l.m)
			p.routed(l.m, !p.together)
		}
		return true
	})
}

// stepRights takes a right away, or gives it back, and lets both homes judge.
func (p *play) stepRights(w *party, s step) {
	if s.a&1 == 0 {
		w.reads = !w.reads
	} else {
		w.writes = !w.writes
	}
	p.say("rules: %s reads lent/ %t, writes %t", w.name, w.reads, w.writes)
	p.judge()
	p.d.b.authz.Swap(p.policy())
	for _, h := range p.d.homes {
		h.PolicyChanged(p.d.now)
	}
}

// stepSocket fills a socket, or empties it.
func (p *play) stepSocket(w *party, _ step) {
	l := w.link
	l.full = !l.full
	p.say("the socket of %s: full %t", w.name, l.full)
	if l.full {
		for _, x := range p.parcels {
			x.now = x.now && x.could[w.memory] == nil
		}
		return
	}
	l.told = 0
	p.d.homes[w.home].Writable(p.d.now, l.session)
}

// stepLane fills the lane to a home, or gives it room.
func (p *play) stepLane(_ *party, s step) {
	home := int(s.a & 1)
	w := p.d.wires[home]
	w.refuse = !w.refuse && s.b&1 == 1
	p.say("the lane to home %d: full %t", home, w.refuse)
	if !w.refuse {
		return
	}
	for _, m := range p.sessions {
		for _, o := range m.owed {
			if m.who.home == home && o.stage == waiting && slices.ContainsFunc(o.forms, func(f form) bool { return f.qos == 0 }) {
				o.must = false
			}
		}
	}
	for _, x := range p.parcels {
		x.now = false
	}
}

// stepExchange: while a retained message is on its way to w, w changes the
// subscription that wants it for another one.
func (p *play) stepExchange(w *party, s step) {
	topic := pick(modelTopics, s.a)
	for _, from := range p.parties {
		if from.home != w.home && from.link != nil {
			p.publish(from, step{b: s.b, c: s.c | 2}, topic, true, 0)
			p.compare()
			break
		}
	}
	var old string
	if w.link == nil {
		return
	}
	for _, f := range modelFilters[:8] {
		if w.memory.subs[f] != nil && matches(f, topic) {
			old = f
		}
	}
	if old != "" && s.b>>6 > 0 {
		p.unsubscribe(w, old)
		p.compare()
	} else if old != "" {
		p.subscribe(w, step{b: 2}, []string{old})
		return
	}
	for i := range modelFilters[:8] {
		if f := modelFilters[(i+int(s.c))%8]; f != old && matches(f, topic) {
			p.subscribe(w, step{b: s.b & 3}, []string{f})
			return
		}
	}
}
