package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
	"github.com/redoubtmq/redoubt/topic"
)

// Where several nodes write the log, each applies all of it. Publishers of a node name the
// filters of sessions that live on others, and a session whose name somebody else has
// claimed is theirs from that record on.

// shared tells whether other nodes write the log, too.
func (b *Broker) shared() bool { return b.durable != nil && b.durable.Everywhere != nil }

// processBits is the low part of an epoch where several nodes write the log: no two
// processes claim with the same one. Above it is a time in Unix milliseconds, until 2109.
const processBits = 22

// epochAfter is a new epoch of a session, greater than after and than those of any session of
// this name that has ended, without keeping those.
func (b *Broker) epochAfter(after uint64, now time.Time) uint64 {
	at := uint64(now.UnixMilli()) //nolint:gosec // after 1970
	if !b.shared() {
		return max(after+1, at)
	}
	return max(after>>processBits+1, at)<<processBits | uint64(b.durable.Process)
}

// abroad is the subscriptions of the log by session, those of this node among them: they
// go on to count when the session moves. It belongs to the goroutine that applies.
type abroad map[store.SID]map[string]farSub

// farSub is a subscription that the log serves.
type farSub struct {
	id   fact.FilterID
	real string
}

// Know tells a broker what sessions the log has, on whatever node, before anything more
// is applied. It does nothing for a log of one node.
func (b *Broker) Know(sessions []*view.Session) {
	if b.abroad == nil {
		return
	}
	for _, s := range sessions {
		for i := range s.Subs {
			b.meet(s.SID, &s.Subs[i].Subscription)
		}
	}
}

// follow hears of a record about a session that was applied.
func (b *Broker) follow(r *store.Record, ours bool) {
	switch r.Kind {
	case store.Claim:
		var c fact.Claim
		if c.Decode(r.Body) != nil {
			return // it was decoded before
		}
		if c.Clean {
			b.forget(r.SID)
		}
		if !ours {
			b.claimed(&c)
		}
	case store.Subscribe:
		var s fact.Subscription
		if s.Decode(r.Body) == nil {
			b.part(r.SID, s.Filter)
			b.meet(r.SID, &s)
		}
	case store.Unsubscribe:
		var u fact.Unsubscription
		if u.Decode(r.Body) == nil {
			b.part(r.SID, u.Filter)
		}
	case store.Expire:
		b.forget(r.SID)
	}
}

// claimed tells the home of a session's name that the session is not there any more. A
// claim in the name of this node that is not of this process is of an earlier one, and
// nobody else looks after the session.
func (b *Broker) claimed(c *fact.Claim) {
	key := session.Key{Mountpoint: c.Mountpoint, Identity: c.Identity, ClientID: c.ClientID}
	h := b.all[b.HomeOf(key)]
	orphan := c.Node == b.durable.Node
	h.wire.Post(func(now time.Time) {
		h.moved(now, key, orphan)
		if orphan {
			h.Summon(now, key, nil)
		}
	})
}

// meet has publishers of this node name a subscription. Shared ones wait for a choice of
// members over nodes.
func (b *Broker) meet(sid store.SID, s *fact.Subscription) {
	if _, _, shared, _ := topic.ParseShare(s.Filter); shared || s.QoS == 0 {
		return
	}
	if b.abroad[sid] == nil {
		b.abroad[sid] = make(map[string]farSub)
	}
	b.abroad[sid][s.Filter] = farSub{id: s.ID, real: s.Real}
	b.filters.add(s.ID, s.Real, b.elsewhere())
}

// part is the opposite.
func (b *Broker) part(sid store.SID, filter string) {
	s, known := b.abroad[sid][filter]
	if !known {
		return
	}
	b.filters.remove(s.id, s.real, b.elsewhere())
	if delete(b.abroad[sid], filter); len(b.abroad[sid]) == 0 {
		delete(b.abroad, sid)
	}
}

// forget is the opposite for all of a session.
func (b *Broker) forget(sid store.SID) {
	for filter := range b.abroad[sid] {
		b.part(sid, filter)
	}
}

// elsewhere is what stands for all other nodes where homes are counted.
func (b *Broker) elsewhere() uint16 { return uint16(b.homes) } //nolint:gosec // a loop has a number

// moved lets go of a session that somebody else has claimed; an orphan was claimed by an
// earlier process of this node.
func (h *Home) moved(now time.Time, key session.Key, orphan bool) {
	if s := h.summons[key]; s != nil {
		s.stale, s.orphan = true, orphan
	}
	r, present := h.lookup(key)
	switch {
	case !present:
	case r.log != nil:
		h.lose(now, r)
	default: // it lives only here, and there must not be two of its name
		h.disconnect(now, r, &mqtt.Disconnect{Reason: mqtt.SessionTakenOver}, CauseTakenOver)
		if h.at(r.ref) == r {
			h.evict(now, r)
		}
	}
}

// lose forgets a session that is another node's, and closes its connection. Nothing is
// said of it: whoever has it speaks for it, also its will.
func (h *Home) lose(now time.Time, r *resident) {
	if r.s.Online() {
		h.wire.Close(r.conn, &mqtt.Disconnect{Reason: mqtt.SessionTakenOver}, CauseTakenOver)
		r.s.Detach(now, false)
		h.b.keptOnline.Add(-1)
		h.tell(now, r, EventDisconnected, func(e *Event) { e.Reason = CauseTakenOver.String() })
	}
	h.endTalk(now, r)
	h.retractAll(r)
	h.dismissAll(r)
	h.vacate(r)
}
