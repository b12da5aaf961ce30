package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// A delayed message of QoS 1 or 2 is in the log before its publisher is answered. When it
// is due, what it becomes and its end are one batch: after a crash it waits still, or it
// was published, and never both. Until the batch is decided the copy in memory stays, with
// no due time, and counts.

// due is how a delayed message that the log has is published.
type due uint8

const (
	notDelayed due = iota
	dueNow
	dueAgain // the log refused it before; whoever has it live was given it then
)

// delayedRetry is when a delayed message is tried again that the log, or the retained
// store, has no room for.
const delayedRetry = 10 * time.Second

// recordDelay puts a delayed message into the log. It gets its time when that has it.
func (h *Home) recordDelay(now time.Time, a author, f *mqtt.Frame, id uint64, by *sender) (ticket uint64) {
	p := &by.by
	body := fact.Delay{
		Owner: fact.Owner{
			Mountpoint: p.Mountpoint, Identity: p.Identity, ClientID: p.ClientID, Username: p.Username, Listener: p.Listener,
			Method: p.Method, Proof: p.Proof, Addr: p.Addr,
		},
		Node: h.b.durable.Node, Due: by.at,
		Message: fact.Message{Topic: f.Topic(), Props: f.Props(), Payload: f.Payload(), QoS: uint8(f.QoS), Retain: f.Retain, ExpiresAt: f.ExpiresAt},
		By:      tokenOf(p),
	}
	h.journal.body = body.Append(h.journal.body)
	ticket, _ = h.record(now, store.Delay, a.kept, a.epoch)
	h.whenDecided(func(now time.Time, seq store.Seq, err error) {
		if err != nil {
			h.work.delayed.Delete(id)
			return
		}
		if by.seq = seq; by.gone {
			h.work.delayed.Set(id, now.UnixMilli())
			return
		}
		h.work.delayed.Set(id, by.at)
	})
	return ticket
}

// endDelay publishes a message that is due, unless nobody may speak for its sender, and
// says to the log in the same batch that it waits no more.
func (h *Home) endDelay(now time.Time, m *delay.Message[*sender]) {
	by := m.By
	if len(h.journal.body) > batchBytes {
		h.submit()
	}
	h.part()
	if !by.gone {
		how := dueNow
		if by.given {
			how = dueAgain
		}
		rc, f := h.publishDue(now, m, how), m.Frame
		if rc == mqtt.QuotaExceeded && (f.ExpiresAt == 0 || f.ExpiresAt > now.UnixMilli()) { // nothing has happened
			h.work.delayed.Restore(m.Frame, now.Add(delayedRetry).UnixMilli(), m.Owner, by)
			return
		}
		if !by.given {
			by.given = true
			h.count.Inc(metrics.DelayedPublished)
		}
	}
	body := fact.DelayEnd{Due: by.at, Seq: by.seq}
	h.journal.body = body.Append(h.journal.body)
	h.record(now, store.DelayEnd, store.SID{}, 0)
	id := h.work.delayed.Restore(m.Frame, delay.Never, m.Owner, by)
	h.whenDecided(func(now time.Time, _ store.Seq, err error) {
		if err != nil {
			h.work.delayed.Set(id, now.Add(delayedRetry).UnixMilli())
			return
		}
		h.work.delayed.Delete(id)
	})
}

// whenDecided calls do when the record that was added last is decided, whoever is there
// then.
func (h *Home) whenDecided(do func(now time.Time, seq store.Seq, err error)) {
	j := &h.journal
	j.waiters = append(j.waiters, waiter{ticket: j.ticket, index: len(j.recs) - 1, kind: waitDo, do: func(now time.Time, _ *resident, seq store.Seq, err error) {
		do(now, seq, err)
	}})
}

// HomeForDelayed is the home of a delayed message of the log.
func (b *Broker) HomeForDelayed(d *view.Delayed) int {
	return b.HomeOf(session.Key{Mountpoint: d.Mountpoint, Identity: d.Identity, ClientID: d.ClientID})
}

// RestoreDelayed gives a home its delayed messages back, those past due for its next turn.
// It runs on the home's loop, after every home has its sessions and before anybody is let
// in. Messages that another node took are that node's, and left to it.
func (h *Home) RestoreDelayed(list []*view.Delayed) {
	for _, d := range list {
		if h.b.shared() && d.Node != h.b.durable.Node {
			continue
		}
		by := &sender{
			by: auth.Principal{
				Identity: d.Identity, Username: d.Username, ClientID: d.ClientID, Listener: d.Listener, Mountpoint: d.Mountpoint,
				Method: d.Method, Proof: d.Proof, Addr: d.Addr, Claims: claimsOf(&d.By),
			},
			logged: true, kept: d.SID, seq: d.Seq, at: d.Due,
		}
		f := frameOf(&store.Record{At: d.At}, &d.Message)
		h.work.delayed.Restore(f, d.Due, d.Identity, by)
		f.Release()
	}
}
