package broker

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// Stored is what is read back when a broker begins: the sessions of one home, and how
// far the log was applied.
type Stored struct {
	Sessions []*view.Session
	Applied  store.Seq
	// Ended is when connections ended that were open when the process did.
	Ended time.Time
	// Lags are what waits for each of Sessions, in their order; none: for nobody.
	Lags []Lag
}

// Lag is what waits in the log for a session; First is 0 where nothing does.
type Lag struct {
	First, Last store.Seq
	Messages    int
	Bytes       int64
}

// HomeFor is the home of a session of the log.
func (b *Broker) HomeFor(s *view.Session) int {
	return b.HomeOf(keyOfSession(s))
}

func keyOfSession(s *view.Session) session.Key {
	return session.Key{Mountpoint: s.Mountpoint, Identity: s.Identity, ClientID: s.ClientID}
}

// Restore gives a home its sessions back. It runs on the home's loop, before anybody
// is let in.
func (h *Home) Restore(now time.Time, stored *Stored) {
	h.applied = stored.Applied
	subs := h.expect(stored.Sessions)
	if !h.b.shared() {
		h.loading = &loading{subs: make([]router.Filtered, 0, subs), filters: make([]router.Filtered, 0, subs)}
	}
	for i, s := range stored.Sessions {
		switch {
		case !h.b.shared() && stored.Lags == nil:
			h.restore(now, s, Lag{}, stored)
		case !h.b.shared():
			h.restore(now, s, stored.Lags[i], stored)
		case s.Node == h.b.durable.Node: // what an earlier process of this node said may still be on its way
			h.Summon(now, keyOfSession(s), nil)
		}
	}
	h.load()
	h.restoredJudged(now)
}

// expect makes room for what is about to come: a table that grows is moved, again and again.
// It answers how many subscriptions that is.
func (h *Home) expect(sessions []*view.Session) (filters int) {
	if len(h.slots) > 0 || h.b.shared() {
		return 0
	}
	n := len(sessions)
	h.slots, h.gens = slices.Grow(h.slots, n), slices.Grow(h.gens, n)
	h.byKey.expect(n)
	for _, s := range sessions {
		filters += len(s.Subs)
	}
	h.byFilter.one.expect(min(filters, n))
	return filters
}

// Begin lets time go on for the sessions that Restore brought: wills whose delay has passed
// are published, and sessions that are over end. It runs on the home's loop after every home
// has its sessions: whoever wants such a will may live in another.
func (h *Home) Begin() {
	for _, r := range h.slots {
		if r != nil {
			h.wake(r)
		}
	}
}

// wake waits for the next deadline of a session that has one.
func (h *Home) wake(r *resident) {
	if at := r.s.Deadline(); !at.IsZero() {
		h.timers.Set(r.ref.Slot, at)
	}
}

// restore makes a resident of a session of the log. Its time stands still until wake.
func (h *Home) restore(now time.Time, v *view.Session, l Lag, stored *Stored) *resident {
	set := h.b.Settings()
	key := keyOfSession(v)
	by := auth.Principal{
		Identity: v.Identity, Username: v.Username, ClientID: v.ClientID, Listener: v.Listener, Mountpoint: v.Mountpoint,
		Method: v.Method, Proof: v.Proof, Addr: v.Addr, Claims: restoredClaims(v.Will),
	}
	r := h.settle(key, by, set.Session)
	s := &r.s
	s.Keep()
	r.offer = set.offer(by.Listener)
	r.log = &durable{sid: v.SID, epoch: v.Epoch, sure: v.Epoch, pos: stored.Applied}
	h.subject++
	r.subject = h.subject
	r.mistrust(now) // the rules may have changed meanwhile
	if h.loading != nil {
		h.loading.begin(len(v.Subs))
	}
	for i := range v.Subs {
		h.restoreSub(r, &v.Subs[i])
	}
	under := h.entries(r.log, v.Out.Entries)
	s.RestoreOut(uint64(v.Out.Cursor), v.Out.LastID, under)
	for i := range under {
		if f := under[i].Frame; f != nil {
			f.Release()
		}
	}
	r.log.missing = len(s.Missing(nil)) > 0
	h.restoreReplays(r, v)
	s.RestoreReceived(v.Received)
	if l.First != 0 {
		r.log.pos = l.First - 1
		r.log.lag = lag{first: l.First, last: l.Last, messages: l.Messages, bytes: l.Bytes}
	}
	left := stored.Ended
	if v.LeftAt != 0 {
		left = time.UnixMilli(v.LeftAt)
	}
	s.RestoreLife(left, mqtt.Version(v.Version), v.ExpirySeconds, willOf(v.Will))
	h.restoreShares(now, r)
	return r
}

// restoreSub makes a subscription known to publishers again.
func (h *Home) restoreSub(r *resident, v *view.Sub) {
	sub := session.Sub{
		Filter: v.Filter, Real: v.Real, ID: v.SubID, QoS: mqtt.QoS(v.QoS), NoLocal: v.NoLocal, RetainAsPublished: v.RetainAsPublished,
		Exclusive: v.Exclusive, Check: true, // until the rules have been asked
	}
	if sub.Exclusive {
		h.b.only.Take(sub.Real, h.routerRef(r.ref))
	}
	h.insertAs(r, &sub, v)
	r.s.Subscribe(sub)
}

// restoreReplays gives a session back what it is owed of retained messages.
func (h *Home) restoreReplays(r *resident, v *view.Session) {
	r.log.heard = v.Out.Heard
	for _, p := range v.Out.Replays {
		i := r.log.find(p.Filter)
		if i < 0 || p.UpTo < r.log.subs[i].start { // of a subscription that has ended
			continue
		}
		sub, _ := r.s.Subscribed(p.Filter)
		h.addReplay(r, replay{filter: p.Filter, real: p.Real, cursor: retain.CursorAt(bytes.Clone(p.Cursor)), upTo: uint64(p.UpTo), subID: sub.ID, qos: sub.QoS})
	}
	var later []*view.Sub // than that
	for i := range v.Subs {
		if v.Subs[i].Owed != 0 {
			later = append(later, &v.Subs[i])
		}
	}
	slices.SortFunc(later, func(a, b *view.Sub) int { return cmp.Compare(a.Owed, b.Owed) }) // as boxReplays wants them
	for _, s := range later {
		sub, _ := r.s.Subscribed(s.Filter)
		h.replay(r, &sub, true, uint64(s.Owed))
		r.log.heard = s.Owed
	}
}

// entries are what a session has under way, in the words of package session.
func (h *Home) entries(d *durable, list []fact.Sent) (out []session.OutEntry) {
	for i := range list {
		e := &list[i]
		o := session.OutEntry{Seq: uint64(e.Seq), ID: e.ID, State: e.State, QoS: mqtt.QoS(e.QoS), Retain: e.Retain, Group: d.groupOfShare(e.Share)}
		if len(e.Inline) > 0 {
			var m fact.Message
			if m.Decode(e.Inline) == nil {
				o.Frame = frameOf(&store.Record{}, &m)
			}
		}
		if o.Seq == 0 && o.Frame == nil && session.NeedsFrame(o.State) {
			continue // what was too large to be said twice
		}
		out = append(out, o)
	}
	return out
}

func willOf(w *fact.Will) *mqtt.Will {
	if w == nil {
		return nil
	}
	return &mqtt.Will{
		Topic: string(w.Topic), Props: w.Props, Payload: w.Payload, QoS: mqtt.QoS(w.QoS), Retain: w.Retain,
		HasMessageExpiry: w.HasExpiry, MessageExpiry: w.ExpirySeconds, DelaySeconds: w.DelaySeconds,
	}
}
