package broker

import (
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/internal/directory"
	"github.com/redoubtmq/redoubt/internal/wheel"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// Ref names a session of a home by slot and generation.
type Ref struct{ Slot, Gen uint32 }

// Home is the half of the broker that one loop owns: the sessions that live
// there, online and offline. Only that loop's goroutine calls it.
type Home struct {
	b     *Broker
	id    uint16
	wire  Wire
	count *metrics.Shard

	slots   []*resident // nil: free
	gens    []uint32    // generation of each slot, also of free ones
	free    []uint32
	byKey   directory.Directory // slots
	seed    maphash.Seed        // of the names in it
	timers  *wheel.Wheel
	cache   *auth.Cache
	subject uint64 // the last one given out
	matches router.Matches
	random  *rand.PCG // for shared subscriptions; nobody gains by guessing it
	scratch scratch

	lanes lanes

	work  work
	spent int // deliveries so far; it only grows

	credentials credentials
	keeping
}

// keeping is what a home has to do with the log.
type keeping struct {
	journal  journal
	applied  store.Seq // messages up to this one were offered to the sessions
	byFilter takers    // sessions that want the messages of a filter from the log
	summons  map[session.Key]*summons
	astray   astray
	queues   map[fact.FilterID]*queue
	parting  map[store.SID]*parting   // sessions that have ended, of which the log has not heard
	authors  []authorName             // nil: nobody was named
	loading  *loading                 // from the first Restore to Restored; otherwise nil
	seated   map[session.Key]*Arrival // those that wait for the log, and have a place among the clients of their identity
}

// scratch is memory that one call uses and the next one uses again.
type scratch struct {
	fired              []uint32
	outs               []session.Out
	mounted, rewritten []byte // topic names
	not                [1]router.Ref
	together           together // messages of one publisher for one group

	to       addressed       // who wants the message at hand from the log
	members  []fact.FilterID // of shared groups, that were given it
	promises []promise
	one      [1]fact.FilterID
	matches  router.Matches
	subs     []router.Subscriber
	message  fact.Message
	outbox   fact.Outbox
	inline   []byte
	denial   audit.Ref // of the publish that was judged last
}

// work is what a home does in bounded steps, a part each turn.
type work struct {
	counting
	bans      banSweep
	replaying []Ref  // sessions that are owed retained messages and have room
	replays   uint64 // begun so far
	judgements
	delayed *delay.Store[*sender]
	due     []delay.Message[*sender] // scratch
	sysAt   time.Time                // when $SYS is next published
	unsaved []Ref                    // sessions whose state the log has not heard of
	saveAt  time.Time                // when they are next looked at
	markAt  time.Time                // when mark is next due
	lines   []*queue                 // of groups, that are looked at some time later
	giving  []Ref                    // members that give back what they have not sent
	ended   []ended                  // sessions whose end the log did not take
	endAt   time.Time                // when it is said again
	intake  intake
	shed    shedding
	pacing  pacing
	left    leaving
}

// judgements is how far a home has judged its sessions again after a policy change.
type judgements struct {
	judging uint32 // next slot
	judge   bool
	patient bool      // it asks for no turns of its own
	judgeAt time.Time // when it goes on although it is patient; zero: nobody knows yet
	since   int64     // a session with an older doubt was judged before the change
}

// counting is what a home counts of clients.
type counting struct {
	wars  wars
	flaps flaps
	talks talks

	forgetAt time.Time // when what is over is next forgotten
}

// resident is a session with what its home knows of it.
type resident struct {
	s    session.Session
	by   auth.Principal // who the session belongs to, as last proven; the session's name is in it
	ref  Ref
	conn ConnRef // while s is online
	// subject is the key in the verdict cache. It changes with each connection,
	// because rules may look at the address.
	subject uint64
	offer   *Offer
	log     *durable // nil: the session ends with the process

	rates    rates
	replayed bool // listed in work.replaying
	reading  bool // somebody reads for the first of its replays
	ring
	stalled bool  // its pending ring waits for a lane
	terse   bool  // the client wants no Reason String [MQTT-3.1.2-29]
	counted bool  // in crowds, while it is connected
	doubt   int64 // Unix milliseconds: a message made before is judged when it is delivered

	some *seldom // nil: nothing of it
}

// seldom is what most sessions have nothing of.
type seldom struct {
	sharing sharing
	war     *limit.Bucket // of takeovers; nil: there was none
	replays []replay
	lost    *session.Drops // counted already; nil: none
	hold    hold
}

// seldoms are for the next: who subscribes needs one for a moment, for what is retained.
var seldoms = sync.Pool{New: func() any { return new(seldom) }}

// more is what r has of it, to be changed.
func (r *resident) more() *seldom {
	if r.some == nil {
		r.some = seldoms.Get().(*seldom)
	}
	return r.some
}

// less lets go of it if there is nothing in it any more. Nobody may have a pointer into it.
func (r *resident) less() {
	s := r.some
	if s == nil || s.sharing.member != nil || s.war != nil || len(s.replays) > 0 || s.lost != nil || s.hold != (hold{}) {
		return
	}
	r.some = nil
	*s = seldom{replays: s.replays[:0]}
	if cap(s.replays) > 1 {
		s.replays = nil
	}
	seldoms.Put(s)
}

// calm is the more of who has none, to be looked at; it stays empty.
var calm seldom

// look is what r has of it, to be looked at.
func (r *resident) look() *seldom {
	if r.some == nil {
		return &calm
	}
	return r.some
}

// sharing is what a session has to do with groups; without a member it is in none.
type sharing struct {
	member *router.Member
	lines  []*line // of the groups, that the log may have something for
}

// key is the name of r's session.
func (r *resident) key() session.Key { return keyOf(&r.by, r.by.ClientID) }

// member is nil for who is in no shared subscription.
func (r *resident) member() *router.Member {
	if r.some == nil {
		return nil
	}
	return r.some.sharing.member
}

func (r *resident) lines() []*line { return r.look().sharing.lines }

// ring is what a session's pending ring waits for beside lanes and the log.
type ring struct {
	learning bool // somebody finds out whether there is room for the next
	guess    bool // nobody could: it is taken as if nothing was retained
}

// NewHome adds the half for loop id. wire is that loop.
func (b *Broker) NewHome(id int, wire Wire, count *metrics.Shard, now time.Time) *Home {
	h := &Home{
		b: b, id: uint16(id), wire: wire, count: count,
		seed: maphash.MakeSeed(), timers: wheel.New(now),
		cache: auth.NewCache(verdictSets), random: rand.NewPCG(uint64(id), uint64(now.UnixNano())),
		lanes: lanes{to: make([]lane, b.homes)}, credentials: credentials{ends: wheel.New(now)},
		work: work{delayed: delay.New[*sender](b.delayed), sysAt: now, counting: counting{talks: talks{room: b.top.RoomOf(id)}}},
	}
	b.top.Begin(now)
	h.journal.ticket = 1
	h.Allow(Boundless)
	if h.kept() {
		h.queues = make(map[fact.FilterID]*queue)
		b.all[id] = h
	}
	return h
}

// verdictSets is the size of a loop's cache of publish verdicts. A verdict takes
// about 100 bytes, so that a loop holds about half a MiB.
const verdictSets = 1024

// ID is the number of the home's loop.
func (h *Home) ID() int { return int(h.id) }

// at is the session ref names, or nil when it has ended.
func (h *Home) at(ref Ref) *resident {
	if int(ref.Slot) >= len(h.slots) || h.gens[ref.Slot] != ref.Gen {
		return nil
	}
	return h.slots[ref.Slot]
}

// settle makes an empty session under key and gives it a slot.
func (h *Home) settle(key session.Key, by auth.Principal, lim *session.Limits) *resident {
	var slot uint32
	if n := len(h.free); n > 0 {
		slot, h.free = h.free[n-1], h.free[:n-1]
	} else {
		slot = uint32(len(h.slots))
		h.slots, h.gens = append(h.slots, nil), append(h.gens, 0)
	}
	h.gens[slot]++
	r := &resident{by: by, ref: Ref{slot, h.gens[slot]}}
	r.by.ClientID = key.ClientID
	r.s.Begin(key, h.b.lastSID.Add(1), lim)
	h.slots[slot] = r
	h.byKey.Put(h.hash(key), slot)
	h.b.sessions.Add(1)
	h.b.had.Add(h.b.had.Place(key.Identity), 1)
	h.count.Inc(metrics.SessionsCreated)
	return r
}

// evict ends a session: its subscriptions, its queue and its slot go. The will
// is the caller's.
func (h *Home) evict(now time.Time, r *resident) {
	h.part()
	h.endTalk(now, r)
	if r.log != nil {
		h.retractAll(r)
		h.ends(now, r)
	} else {
		h.leaveAll(r)
		h.reshare(now, r, true)
	}
	h.tell(now, r, EventEnded, nil)
	h.remember(now, r)
	h.vacate(r)
}

// vacate takes a session out of this home, of which nobody finds it any more.
func (h *Home) vacate(r *resident) {
	r.unload()
	if r.reading || r.learning || r.log != nil && r.log.fetching {
		h.b.reads.drop(r)
	}
	h.countDrops(r)
	h.uncount(r)
	r.s.Discard()
	h.byKey.Drop(h.hash(r.key()), r.ref.Slot)
	h.timers.Clear(r.ref.Slot)
	h.credentials.ends.Clear(r.ref.Slot)
	h.slots[r.ref.Slot] = nil
	h.gens[r.ref.Slot]++ // nobody's reference holds any longer
	h.free = append(h.free, r.ref.Slot)
	h.b.sessions.Add(-1)
	h.b.had.Add(h.b.had.Place(r.by.Identity), -1)
}

func (h *Home) routerRef(r Ref) router.Ref {
	return router.Ref{Home: h.id, Slot: r.Slot, Gen: r.Gen}
}

// send passes what the session wants sent to its connection.
func (h *Home) send(r *resident, outs []session.Out) {
	room := true
	for i := range outs {
		if o := &outs[i]; o.Kind == session.OutPublish {
			h.count.Inc(metrics.MessagesSent.At(int(o.QoS())))
			t := h.talk(r)
			t.Out++
			t.OutBytes += uint64(o.Frame.Bytes()) //nolint:gosec // not negative
		}
		room = h.wire.Send(r.conn, outs[i])
		outs[i] = session.Out{}
	}
	h.scratch.outs = outs[:0]
	if !room {
		r.s.Congest()
	}
	h.tellGroups(r)
	if r.log != nil {
		h.noteSent(r)
	}
}

// countDrops moves what the session lost since the last look into the metrics.
func (h *Home) countDrops(r *resident) {
	d := r.s.TakeDropped()
	if d == (session.Drops{}) {
		return
	}
	h.count.Add(metrics.MessagesDroppedQueueFull, int64(d.QueueFull))
	h.count.Add(metrics.MessagesDroppedExpired, int64(d.Expired))
	h.count.Add(metrics.MessagesDroppedTooLarge, int64(d.TooLarge))
	h.count.Add(metrics.MessagesDroppedQoS0Offline, int64(d.Offline))
	h.count.Add(metrics.MessagesDroppedOverload, int64(d.Overload))
	r.lose(&d)
}

// Writable tells that a connection which had no room takes more again.
func (h *Home) Writable(now time.Time, ref Ref) {
	r := h.at(ref)
	if r == nil || !h.freshen(now, r) {
		return
	}
	h.send(r, r.s.Writable(now, h.scratch.outs))
	h.wakeReplay(r)
	h.hunger(now, r)
}

// fail ends a connection for a mistake of the peer's that was found here, and writes
// it down once a minute, source prefix and reason. A denial has been.
func (h *Home) fail(now time.Time, r *resident, e *mqtt.Error) {
	if e.Reason != mqtt.NotAuthorized {
		h.b.log.Mistaken(now, slog.LevelInfo, "client broke the protocol, closed", &r.by, e.Reason.String(), func() []slog.Attr {
			return []slog.Attr{slog.String("address", r.by.Addr.String()), slog.String("listener", r.by.Listener), slog.String("user", r.by.Username),
				slog.String("client_id", r.by.ClientID), slog.String("reason", e.Reason.String()), slog.String("rule", e.Rule), slog.String("why", e.Detail)}
		})
	}
	h.dismiss(now, r, e)
}

// dismiss says so to a v5 client [MQTT-4.13.1-1]. The will is published.
func (h *Home) dismiss(now time.Time, r *resident, e *mqtt.Error) {
	h.disconnect(now, r, &mqtt.Disconnect{Reason: e.Reason, ReasonString: explain(e)}, CauseOf(e))
}

// explain is what a developer is told of a mistake. What the operator decided is
// not explained to the client.
func explain(e *mqtt.Error) string {
	if e.Reason == mqtt.NotAuthorized || e.Reason == mqtt.AdministrativeAction || e.Detail == "" {
		return ""
	}
	if e.Rule == "" {
		return e.Detail
	}
	return e.Detail + " [" + e.Rule + "]"
}

// disconnect closes the connection of an online session from our side
// [MQTT-4.13.2-1].
func (h *Home) disconnect(now time.Time, r *resident, say *mqtt.Disconnect, why Cause) {
	conn := r.conn
	h.wire.Close(conn, h.fitting(r, say), why)
	h.leave(now, r, true, why)
}

// fitting is say without what would take it over the client's maximum
// [MQTT-3.14.2-3] [MQTT-3.1.2-24].
func (h *Home) fitting(r *resident, say *mqtt.Disconnect) *mqtt.Disconnect {
	if say.ReasonString == "" && say.ServerReference == "" || r.s.Version() != mqtt.V5 || r.s.Fits(len(say.Append(nil, mqtt.V5, 0))) {
		return say
	}
	return &mqtt.Disconnect{Reason: say.Reason}
}

// Tick publishes wills, delayed messages and $SYS, and ends sessions whose time has come.
func (h *Home) Tick(now time.Time) {
	h.endCredentials(now)
	h.lookAtDue(now)
	h.publishDelayed(now)
	h.publishSys(now)
	h.mark(now)
	h.paceSome(now)
	h.forgetSome(now)
}

// Spent counts the deliveries this home has made, for whoever shares out turns.
func (h *Home) Spent() int { return h.spent }

// NextTick is when Tick next has something to do; zero: never.
func (h *Home) NextTick() time.Time {
	next := h.timers.Next()
	for _, at := range [...]time.Time{h.credentials.ends.Next(), h.nextDelayed(), h.nextSys(), h.nextSave(), h.nextMark(), h.nextLines(), h.nextEnd(), h.nextSeek(), h.nextPace(), h.nextTalk(), h.nextForget(), h.nextJudge()} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// Turn does a bounded part of what waits, and hands batches to the other
// homes. It ends every turn of the loop.
func (h *Home) Turn(now time.Time) {
	if h.loading != nil { // the sessions are not whole, and nobody is let in
		return
	}
	h.judgeSome(now)
	h.banSome(now)
	h.relimitSome(now)
	h.endSome(now)
	h.revokeSome(now)
	h.replaySome(now)
	h.leaveSome()
	if h.kept() {
		h.saveSome(now)
		h.giveSome(now)
		h.linesAgain(now)
		h.sayEnds(now)
		h.seekSome(now)
		h.submit()
	}
	h.flush(now)
	h.shedSome(now)
	h.talkSome(now)
	h.showIntake()
}

// Heavy tells whether something is left of the turn before that takes a part of each: what sessions that have ended were subscribed to,
// and retained messages for who has asked for many.
func (h *Home) Heavy() bool { return h.work.left.many > 0 || len(h.work.replaying) > 0 }

// FlushLanes hands batches to the other homes before the end of a turn.
func (h *Home) FlushLanes(now time.Time) {
	if h.loading == nil {
		h.flush(now)
	}
}

// Outstanding tells whether something this home said to the log is not decided yet.
func (h *Home) Outstanding() bool { return h.journal.under > 0 }

// Close tells that the loop is about to end: nobody hears news any more.
func (h *Home) Close() {
	if h.kept() {
		h.b.gates[h.id].unbolt()
	}
}
