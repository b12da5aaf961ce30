package broker

import (
	"log/slog"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
)

// lanes are a home's batches for the other homes, and who waits for them.
type lanes struct {
	to      []lane
	stalled []Ref // publishers whose pending ring waits for a lane
	behind  behind
}

// lane is what one home has for another this turn, or could not hand over yet.
type lane struct {
	batch   *Batch
	blocked bool // the other's data lane refused: publishers for it wait
}

var batches = sync.Pool{New: func() any { return new(Batch) }}

// add queues f for a session of another home, with a reference of its own. It
// answers false while that home is blocked.
func (l *lanes) add(to router.Ref, f *mqtt.Frame, w want) (settled bool) {
	n := &l.to[to.Home]
	if n.batch == nil {
		n.batch = batches.Get().(*Batch)
	}
	it := forward{frame: f.Hold(), to: to, want: w}
	n.batch.bytes += it.costAfter(last(n.batch.items))
	n.batch.items = append(n.batch.items, it)
	return !n.blocked
}

// flush hands this turn's batches to the other homes. When one refuses, QoS 0
// is dropped and counted; the rest stays with its remaining destinations, and
// publishers are not read until it has gone.
func (h *Home) flush(now time.Time) {
	free := !h.journal.over()
	for i := range h.lanes.to {
		n := &h.lanes.to[i]
		if n.batch == nil {
			continue
		}
		if h.wire.Forward(i, n.batch) {
			n.batch, n.blocked = nil, false
			continue
		}
		h.shed(n.batch)
		if len(n.batch.items) == 0 {
			batches.Put(n.batch)
			n.batch, n.blocked = nil, false
			continue
		}
		n.blocked, free = true, false
	}
	if free && len(h.lanes.stalled) > 0 {
		h.unstall(now)
	}
}

// shed drops the QoS 0 deliveries of a refused batch.
func (h *Home) shed(b *Batch) {
	kept := b.items[:0]
	b.bytes = 0
	for _, it := range b.items {
		if it.want.qos > 0 {
			b.bytes += it.costAfter(last(kept))
			kept = append(kept, it)
			continue
		}
		h.count.Inc(metrics.MessagesDroppedInboxFull)
		it.frame.Release()
	}
	clear(b.items[len(kept):])
	b.items = kept
}

// Receive delivers a batch from another home, but for what Later is about.
func (h *Home) Receive(now time.Time, b *Batch) {
	was := h.wire.Broad(false)
	defer func() { h.wire.Broad(was) }()
	for i := range b.items {
		if it := &b.items[i]; !h.lanes.behind.takes(it) {
			h.receive(now, it)
		}
	}
	clear(b.items)
	b.items, b.bytes = b.items[:0], 0
	batches.Put(b)
}

func (h *Home) receive(now time.Time, it *forward) {
	h.wire.Broad(it.want.broad)
	h.deliver(now, it.to, it.frame, it.want)
	it.frame.Release()
}

// stall lists a publisher whose pending ring waits for a lane and stops reading
// it.
func (h *Home) stall(r *resident) {
	if r.stalled {
		return
	}
	r.stalled = true
	h.lanes.stalled = append(h.lanes.stalled, r.ref)
	if r.s.Online() {
		h.count.Inc(metrics.PublisherPauses)
		h.wire.Pause(r.conn, time.Time{})
	}
}

// deferPublish lets a message join the pending ring unrouted: its publisher has one
// before it that bars the way, or the log takes nothing now.
func (h *Home) deferPublish(now time.Time, r *resident, m publication) {
	r.s.Defer(session.Pending{Frame: h.frame(now, r.author(), &m), Delay: m.delay, ID: m.packet.PacketID, QoS: m.qos, Size: m.size()})
	if h.journal.over() {
		h.stall(r)
	} else if r.s.Online() {
		h.wire.Pause(r.conn, time.Time{})
	}
}

// unstall settles what the lanes have taken, then routes what was deferred
// behind it, in order, until a lane is blocked again or the ring is empty.
func (h *Home) unstall(now time.Time) {
	waiting := h.lanes.stalled
	h.lanes.stalled = nil
	for _, ref := range waiting {
		if r := h.at(ref); r != nil {
			r.stalled = false
			h.settleRing(now, r)
		}
	}
	h.wire.Again() // what was routed now waits in the lanes
}

// settleRing answers what is settled, in order, and routes what was deferred behind
// it, until something bars the way again or the ring is empty.
func (h *Home) settleRing(now time.Time, r *resident) {
	for {
		h.settleFront(now, r)
		p := r.s.Deferred()
		if p == nil || h.journal.over() {
			break
		}
		if f := p.Frame; f.Retain && p.Delay == 0 && h.unsure(now, r, f.Topic(), len(f.Props())+len(f.Payload())) {
			break
		}
		q, id, delay := p.QoS, p.ID, p.Delay
		f := p.Frame.Hold()
		rc, w := h.admit(now, r, publication{name: f.Topic(), frame: f, qos: q, retain: f.Retain, delay: delay}, id)
		f.Release()
		if p = r.s.Deferred(); p == nil { // its session has ended by it
			return
		}
		r.s.RoutedAs(p, session.Pending{Wait: w.kind(), Ticket: w.ticket, Reason: rc, Denial: uint32(h.scratch.denial)})
		h.await(r, w)
	}
	if h.journal.over() && r.s.Deferred() != nil { // the log takes nothing now
		h.stall(r)
	}
	if r.s.Online() && !r.stalled && !r.s.PendingFull() && !r.s.Unrouted() {
		h.wire.Resume(r.conn)
	}
}

// settleFront answers what is settled at the front of the ring.
func (h *Home) settleFront(now time.Time, r *resident) {
	for {
		p := r.s.Oldest()
		if p == nil || p.Frame != nil || p.Ticket > h.journal.settled || p.Wait == session.WaitLane && r.stalled {
			return
		}
		q, id, rc, denial := p.QoS, p.ID, p.Reason, audit.Ref(p.Denial)
		r.s.Unpend()
		h.acknowledge(now, r, q, id, rc, denial)
	}
}

// queueFull counts what a full mqueue dropped and names the session to the
// operator, once a minute.
func (h *Home) queueFull(now time.Time, r *resident) {
	h.b.log.Event(now, slog.LevelWarn, "mqueue full, messages dropped", r.by.Identity+"\x00"+r.by.ClientID,
		slog.String("user", r.by.Username), slog.String("client_id", r.by.ClientID), slog.String("listener", r.by.Listener), slog.Bool("online", r.s.Online()))
	h.countDrops(r)
}
