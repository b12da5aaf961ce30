package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// retention is what the node remembers of letting go.
type retention struct {
	stats   atomic.Pointer[view.Stats] // as of a few seconds ago; nil: nobody has looked yet
	full    atomic.Bool                // the store is as large as store.max_bytes
	tidied  atomic.Int64               // bytes of it after it was tidied
	crowded chan struct{}              // has room for one: tidying cannot wait for its turn

	forgotten time.Time // when rescued messages were last looked through; of the goroutine that tidies
}

const (
	// rescueFor is how long one turn of tidying rescues: the same goroutine reloads the
	// configuration and ends the process.
	rescueFor = 3 * time.Second
	// forgetEvery and forgetSoon are how often rescued messages are looked through, for
	// those that nobody wants any more: usually, and when the store has no room.
	forgetEvery = 10 * time.Minute
	forgetSoon  = time.Minute
)

// size is what counts against store.max_bytes: the log, and what was rescued from it.
func (d *durable) size() int64 {
	_, rescued := d.view.Rescued()
	return d.log.Usage().Bytes + rescued
}

// tidyStore gives back what no session wants any more. Above four fifths of
// store.max_bytes it rescues what is still wanted of the oldest segments, and drops them.
func (n *node) tidyStore(ctx context.Context) {
	d := n.durable
	n.tendSpace()
	most := int64(n.loaded.Load().Config.Store.MaxBytes)
	told := n.broker.Told() // the homes hear of it before they are asked
	b := n.lookBehind()     // also while nothing has come since the start: sessions may be behind from before
	if told != 0 {
		below := told + 1
		if b.Oldest != 0 {
			below = min(below, b.Oldest)
		}
		n.trimStore(ctx, below)
		crowded := d.size() > most-most/5
		n.forgetRescued(ctx, b, crowded)
		if crowded && ctx.Err() == nil {
			n.rescue(ctx, told, most-most/5)
		}
	}
	stats := d.view.Stats()
	d.stats.Store(&stats)
	d.tidied.Store(d.size())
	n.judgeStored()
	n.judgeFull(most)
}

// crowd has the store tidied before its turn if it has become much larger since, and has no
// room for that: a fast disk takes a lot in a few seconds.
func (n *node) crowd(d *durable) {
	most, size := int64(n.loaded.Load().Config.Store.MaxBytes), d.size()
	if size > most-most/5 && size > d.tidied.Load()+most/50 {
		select {
		case d.crowded <- struct{}{}:
		default:
		}
	}
	if size >= most && !d.full.Load() {
		n.judgeFull(most)
	}
}

// trimStore lets go of the log below a number, as far as it can, and answers down to where.
func (n *node) trimStore(ctx context.Context, below store.Seq) store.Seq {
	got, err := n.durable.view.Trim(ctx, below)
	if err != nil && ctx.Err() == nil {
		n.log.Error("what nobody wants any more could not be removed from the store", "error", err.Error())
	}
	return got
}

// judgeFull says whether the store is as large as the operator allows.
func (n *node) judgeFull(most int64) {
	d := n.durable
	size := d.size()
	full := size >= most
	was := d.full.Swap(full)
	n.judgeRoom(d)
	switch {
	case full && !was:
		_, rescued := d.view.Rescued()
		n.log.Error("the store is as large as store.max_bytes; publishes that must be stored are refused with 0x97. Raise it, or find who does not come for its messages: redoubt sessions list",
			"bytes", size, "of them rescued", rescued, "store.max_bytes", most)
	case was && !full:
		n.log.Info("the store is below store.max_bytes again; publishes are stored", "bytes", size, "store.max_bytes", most)
	}
}

// forgetRescued lets go of rescued messages that no session wants any more.
func (n *node) forgetRescued(ctx context.Context, b broker.Behind, crowded bool) {
	d, now := n.durable, n.clock.Now()
	messages, _ := d.view.Rescued()
	if messages == 0 {
		return
	}
	floor := d.view.Floor()
	wanted := func(fact.FilterID, store.Seq) bool { return false }
	if b.Oldest != 0 && b.Oldest < floor {
		if since := now.Sub(d.forgotten); since < forgetSoon || since < forgetEvery && !crowded {
			return
		}
		wants := broker.AllWants(n.server.Each, floor)
		if wants.Unsure {
			return
		}
		wanted = wants.Has
	}
	d.forgotten = now
	if _, err := d.view.Forget(ctx, wanted); err != nil && ctx.Err() == nil {
		n.log.Error("rescued messages that nobody wants any more could not be removed from the store", "error", err.Error())
	}
}

// rescue drops the oldest segments until the store has no more than so many bytes, and
// copies out what sessions still want of them.
func (n *node) rescue(ctx context.Context, told store.Seq, most int64) {
	d, began := n.durable, n.clock.Now()
	_, kept := d.view.Rescued()
	room := min(told+1, d.log.Within(max(0, most-kept)))
	hoards, err := n.findHoards(room)
	dropped, rescued, segments := 0, 0, 0
	if err == nil {
		dropped, err = broker.Enforce(n.server.Each, d.view, room, hoards)
	}
	if err == nil {
		rescued, segments, err = n.rescueBelow(ctx, room, most)
	}
	n.count.Add(metrics.StoreRescued, int64(rescued))
	if err != nil && ctx.Err() == nil {
		n.log.Error("what sessions still want could not be rescued from the oldest of the log, so it stays", "error", err.Error())
	}
	if rescued+dropped > 0 {
		messages, bytes := d.view.Rescued()
		attrs := []any{"segments", segments, "rescued", rescued, "dropped", dropped, "rescued_in_all", messages, "rescued_bytes", bytes,
			"took", n.clock.Now().Sub(began).Round(time.Millisecond).String()}
		if dropped > 0 {
			n.log.Warn("the store is above four fifths of store.max_bytes: sessions that are away lost the oldest of what was over limits.mqueue_messages or limits.mqueue_bytes. Raise those and store.max_bytes, or find who does not come: redoubt sessions list", attrs...)
		} else {
			n.log.Info("the store is above four fifths of store.max_bytes; the oldest segments go, and what sessions want of them is rescued", attrs...)
		}
	}
}

// findHoards are the identities whose sessions have more than their share of the store, if
// half of it is what sessions have not come for.
func (n *node) findHoards(below store.Seq) (broker.Hoards, error) {
	most := n.judgeStored()
	if most == 0 {
		return nil, nil
	}
	hoards, err := broker.FindHoards(n.server.Each, n.durable.view, below, most)
	for who, bytes := range hoards {
		n.log.Warn("sessions of a user have more than limits.identity_share of the store waiting for them, and lose the oldest of it; find those that nobody comes for: redoubt sessions list",
			"user", who.Identity, "bytes_for_each_session", bytes, "bytes", most)
	}
	return hoards, err
}

// judgeStored says how much one identity may have of what sessions have not come for, and
// answers it; 0: all it likes, because that is not scarce.
func (n *node) judgeStored() (most int64) {
	size := int64(n.loaded.Load().Config.Store.MaxBytes)
	if _, rescued := n.durable.view.Rescued(); rescued >= size/2 {
		most = n.broker.Share(size)
	}
	n.broker.SetStored(most)
	return most
}

// rescueBelow is rescue, segment by segment.
func (n *node) rescueBelow(ctx context.Context, room store.Seq, most int64) (rescued, segments int, err error) {
	d, began := n.durable, n.clock.Now()
	wants, waitMax := broker.AllWants(n.server.Each, room), n.broker.Settings().Session.WaitMax
	for d.size() > most && !wants.Unsure && n.clock.Now().Sub(began) < rescueFor {
		below, _, ok := d.log.Oldest()
		if !ok || below > room {
			return rescued, segments, nil
		}
		seqs, err := wants.Find(d.view, d.view.Floor(), below) // what is before that was rescued, and may be a lot
		if err != nil {
			return rescued, segments, err
		}
		more, err := d.view.Rescue(ctx, seqs, func(seq store.Seq, rec *store.Record, m *fact.Message) bool {
			return wants.Keeps(n.clock.Now(), waitMax, seq, rec, m)
		})
		rescued += more
		if err != nil {
			return rescued, segments, err
		}
		if n.trimStore(ctx, below) < below { // the index must still read it at the next start
			return rescued, segments, nil
		}
		segments++
	}
	return rescued, segments, nil
}

// lookBehind asks the homes what waits in the log, and remembers it for metrics and
// status.
func (n *node) lookBehind() broker.Behind {
	found := make(chan broker.Behind, n.loops)
	n.server.Each(func(_ time.Time, h *broker.Home) { found <- h.Behind() })
	close(found)
	sum := broker.Behind{}
	for one := range found {
		sum = sum.Plus(one)
	}
	sum = sum.Plus(n.broker.LineBehind()) // after the homes: what they give up for a group is there before
	n.durable.behind.Store(&sum)
	return sum
}
