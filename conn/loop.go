package conn

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/internal/wheel"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// Loop is one event loop: one goroutine that owns connections and, through its
// home, sessions. A turn takes everything from the inbox, gives every packet to
// the home, lets the home do some of what waits, and then writes once to each
// connection that has something to send.
type Loop struct {
	// Set once.
	id     int
	server *Server
	home   *broker.Home
	count  *metrics.Shard
	poll   poller

	inbox inbox // everybody's

	// Owned by the loop's goroutine.
	clocked
	conns  []*Conn // by slot
	gens   []uint32
	free   []uint32
	timers *wheel.Wheel
	fired  []uint32
	paused []broker.ConnRef // with a time
	before strangers        // before an accepted CONNECT
	round
	sweep   sweep
	ending  bool // leave when the last connection has gone
	shaking int  // handshakes of this loop that are under way

	scratch
}

// scratch is memory that one turn, or one packet, uses and the next one uses again.
type scratch struct {
	control []event
	data    []*broker.Batch
	publish mqtt.Publish // the home looks at it and keeps nothing of it
	roomed  *mqtt.Frame  // in whose memory the packet is that is looked at; nil: in that of a buffer
}

// clocked is when the turn began.
type clocked struct {
	now    time.Time
	moment instant // the same
	place
	serving
}

// round is who has something to do at the end of a turn, or in the next one.
type round struct {
	dirty   []*Conn          // have something to write
	broad   broad            // have something to write that many others have as well
	greedy  []deferred       // have packets left for a later turn
	served  []deferred       // scratch: had some left for this one
	later   []*Conn          // have more to write than one turn allows
	rest    []*Conn          // scratch: had so in the turn before
	again   bool             // another turn is wanted without waiting
	resumed []broker.ConnRef // scratch
	spare   spareLists       // room for what waits, of queues that have none
}

func newLoop(s *Server, id int) *Loop {
	now := s.clock.Now()
	l := &Loop{id: id, server: s, count: s.metrics.NewShard(), clocked: clocked{now: now, moment: s.instant(now)}, timers: wheel.New(now)}
	l.inbox.dataMax = InboxDataBytesMax
	l.home = s.broker.NewHome(id, l, l.count, now)
	return l
}

// run is the loop's goroutine.
func (l *Loop) run() {
	for !l.ending || l.server.live.Load() > 0 || l.shaking > 0 || l.poll.busy() {
		l.wait()
		l.turn()
	}
	l.home.Close()
	l.poll.close()
}

// pauseTick is how often connections that are paused for a time are looked at.
const pauseTick = 100 * time.Millisecond

// wait returns when something has come or a deadline is near.
func (l *Loop) wait() {
	if l.again {
		l.again = false
		l.poll.wait(0)
		l.offer() // let those run whose answers this loop waits for
		return
	}
	if l.now.Sub(l.yielded) >= yieldEvery {
		l.yield()
	}
	now := l.server.clock.Now()
	d := time.Hour
	for _, at := range []time.Time{l.timers.Next(), l.home.NextTick(), l.before.line.next} {
		if !at.IsZero() {
			d = min(d, at.Sub(now))
		}
	}
	if len(l.paused) > 0 {
		d = min(d, pauseTick)
	}
	if d < 0 || !l.inbox.rest() {
		d = 0
	}
	l.poll.wait(d)
}

// turn does everything once.
func (l *Loop) turn() {
	l.now = l.server.clock.Now()
	l.moment = l.server.instant(l.now)
	l.count.Inc(metrics.LoopTurns)
	l.greedy, l.served = l.served[:0], l.greedy // who is put off in this turn has his in the next
	l.later, l.rest = l.rest[:0], l.later
	ahead := len(l.served) > 0 || l.home.Heavy()
	l.control, l.data = l.inbox.drain(l.control, l.data, l.home.Later() < l.inbox.dataMax && l.broad.takes(l.inbox.dataMax))
	l.serves = len(l.data) > 0
	for i := range l.control {
		l.guard(l.control[i].conn, func() { l.handle(&l.control[i]) })
		l.control[i] = event{}
	}
	l.catchUp()
	for i, b := range l.data {
		l.broad.taken += b.Bytes()
		l.guard(nil, func() { l.home.Receive(l.now, b) })
		l.data[i] = nil
	}
	l.poll.dispatch()
	if ahead {
		l.goAhead()
	}
	for i, d := range l.served {
		switch {
		case d.conn.loop != l:
		case d.after > l.broad.written:
			l.greedy = append(l.greedy, d)
		default:
			l.guard(d.conn, func() { l.goOn(d.conn) })
		}
		l.served[i] = deferred{}
	}
	l.guard(nil, l.tick)
	l.guard(nil, func() { l.home.Turn(l.now) })
	if !ahead {
		l.takeLater()
	}
	l.flushDirty()
	l.flushBroad()
	l.lookAtStrangers()
	l.flushDirty()
	l.remember()
	l.again = l.again || len(l.later) > 0 || len(l.greedy) > 0 || !l.broad.empty() || l.home.Later() > 0
	if l.shaking > 0 && !l.server.spare || l.home.Outstanding() {
		// A core of its own is not promised to a handshake, nor to the log. With a place to spare a handshake has that
		// one: who takes ours keeps it for a millisecond and more, in which our clients wait.
		l.offer()
	}
}

// goAhead writes to those who have something already, before it goes on with those who had to be put off, and with what
// a home does a part of in each turn: they would wait for all of that, and have waited for the rest of the turn before.
func (l *Loop) goAhead() {
	l.takeLater()
	l.answer()
}

// answer sends what has been said so far on its way.
func (l *Loop) answer() {
	l.guard(nil, func() { l.home.FlushLanes(l.now) })
	l.flushDirty()
}

// takeLater lists those for this turn who had more to write than one turn allows.
func (l *Loop) takeLater() {
	l.dirty = append(l.dirty, l.rest...)
	clear(l.rest) // who has gone must not stay because of a list
	l.rest = l.rest[:0]
}

// flushDirty writes to those who have something of their own.
func (l *Loop) flushDirty() {
	for i := 0; i < len(l.dirty); i++ { // flushing may make others dirty
		c := l.dirty[i]
		l.guard(c, func() { l.flush(c) })
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
}

// guard turns a bug that one client's input set off into the end of that client.
// It counts, says where, and goes on: one client can never take the others down.
func (l *Loop) guard(c *Conn, do func()) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		l.broad.on = false
		l.server.caught(l.count, l.now, p)
		if c != nil && c.loop == l && c.stage != gone {
			l.endFaulty(c)
		}
	}()
	do()
}

// rescue is guard for what is no connection of the loop yet, or none any more: after a bug,
// undo closes it and gives its place back, as far as it gets.
func (l *Loop) rescue(do, undo func()) { l.server.rescue(l.count, l.now, do, undo) }

// caught counts a bug and says where it is.
func (s *Server) caught(count *metrics.Shard, now time.Time, p any) {
	count.Inc(metrics.FaultsRecovered)
	s.broker.Log().Event(now, slog.LevelError, "a bug was caught; the connection that set it off is closed", "fault",
		slog.String("fault", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
}

// endFaulty closes a connection whose state a bug has left in doubt. If closing
// trips over it as well, only the socket goes.
func (l *Loop) endFaulty(c *Conn) {
	defer func() {
		if recover() != nil && c.stage != gone {
			c.stage = gone
			l.forget(c)
			c.sock.Close(false, c.place)
			l.server.died()
		}
	}()
	l.abort(c, broker.CauseServerError)
}

func (l *Loop) handle(e *event) {
	c := e.conn
	if e.kind == evCall {
		e.fn(l)
		return
	}
	if c.stage == gone {
		putReadBuffer(e.buf)
		return
	}
	switch e.kind {
	case evArrived:
		l.arrive(c)
	case evInput:
		c.pace.reading = false
		c.came(len(e.buf), bufferMin)
		l.input(c, e.buf)
		putReadBuffer(e.buf)
		l.resumeReading(c)
	case evWritten:
		c.out.writing = false
		l.mark(c)
	case evEnded:
		c.pace.reading = false
		l.ended(c, e.err)
	case evVerdict:
		l.verdict(c, &e.verdict)
	case evHome:
		l.adopt(c)
		c.sock.Join(l)
		l.open(c)
	case evReady:
		l.ready(c, e.err)
	}
}

// adopt gives c a slot of this loop.
func (l *Loop) adopt(c *Conn) {
	var slot uint32
	if n := len(l.free); n > 0 {
		slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		slot = uint32(len(l.conns))
		l.conns, l.gens = append(l.conns, nil), append(l.gens, 0)
	}
	l.gens[slot]++
	c.loop, c.ref = l, broker.ConnRef{Slot: slot, Gen: l.gens[slot]}
	l.conns[slot] = c
}

// forget takes c's slot back.
func (l *Loop) forget(c *Conn) {
	l.timers.Clear(c.ref.Slot)
	l.conns[c.ref.Slot] = nil
	l.gens[c.ref.Slot]++
	l.free = append(l.free, c.ref.Slot)
	c.pace.until, c.pace.timed = 0, false
}

// at is the connection ref names, or nil when it has gone.
func (l *Loop) at(ref broker.ConnRef) *Conn {
	if int(ref.Slot) >= len(l.conns) || l.gens[ref.Slot] != ref.Gen {
		return nil
	}
	return l.conns[ref.Slot]
}

// mark lists c for the writes at the end of the turn.
func (l *Loop) mark(c *Conn) {
	switch {
	case c.out.broad && !l.broad.on: // it has something that is for it alone
		c.out.broad = false
		l.dirty = append(l.dirty, c)
	case c.out.dirty:
	case l.broad.on:
		c.out.dirty, c.out.broad = true, true
		l.broad.add(c)
	default:
		c.out.dirty = true
		l.dirty = append(l.dirty, c)
	}
}

// Post implements broker.Wire.
func (l *Loop) Post(fn func(now time.Time)) {
	l.inbox.post(event{kind: evCall, fn: func(l *Loop) { fn(l.now) }})
}

// Again implements broker.Wire.
func (l *Loop) Again() { l.again = true }

// Send implements broker.Wire.
func (l *Loop) Send(ref broker.ConnRef, o session.Out) (room bool) {
	c := l.at(ref)
	if c == nil || c.stage == closing {
		o.Done()
		return true
	}
	l.lend(&c.out)
	c.out.push(o)
	l.mark(c)
	return c.out.room()
}

// Close implements broker.Wire.
func (l *Loop) Close(ref broker.ConnRef, say *mqtt.Disconnect, why broker.Cause) {
	if c := l.at(ref); c != nil {
		l.part(c, say, why)
	}
}

// Forward implements broker.Wire.
func (l *Loop) Forward(home int, b *broker.Batch) bool {
	return l.server.loops[home].inbox.offer(b, l)
}
