package broker

import (
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
	"github.com/redoubtmq/redoubt/topic"
)

// durable is what the home knows of a session that outlives the process. There is one for each
// that is away, too: 96 bytes, of which the allocator has a size.
type durable struct {
	sid   store.SID
	epoch uint64       // of the last claim
	sure  uint64       // of the last one that is in the log; 0: none
	subs  []durableSub // all of the session's that are not shared

	// What is wanted of the log up to pos was given to the session, or never will be.
	// While lag is empty, so was everything that was applied since.
	pos   store.Seq
	heard store.Seq // the last of its Subscribe records that is decided and owed retained messages

	*passing // never nil: see passed

	known   uint32 // grows when the log serves a subscription that it did not
	pledged int32  // records that are not decided and say that something is given back

	fetching bool
	starved  bool // it has room for what waits, and the node has not
	missing  bool // something under way must be read from the log first
	giving   bool // listed in work.giving
	never    bool // nor will there be an epoch in the log
	owing    bool // the log has not heard how far its replays are
	touched  bool // listed in work.unsaved
}

// passing is what is between a session and the log for a while.
type passing struct {
	lag   lag
	plan  *plan     // for the next portions; nil: none
	since time.Time // the first change that the log has not heard of
	again time.Time // after the log refused to hear of them: not before
}

// passed is that of all sessions of which nothing waits and nothing is unsaid. It stays empty:
// whoever has something to put in asks for passes.
var passed passing

// passes is its passing, to be changed.
func (d *durable) passes() *passing {
	if d.passing == &passed {
		d.passing = new(passing)
	}
	return d.passing
}

// rest lets go of it, if it is empty: whoever is away may be away for long.
func (d *durable) rest(now time.Time) {
	if d.lag == (lag{}) && d.plan == nil && !d.touched && !now.Before(d.again) {
		d.passing = &passed
	}
}

// replan forgets the plan.
func (d *durable) replan() {
	if d.plan != nil {
		d.passing.plan = nil
	}
}

// lag is what waits in the log for a session that cannot take it now.
type lag struct {
	first, last store.Seq // 0: nothing waits
	messages    int
	bytes       int64
}

// worth is what a message counts for among those that wait in the log, bytes.
func worth(f *mqtt.Frame) int64 { return int64(len(f.Topic()) + len(f.Props()) + len(f.Payload())) }

func (l *lag) note(seq store.Seq, bytes int64) {
	if l.first == 0 {
		l.first = seq
	}
	l.last = seq
	l.messages++
	l.bytes += bytes
}

// less says that so much of it does not wait any more, and something still does.
func (l *lag) less(messages int, bytes int64) {
	l.messages, l.bytes = max(1, l.messages-messages), max(0, l.bytes-bytes)
}

// behindFrom says that the session was given what is before seq.
func (d *durable) behindFrom(seq store.Seq) { d.pos, d.passes().lag.first = seq-1, seq }

// caughtUp says that nothing waits any more.
func (d *durable) caughtUp() {
	if d.lag != (lag{}) {
		d.passing.lag = lag{}
	}
}

// durableSub is a subscription as the log knows it, in 48 bytes.
type durableSub struct {
	filter  string
	id      fact.FilterID // 0: QoS 0, which comes live
	start   store.Seq     // it wants what is later; unknown until its record is applied
	*shared               // never nil: see unshared
	subID   uint32        // Subscription Identifier
	opts    router.Opts
}

// shared is what a subscription in a shared group has beside, or one whose filter has another
// name here.
type shared struct {
	renamed string        // what is matched; empty: the filter itself
	group   session.Group // id is this member's
	line    *line         // of that group
	joined  bool          // the log knows the member
}

// unshared is that of all others. It is never written.
var unshared shared

// real is what is matched.
func (s *durableSub) real() string {
	if s.renamed != "" {
		return s.renamed
	}
	return s.filter
}

// to is what it makes of a message, for whoever merges; its session is known.
func (s *durableSub) to() router.Subscriber { return router.Subscriber{SubID: s.subID, Opts: s.opts} }

// unknown is later than everything.
const unknown = ^store.Seq(0)

// keep makes r a session that outlives the process.
func (h *Home) keep(r *resident) {
	k := r.key()
	r.log = &durable{sid: h.b.durable.Key.SID(k.Mountpoint, k.Identity, k.ClientID), pos: h.applied, passing: &passed}
	r.s.Keep()
}

// enlist makes a subscription one that the log serves, from its record on; one that takes
// the place of another keeps that one's start. was is what the log has of it already, which
// has each filter of a session once; nil: it is about to hear of it.
func (h *Home) enlist(r *resident, sub *session.Sub, was *view.Sub) {
	to := h.subscriber(r, sub)
	d := durableSub{filter: sub.Filter, start: unknown, subID: to.SubID, opts: to.Opts, shared: &unshared}
	if sub.Real != sub.Filter {
		d.shared = &shared{renamed: sub.Real}
	}
	if was != nil {
		d.start = was.Start
	}
	switch {
	case sub.QoS == 0:
	case sub.Group != (session.Group{}):
		d.shared = &shared{renamed: sub.Real, group: sub.Group, line: r.lineOf(sub.Group)}
		d.id = h.b.durable.Key.FilterID("\x00" + string(r.log.sid[:]) + sub.Filter)
	case was != nil: // to make it again for each of very many takes longer than all the rest
		d.id = was.ID
	default:
		d.id = h.b.durable.Key.FilterID(sub.Real)
	}
	i := -1
	if was == nil {
		i = r.log.find(sub.Filter)
	}
	if i < 0 {
		subs := r.log.subs
		if n := len(subs); n == cap(subs) { // by an eighth only, since what is added beyond stays for the life of most
			subs = append(make([]durableSub, 0, n+1+n/8), subs...)
		}
		r.log.subs = append(subs, d)
		h.listen(r, &d)
		return
	}
	old := r.log.subs[i]
	if old.real() == d.real() {
		d.start = min(old.start, d.start)
	}
	if old.id != d.id {
		r.log.known++
		h.listen(r, &d)
		h.unlisten(r, &old)
	} else if old.joined {
		d.joined = true // it is of the same group
	}
	r.log.subs[i] = d
}

// dismissSub is the opposite.
func (h *Home) dismissSub(r *resident, filter string) {
	i := r.log.find(filter)
	if i < 0 {
		return
	}
	h.unlisten(r, &r.log.subs[i])
	r.log.subs = slices.Delete(r.log.subs, i, i+1)
}

// dismissAll is dismissSub of all that r has, from the last on: a list of a hundred thousand is not moved for each.
func (h *Home) dismissAll(r *resident) {
	for last := len(r.log.subs) - 1; last >= 0; last-- {
		h.unlisten(r, &r.log.subs[last])
		r.log.subs[last] = durableSub{}
		r.log.subs = r.log.subs[:last]
	}
	r.log.subs = nil
}

func (d *durable) find(filter string) int {
	for i := range d.subs {
		if d.subs[i].filter == filter {
			return i
		}
	}
	return -1
}

// listen lets the messages of a filter find r.
func (h *Home) listen(r *resident, s *durableSub) {
	if s.id == 0 {
		return
	}
	h.take(s.id, r.ref)
	if h.loading != nil {
		h.loading.filters = append(h.loading.filters, router.Filtered{Filter: s.indexed(), Sub: router.Subscriber{Ref: filterRef(s.id)}})
	} else {
		h.b.filters.add(s.id, s.indexed(), h.id)
	}
	if s.group != (session.Group{}) {
		h.b.filters.join(membership{h.routerRef(r.ref), groupRef(s.group)}, s.id, r.log)
	}
}

// indexed is the filter by which publishers find the subscription; empty: by the group.
func (s *durableSub) indexed() string {
	if s.group != (session.Group{}) {
		return ""
	}
	return s.real()
}

func (h *Home) unlisten(r *resident, s *durableSub) {
	if s.id == 0 {
		return
	}
	h.resign(s)
	h.b.filters.remove(s.id, s.indexed(), h.id)
	if s.group != (session.Group{}) {
		h.b.filters.leave(membership{h.routerRef(r.ref), groupRef(s.group)})
	}
	h.byFilter.drop(s.id, r.ref)
}

// offerLogged gives a message of the log to the sessions of this home that want it.
func (h *Home) offerLogged(now time.Time, m *logged) {
	for _, l := range m.lines {
		if l.home == int(h.id) {
			h.hearLine(now, l, m)
		}
	}
	if m.broad {
		var broad bool
		if m.filters, broad = h.b.filters.match(m.frame.Topic(), &h.scratch.matches, m.filters); broad {
			h.offerToAll(now, m)
			return
		}
	}
	var one [1]Ref
	for _, ids := range [...][]fact.FilterID{m.filters, m.late} {
		for _, id := range ids {
			refs := h.takersOf(id, one[:])
			h.spent += len(refs)
			was := h.wire.Broad(len(refs) >= broadMin)
			for i := 0; i < len(refs); i++ {
				h.offerOne(now, h.at(refs[i]), m)
			}
			h.wire.Broad(was)
		}
	}
}

// offerToAll asks every session: more filters matched than a message names.
func (h *Home) offerToAll(now time.Time, m *logged) {
	was := h.wire.Broad(true)
	defer h.wire.Broad(was)
	for _, r := range h.slots {
		if r != nil && r.log != nil {
			h.offerOne(now, r, m)
		}
	}
}

// offerOne gives a message to a session, or notes that the session is to read it.
func (h *Home) offerOne(now time.Time, r *resident, m *logged) {
	if len(r.lines()) == 0 || !r.arrived(m) {
		h.offerHeard(now, r, m)
		return
	}
	h.offerHeard(now, r, m)
	h.tellGroups(r)
	if !r.s.Online() && r.log.lag.first != 0 {
		h.givesBack(r)
	}
}

// offerHeard is offerOne without what a group is told of it.
func (h *Home) offerHeard(now time.Time, r *resident, m *logged) {
	d := r.log
	if m.seq <= d.pos || m.seq <= d.lag.last {
		return
	}
	w, any := h.wants(r, m)
	if !any {
		return
	}
	if d.lag.first != 0 || !r.s.Ahead(m.frame) || h.deniedShare(r, m, false) != nil {
		if d.lag.first == 0 {
			d.pos = m.seq - 1
		}
		d.passes().lag.note(m.seq, worth(m.frame))
		h.replayLate(r, m)
		h.feed(now, r)
		return
	}
	d.pos = m.seq
	if r.s.SeenRetained(m.frame.Topic(), m.frame.Version) {
		r.s.Skip(uint64(m.seq))
		return
	}
	h.deliverLogged(now, r, m, w)
}

// deliverLogged judges and delivers one message of the log, which the session takes:
// once for all its own subscriptions, and once for each share of one.
func (h *Home) deliverLogged(now time.Time, r *resident, m *logged, w want) {
	if w.qos > 0 {
		h.deliverWanted(now, r, m, w)
	}
	for i := 0; i < len(r.log.subs); i++ {
		s := &r.log.subs[i]
		if s.group == (session.Group{}) || !m.names(s) || h.at(r.ref) != r {
			continue
		}
		sw := h.wantOf(s.to(), m.frame, s.group)
		sw.check = sw.check || w.check
		h.deliverWanted(now, r, m, sw)
	}
}

// names tells whether a message came by that share of a subscription.
func (m *logged) names(s *durableSub) bool {
	return s.start < m.seq && slices.Contains(m.filters, s.id) && topic.Match(s.real(), m.frame.Topic())
}

func (h *Home) deliverWanted(now time.Time, r *resident, m *logged, w want) {
	if (w.check || m.frame.CreatedAt <= r.doubt || h.stale(r)) && !h.mayReceive(now, r, m.frame) {
		r.s.Skip(uint64(m.seq))
		return
	}
	h.send(r, r.s.Deliver(now, session.Delivery{
		Frame: m.frame, Seq: uint64(m.seq), QoS: w.qos, Retain: w.retain, SubID: w.subID, SubIDs: w.subIDs, Group: w.group,
	}, h.scratch.outs))
}

// wants is what the subscriptions of r make of a message, without shares. They want it
// only if one that the log serves does; those of QoS 0 then join in.
func (h *Home) wants(r *resident, m *logged) (w want, any bool) {
	d := r.log
	subs := h.scratch.subs[:0]
	served, share := false, false
	for i := range d.subs {
		s := &d.subs[i]
		switch {
		case s.group != (session.Group{}):
			share = share || m.names(s)
			continue
		case s.start >= m.seq || s.id != 0 && !m.broad && !slices.Contains(m.filters, s.id) && !slices.Contains(m.late, s.id):
			continue
		case !topic.Match(s.real(), m.frame.Topic()): // an identifier is a hash
			continue
		}
		served = served || s.id != 0
		subs = append(subs, s.to())
	}
	h.scratch.subs = subs[:0]
	if served {
		w, _ = merge(subs, m.frame, m.from == d.sid)
	}
	return w, share || w.qos > 0
}

// replayLate makes sure that a session which reads later finds a retained message of
// whose record it would not know: it subscribed while the message was on its way.
func (h *Home) replayLate(r *resident, m *logged) {
	for i := range r.log.subs {
		if s := &r.log.subs[i]; s.id != 0 && slices.Contains(m.late, s.id) {
			h.replayOne(r, s, string(m.frame.Topic()), uint64(m.seq))
		}
	}
}

// replaysOne is how many topics of one subscription stand for themselves among a session's
// replays. Each is repeated in every record of what the session has under way, and a client
// that takes nothing while others publish and it subscribes would collect more and more.
const replaysOne = 16

// replayOne makes sure that r gets what is retained of one topic. Where too many have come
// together it gets what is retained of the whole filter, which has them, and some twice.
func (h *Home) replayOne(r *resident, s *durableSub, name string, upTo uint64) {
	h.owes(r)
	alone := 0
	m := r.more()
	for i := 1; i < len(m.replays); i++ { // the first has begun
		p := &m.replays[i]
		if p.filter != s.filter || p.owed {
			continue
		}
		if p.real == name || p.real == s.real() {
			p.upTo = max(p.upTo, upTo)
			return
		}
		alone++
	}
	if alone >= replaysOne {
		kept := m.replays[:1]
		for _, p := range m.replays[1:] {
			if p.filter == s.filter && !p.owed {
				upTo = max(upTo, p.upTo)
				p.portion.Release()
				continue
			}
			kept = append(kept, p)
		}
		clear(m.replays[len(kept):])
		m.replays, name = kept, s.real()
	}
	h.addReplay(r, replay{filter: s.filter, real: name, upTo: upTo, subID: s.subID, qos: mqtt.QoS(s.opts & router.OptQoS)})
}

// recede gives what was read ahead and not sent back to the log: the client has gone.
func (h *Home) recede(r *resident) {
	d := r.log
	d.replan()
	first, messages, bytes := r.s.Unread()
	if messages == 0 {
		return
	}
	d.pos = store.Seq(first) - 1
	l := &d.passes().lag
	if l.first == 0 {
		l.last = h.applied
	}
	l.first = store.Seq(first)
	l.messages += messages
	l.bytes += bytes
}

// Behind is what waits in the log for sessions, and who holds up its oldest record.
type Behind struct {
	Connected, Away Waiting // for sessions with a client, and without one
	Groups          Waiting // for shared subscriptions, whose members could not take it

	Oldest store.Seq // still wanted; 0: none. The log keeps what is not smaller, or it is rescued
	Holder session.Key
}

// Waiting is what waits for some of the sessions.
type Waiting struct {
	Sessions int
	Messages int64
	Bytes    int64
}

func (w Waiting) plus(o Waiting) Waiting {
	return Waiting{w.Sessions + o.Sessions, w.Messages + o.Messages, w.Bytes + o.Bytes}
}

// Behind adds up what waits for the sessions of this home.
func (h *Home) Behind() (b Behind) {
	for _, p := range h.parting {
		if p.first != 0 && (b.Oldest == 0 || p.first < b.Oldest) {
			b.Oldest, b.Holder = p.first, p.key
		}
	}
	for _, r := range h.slots {
		if r == nil || r.log == nil {
			continue
		}
		l := &r.log.lag
		if l.first != 0 {
			of := &b.Away
			if r.s.Online() {
				of = &b.Connected
			}
			*of = of.plus(Waiting{1, int64(l.messages), l.bytes})
		}
		for _, seq := range [...]store.Seq{l.first, store.Seq(r.s.Needs())} {
			if seq != 0 && (b.Oldest == 0 || seq < b.Oldest) {
				b.Oldest, b.Holder = seq, r.key()
			}
		}
	}
	return b
}

// Plus is what both say together.
func (b Behind) Plus(o Behind) Behind {
	o.Connected, o.Away, o.Groups = o.Connected.plus(b.Connected), o.Away.plus(b.Away), o.Groups.plus(b.Groups)
	if o.Oldest == 0 || b.Oldest != 0 && b.Oldest < o.Oldest {
		o.Oldest, o.Holder = b.Oldest, b.Holder
	}
	return o
}

// countLost counts messages that the log had for a session and that it did not get.
func (h *Home) countLost(r *resident, full, lost int) {
	if full > 0 {
		r.s.Lose(session.Drops{QueueFull: uint64(full)})
	}
	if lost > 0 {
		h.count.Add(metrics.MessagesDroppedStore, int64(lost))
	}
}
