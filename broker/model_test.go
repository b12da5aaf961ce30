package broker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// The model is MQTT in maps and slices: sessions, subscriptions, and for each
// session what it is still owed. It knows no loops, lanes or frames, and does one
// thing at a time. Where the specification, or the moment at which a lane has room,
// leaves more than one answer, it keeps all of them and accepts any.

// memory is one session as the model knows it.
type memory struct {
	who     *party
	subs    map[string]*interest // by filter, as the client wrote it
	owed    []*debt
	sends   int // how many messages were sent first; it only grows
	expiry  uint32
	will    *mqtt.Will
	willAt  time.Time      // zero: not waiting
	endsAt  time.Time      // zero: not waiting
	last    map[class]int  // the newest note that came, of what has an order
	newest  map[string]int // by topic: the newest retained value that came
	got     map[*note]bool // roots
	flights []*flight      // of its own messages, in the order of sending
}

// class is within what order is promised [MQTT-4.6.0-5] [MQTT-4.6.0-6].
type class struct {
	from        *party
	topic       string
	sent, given mqtt.QoS
}

// interest is one subscription.
type interest struct {
	mqtt.Subscription
	id          uint32
	seen        int    // retained values up to this one were read for it when it was first made
	share, real string // share is empty unless it is shared
}

// note is one application message.
type note struct {
	n         int // in the order of publishing
	text      string
	topic     string
	qos       mqtt.QoS
	retain    bool
	expires   time.Time // zero: never
	from      *party
	of        *memory
	step      int  // in which it was published
	done      bool // it was routed, and when is known
	ordered   bool // not a will, nor delayed
	put       int  // place among the retained values; 0: not one, or not known
	always    map[*memory]bool
	mayDeny   bool  // while it waited its sender had not the right, at some time
	mayDo     bool  // and at some time it had
	unmatched bool  // at some time nobody wanted it
	vague     bool  // when its Message Expiry Interval began is not known
	root      *note // what it repeats; itself if nothing
	copies    int   // of a root
}

// form is how a delivery may look.
type form struct {
	qos    mqtt.QoS
	retain bool
	ids    string
}

type stage uint8

const (
	waiting  stage = iota // not sent yet
	sent                  // QoS 1 or 2, not acknowledged
	released              // QoS 2, PUBREC came
)

// debt is one message that a session is owed.
type debt struct {
	m      *note
	forms  []form
	form   form // once sent
	replay string
	parcel *parcel
	must   bool // not: it may come or not
	stage  stage
	pid    uint16
	link   int  // connection on which it was sent last
	order  int  // of the first sending
	here   bool // it has surely reached the session
	mixed  bool // another one looks the same
}

// parcel is a message for one of a group.
type parcel struct {
	m     *note
	group string
	could map[*memory][]form
	taken *debt // nil: nobody was sent it yet
	by    *memory
	loose bool    // whoever was sent it has gone, and another may get it
	gone  bool    // the group had nobody since; one of the same name is another
	at    *memory // whoever must have it while nobody was sent it; nil: not known
	blur  bool    // somebody gets the message by another subscription too, and it looks the same
	must  bool    // somebody gets it in the end
	now   bool    // and at once
}

// kept is what the retained store may hold for a topic; nil stands for nothing.
type kept []*note

func (s *memory) String() string { return s.who.name }

// matches is topic matching as far as the script goes.
func matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i == len(t) || level != "+" && level != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}

// mayRead and mayWrite are the rules.
func (w *party) mayRead(topic string) bool  { return !strings.HasPrefix(topic, "lent/") || w.reads }
func (w *party) mayWrite(topic string) bool { return !strings.HasPrefix(topic, "lent/") || w.writes }

// maySubscribe: a deny that covers the filter refuses it, one that overlaps binds
// the deliveries.
func (w *party) maySubscribe(real string) bool { return !strings.HasPrefix(real, "lent/") || w.reads }

// want is what the plain subscriptions of s make of m: one delivery for all of them
// (§3.3.4 lets the server choose; this one does), at the highest QoS, with all
// identifiers.
func (s *memory) want(m *note) (f form, any bool) {
	var ids []int
	for _, sub := range s.subs {
		if sub.share != "" || !matches(sub.real, m.topic) || sub.NoLocal && m.of == s {
			continue
		}
		any = true
		f.qos = max(f.qos, min(sub.QoS, m.qos))
		f.retain = f.retain || sub.RetainAsPublished && m.retain
		if sub.id != 0 {
			ids = append(ids, int(sub.id))
		}
	}
	f.ids = idText(ids)
	return f, any
}

func idText(ids []int) string {
	slices.Sort(ids)
	return fmt.Sprint(ids)
}

// known tells whether m has reached s already as a retained value: everything of s
// that matches was subscribed after m, and read the store.
func (s *memory) known(m *note) (known bool) {
	for _, sub := range s.subs {
		if sub.share == "" && matches(sub.real, m.topic) {
			if sub.seen < m.put {
				return false
			}
			known = true
		}
	}
	return known
}

// find is the debt for m by a plain subscription, live.
func (s *memory) find(m *note) *debt {
	for _, o := range s.owed {
		if o.m == m && o.replay == "" && o.parcel == nil {
			return o
		}
	}
	return nil
}

// consider adds what the sessions and groups of now make of m. It is called once
// for a message that is routed at once, and after each step for one that waits for
// a lane: that one may be routed at any of those moments.
func (p *play) consider(m *note) {
	wanted := false
	for _, s := range p.sessions {
		f, any := s.want(m)
		wanted = wanted || any || s.wantsNothing(m)
		if !any {
			delete(m.always, s)
			continue
		}
		o := s.find(m)
		if o == nil {
			o = &debt{m: m}
			s.owed = append(s.owed, o)
		}
		if o.stage == waiting && !slices.Contains(o.forms, f) {
			o.forms = append(o.forms, f)
		}
	}
	for key, members := range p.groups() {
		if real := key[strings.Index(key, " ")+1:]; !matches(real, m.topic) {
			continue
		}
		wanted = true
		x := p.parcelOf(m, key)
		for s, sub := range members {
			x.offer(s, sub)
		}
	}
	if m.retain {
		p.disturb(m.topic)
	}
	m.unmatched = m.unmatched || !wanted
	may := m.from.mayWrite(m.topic)
	m.mayDeny, m.mayDo = m.mayDeny || !may, m.mayDo || may
}

// wantsNothing: a subscription with No Local matches, and is enough for the broker
// not to say that nobody subscribed.
func (s *memory) wantsNothing(m *note) bool {
	for _, sub := range s.subs {
		if sub.share == "" && matches(sub.real, m.topic) {
			return true
		}
	}
	return false
}

// routed: m went out at this moment, so that all who want it now must get it.
func (p *play) routed(m *note, exactly bool) {
	for _, s := range p.sessions {
		o := s.find(m)
		if o == nil || o.stage != waiting {
			continue
		}
		atMost0 := slices.ContainsFunc(o.forms, func(f form) bool { return f.qos == 0 })
		switch {
		case !exactly && (atMost0 || !m.always[s]):
		case !s.who.mayRead(m.topic) || past(m.expires, p.d.now) || m.vague || s.got[m.root]:
		case s.who.link != nil && s.who.link.max > 0 && o.tooLarge(s.who.link):
		case !atMost0:
			o.must = true
		case s.who.link == nil: // QoS 0 is not kept
		default:
			o.must = s.who.home == m.from.home || !p.d.wires[s.who.home].refuse
		}
		o.here = s.who.home == m.from.home
		p.overflow(s, o)
	}
	for _, x := range p.parcels {
		if x.m == m {
			p.address(x, exactly)
			for s := range x.could {
				p.overflow(s, nil)
			}
		}
	}
	if m.retain {
		p.store(m, exactly)
	}
}

// overflow: over the limit of the mqueue something is dropped, QoS 0 first and then
// the oldest. What it was depends on the order of arrival, so all may be it; but
// what came last stays, if nothing else was on its way.
func (p *play) overflow(s *memory, newest *debt) {
	n := 0
	for _, o := range s.owed {
		if o.stage == waiting && o.replay == "" {
			n++
		}
	}
	for _, x := range p.parcels { // it may be there that they wait
		if x.taken == nil && x.could[s] != nil {
			n++
			newest = nil
		}
	}
	if n <= p.queue {
		return
	}
	for _, o := range s.owed {
		if o != newest || p.busy || o.forms[0].qos == 0 {
			o.must = o.must && o.stage != waiting
		}
	}
	for _, x := range p.parcels {
		if x.could[s] != nil {
			x.must, x.now = false, false
		}
	}
}

// unacknowledged is at most how many messages are inflight.
func (s *memory) unacknowledged() (n int) {
	for _, o := range s.owed {
		if o.stage != waiting {
			n++
		}
	}
	return n
}

// store makes m the retained value of its topic [MQTT-3.3.1-5]. Of two that were on
// their way together nobody can tell which is the last.
func (p *play) store(m *note, exactly bool) {
	together := slices.ContainsFunc(p.hazy, func(h *note) bool { return h != m && h.retain && h.topic == m.topic })
	was := p.kept[m.topic]
	if was == nil {
		was = kept{nil}
	}
	value := m
	if m.text == "" {
		value = nil // [MQTT-3.3.1-6]
	}
	if exactly && !together {
		p.puts++
		m.put = p.puts
		p.kept[m.topic] = kept{value}
	} else {
		p.kept[m.topic] = append(append(kept{}, was...), value)
	}
	p.disturb(m.topic)
}

// disturb: what a walk through the store would have found may have changed.
func (p *play) disturb(topic string) {
	for _, s := range p.sessions {
		for _, o := range s.owed {
			if o.replay != "" && o.stage == waiting && o.m.topic == topic {
				o.must = false
			}
		}
	}
}

// replay owes s the retained messages of a new subscription [MQTT-3.3.1-9].
func (p *play) replay(s *memory, sub *interest) {
	f := form{retain: true, ids: idText(nil)} // [MQTT-3.3.1-8 of 3.1.1]
	if sub.id != 0 {
		f.ids = idText([]int{int(sub.id)})
	}
	for _, topic := range modelTopics {
		if !matches(sub.real, topic) {
			continue
		}
		values := p.kept[topic]
		for _, h := range p.hazy { // it may be in the store already
			if h.retain && h.topic == topic && h.text != "" {
				values = append(slices.Clone(values), h)
			}
		}
		for _, m := range values {
			if m == nil || !m.expires.IsZero() && !m.expires.After(p.d.now) {
				continue
			}
			f.qos = min(sub.QoS, m.qos)
			s.owed = append(s.owed, &debt{m: m, forms: []form{f}, replay: sub.Filter, must: len(values) == 1 && s.who.mayRead(topic)})
		}
	}
}

// left: s is not subscribed by filter any more. What it is owed by it may still
// come or not [MQTT-3.10.4-3].
func (p *play) left(s *memory, sub *interest) {
	delete(s.subs, sub.Filter)
	for _, m := range p.hazy { // it may have been routed before
		if matches(sub.real, m.topic) {
			delete(m.always, s)
		}
	}
	for _, o := range s.owed {
		if o.stage == waiting && matches(sub.real, o.m.topic) && (o.replay == "" || o.replay == sub.Filter) {
			o.must = false
		}
	}
	if sub.share != "" {
		p.unsettle(sub.share + " " + sub.real)
	}
}

// depart is the end of the connection of s.
func (p *play) depart(s *memory, keepWill bool) {
	s.who.link = nil
	for _, o := range s.owed {
		if o.parcel != nil && o.stage == sent && o.form.qos == 1 {
			o.parcel.now = !o.parcel.loose && p.moves(o.parcel, s)
			o.parcel.loose, o.must = true, false // it may go on to another [MQTT-4.8.2-4]
		}
		for _, x := range p.parcels {
			o.must = o.must && !(x.blur && x.m == o.m && x.could[s] != nil)
		}
		if o.stage == waiting && slices.ContainsFunc(o.forms, func(f form) bool { return f.qos == 0 }) {
			o.must = false
		}
	}
	for _, x := range p.parcels {
		for _, f := range x.could[s] {
			x.must, x.now = x.must && f.qos > 0, x.now && f.qos > 0
		}
		if x.at == s && x.taken == nil {
			x.at, x.now = nil, p.moves(x, s)
		}
	}
	if !keepWill {
		s.will = nil
	}
	if s.expiry == 0 {
		p.fire(s)
		p.end(s)
		return
	}
	s.endsAt = p.d.now.Add(time.Duration(s.expiry) * time.Second)
	if s.will != nil {
		s.willAt = p.d.now.Add(time.Duration(s.will.DelaySeconds) * time.Second)
		if s.will.DelaySeconds == 0 {
			p.fire(s)
		}
	}
}

// fire publishes the will, if there is one, by the rules of now.
func (p *play) fire(s *memory) {
	w := s.will
	s.will, s.willAt = nil, time.Time{}
	if w == nil || !s.who.mayWrite(w.Topic) {
		return
	}
	m := p.note(s, w.Topic, string(w.Payload), w.QoS, w.Retain)
	m.expires = expiresAt(p.d.now, w.MessageExpiry, w.HasMessageExpiry)
	p.say("   the will %q of %s goes out", m.text, s)
	p.consider(m)
	p.routed(m, !p.together)
}

func expiresAt(now time.Time, seconds uint32, has bool) time.Time {
	if !has {
		return time.Time{}
	}
	return now.Add(time.Duration(seconds) * time.Second)
}

// end ends a session.
func (p *play) end(s *memory) {
	p.sessions = slices.DeleteFunc(p.sessions, func(o *memory) bool { return o == s })
	s.who.memory = nil
	for _, sub := range s.subs {
		if sub.share != "" {
			p.unsettle(sub.share + " " + sub.real)
		}
	}
	for _, o := range s.owed {
		if o.parcel != nil && o.stage == sent && o.form.qos == 1 {
			o.parcel.loose = true
		}
	}
	for _, x := range p.parcels {
		if x.could[s] != nil && (x.taken == nil || x.loose) { // it may have waited here
			x.must, x.now = false, false
		}
	}
}

// judge takes back what the rules no longer allow.
func (p *play) judge() {
	for _, s := range p.sessions {
		for _, sub := range s.subs {
			if !s.who.maySubscribe(sub.real) {
				p.say("   %s loses %s", s, sub.Filter)
				p.left(s, sub)
			}
		}
		for _, o := range s.owed {
			if !s.who.mayRead(o.m.topic) && (s.who.link == nil || o.stage == waiting || o.link != s.who.link.n) {
				o.must = false
			}
		}
	}
	for _, x := range p.parcels {
		for s := range x.could {
			if !s.who.mayRead(x.m.topic) {
				x.must, x.now, x.at = false, false, nil
			}
		}
	}
}

// note is a new message.
func (p *play) note(of *memory, topic, text string, q mqtt.QoS, retain bool) *note {
	p.notes++
	m := &note{n: p.notes, text: text, topic: topic, qos: q, retain: retain, from: of.who, of: of, always: p.everybody()}
	m.root = m
	return m
}

func (p *play) everybody() map[*memory]bool {
	all := map[*memory]bool{}
	for _, s := range p.sessions {
		all[s] = true
	}
	return all
}
