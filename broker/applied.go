package broker

import (
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// The applier goes through the log batch by batch, on a goroutine of the view, and
// tells each home what concerns it: the messages its sessions may want, and what
// became of its own batches.

// origin is whose a batch of the log is.
type origin struct {
	first  store.Seq
	home   int
	ticket uint64
}

// origins are the batches of this process that are in the log and not applied yet,
// in the order of the log: the log tells their outcomes in it, before the applier
// comes by.
type origins struct {
	mu   sync.Mutex // guards everything below
	list []origin
	head int
}

func (o *origins) push(a origin) {
	o.mu.Lock()
	o.list = append(o.list, a)
	o.mu.Unlock()
}

// take answers whose the batch that begins with first is.
func (o *origins) take(first store.Seq) (a origin, ours bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.head == len(o.list) || o.list[o.head].first != first {
		return a, false
	}
	a = o.list[o.head]
	o.head++
	switch {
	case o.head == len(o.list):
		o.list, o.head = o.list[:0], 0
	case o.head >= 1024 && o.head >= len(o.list)/2: // a queue that is never empty must not grow for ever
		o.list, o.head = o.list[:copy(o.list, o.list[o.head:])], 0
	}
	return a, true
}

// gate bounds how far the applier may be ahead of a home. A home always takes its
// news and never waits for the applier, so that waiting here ends.
type gate struct {
	mu    sync.Mutex // guards everything below
	freed sync.Cond
	bytes int64
	open  bool // the home takes nothing any more
}

// gateMax is that bound, in bytes of messages.
const gateMax = 8 << 20

func newGate() *gate {
	g := &gate{}
	g.freed.L = &g.mu
	return g
}

func (g *gate) enter(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.bytes > 0 && g.bytes+n > gateMax && !g.open {
		g.freed.Wait()
	}
	g.bytes += n
}

func (g *gate) leave(n int64) {
	if n == 0 {
		return
	}
	g.mu.Lock()
	g.bytes -= n
	g.mu.Unlock()
	g.freed.Broadcast()
}

// unbolt lets the applier pass for ever.
func (g *gate) unbolt() {
	g.mu.Lock()
	g.open = true
	g.mu.Unlock()
	g.freed.Broadcast()
}

// applier is what Applied uses again from batch to batch.
type applier struct {
	news    []*news // by home; nil: none yet
	marked  []bool
	matches router.Matches
	ids     []fact.FilterID
}

// Applied implements view.Sink. It is called by one goroutine at a time.
func (b *Broker) Applied(first store.Seq, items []view.Item) {
	a := &b.applier
	own, ours := b.origins.take(first)
	upTo := first + store.Seq(len(items)) - 1
	b.begun.Store(uint64(upTo))
	for i := range items {
		it := &items[i]
		if it.Outcome != view.Applied {
			if ours {
				n := a.of(own.home, upTo)
				n.refuse(i, len(items), it.Outcome)
				if k := it.Record.Kind; k == store.Retain || k == store.Unretain {
					n.retained = append(n.retained, nil) // somebody waits for it as for the others
				}
			}
			continue
		}
		switch {
		case it.Message != nil:
			b.spread(first+store.Seq(i), upTo, it, own, ours)
		case b.abroad != nil:
			b.follow(it.Record, ours)
		}
	}
	if ours {
		n := a.of(own.home, upTo)
		n.ticket, n.first = own.ticket, first
	}
	for i, n := range a.news {
		if n == nil {
			continue
		}
		a.news[i] = nil
		b.gates[i].enter(n.bytes)
		h := b.all[i]
		h.wire.Post(func(now time.Time) { h.hear(now, n) })
	}
	b.told.Store(uint64(upTo))
}

// Told is the newest number of the log that the homes were told of since this process
// began; 0: none.
func (b *Broker) Told() store.Seq { return store.Seq(b.told.Load()) }

// spread gives a message to the homes that may want it.
func (b *Broker) spread(seq, upTo store.Seq, it *view.Item, own origin, ours bool) {
	a, m := &b.applier, it.Message
	f := frameOf(it.Record, m)
	defer f.Release()
	msg := logged{seq: seq, from: it.Record.SID, frame: f, broad: m.Broad}
	if k := it.Record.Kind; k == store.Retain || k == store.Unretain {
		if m.Only != 0 { // an operator's; nobody is told
			b.retained.Withdraw(f.Topic(), uint64(seq), uint64(m.Only))
			return
		}
		b.retained.Restore(f, uint64(seq))
		// Whoever subscribed while it was on its way read the retained messages before
		// it was one, and must not be left with the older one.
		var broad bool
		a.ids, broad = b.filters.match(f.Topic(), &a.matches, a.ids[:0])
		if broad {
			msg.broad = true
		} else {
			msg.late = missing(a.ids, m.Filters)
		}
		if ours {
			n := a.of(own.home, upTo)
			n.retained = append(n.retained, f.Hold())
		}
	}
	clear(a.marked)
	for _, id := range m.Filters {
		b.filters.mark(id, a.marked)
		if l := b.lines.named(id); l != nil {
			l.last.Store(uint64(seq))
			a.marked[l.home] = true
			msg.lines = append(msg.lines, l)
		}
	}
	for _, id := range msg.late {
		b.filters.mark(id, a.marked)
	}
	for home, wants := range a.marked {
		if !wants && !msg.broad {
			continue
		}
		n := a.of(home, upTo)
		if msg.filters == nil && len(m.Filters) > 0 { // the view's are its own
			msg.filters = append([]fact.FilterID(nil), m.Filters...)
		}
		n.messages = append(n.messages, msg)
		n.bytes += int64(f.Size())
		f.Hold()
	}
}

// of is the news of a home.
func (a *applier) of(home int, upTo store.Seq) *news {
	if a.news[home] == nil {
		a.news[home] = &news{upTo: upTo}
	}
	return a.news[home]
}

// refuse notes that a record of the batch was not applied.
func (n *news) refuse(i, records int, why view.Outcome) {
	if n.outcomes == nil {
		n.outcomes = make([]view.Outcome, records)
		for k := range n.outcomes {
			n.outcomes[k] = view.Applied
		}
	}
	n.outcomes[i] = why
}

// missing answers what is in ids and not in named.
func missing(ids, named []fact.FilterID) (out []fact.FilterID) {
next:
	for _, id := range ids {
		for _, n := range named {
			if n == id {
				continue next
			}
		}
		out = append(out, id)
	}
	return out
}

// fanRetained gives a retained message that was just applied to those who have it
// live. Sessions that get it from the log are left out; for those that got it as a member
// of a shared group, more must be said, at the ticket that it answers.
func (h *Home) fanRetained(now time.Time, r *resident, f *mqtt.Frame, to whom) (ticket uint64) {
	var a author
	if r != nil {
		a = r.author()
	}
	a.logged, a.whom = f.QoS > 0, to
	h.match(now, a, f.Topic())
	h.scratch.members, h.scratch.promises = h.scratch.members[:0], h.scratch.promises[:0]
	if len(h.matches.Subs) > 0 {
		h.fan(now, a, f)
	}
	return h.toLog(now, a, f, false)
}
