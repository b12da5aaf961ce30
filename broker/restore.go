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

// Stored is what is read back when a broker begins: sessions of one home, and how far the log
// was applied.
type Stored struct {
	Sessions []*view.Session // nothing is kept of them but strings and wills
	Expected int             // sessions of the home, or about as many; 0: it is not known
	Filters  int             // subscriptions of the home, at most or about; 0: it is not known
	Applied  store.Seq
	// Ended is when connections ended that were open when the process did.
	Ended time.Time
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

// Restore gives a home sessions back, some at a time. It runs on the home's loop, before anybody
// is let in; until Restored the sessions are there and not whole.
func (h *Home) Restore(now time.Time, stored *Stored) {
	h.applied = stored.Applied
	if h.b.shared() {
		for _, s := range stored.Sessions {
			if s.Node == h.b.durable.Node { // what an earlier process of this node said may still be on its way
				h.Summon(now, keyOfSession(s), nil)
			}
		}
		return
	}
	if h.loading == nil && len(stored.Sessions) > 0 {
		h.expect(stored)
	}
	for _, s := range stored.Sessions {
		r := h.restore(now, s, stored)
		h.loading.came = append(h.loading.came, r.ref)
	}
}

// Restored is told after the last of a home's sessions has come what waits for each, in the order
// in which they came; none: for nobody. It runs on the home's loop.
func (h *Home) Restored(now time.Time, lags []Lag) {
	if l := h.loading; l != nil {
		for i, ref := range l.came {
			switch r := h.at(ref); {
			case r == nil:
			case i < len(lags):
				h.awaits(now, r, &lags[i])
			default:
				h.awaits(now, r, &Lag{})
			}
		}
		h.load()
		for _, fn := range l.after {
			fn(now)
		}
	}
	h.restoredJudged(now)
}

// awaits makes a restored session whole by what waits for it.
func (h *Home) awaits(now time.Time, r *resident, l *Lag) {
	if l.First != 0 {
		r.log.pos = l.First - 1
		r.log.passes().lag = lag{first: l.First, last: l.Last, messages: l.Messages, bytes: l.Bytes}
	}
	h.restoreShares(now, r)
}

// expect makes room for what is about to come: a table that grows is moved, again and again.
func (h *Home) expect(stored *Stored) {
	some, filters := len(stored.Sessions), 0
	for _, s := range stored.Sessions {
		filters += len(s.Subs)
	}
	n := max(some, stored.Expected)
	if some > 0 {
		filters = filters * n / some // if the others are as these
	}
	if stored.Filters > 0 {
		filters = min(filters, stored.Filters)
	}
	h.loading = &loading{subs: make([]router.Filtered, 0, filters), filters: make([]router.Filtered, 0, filters), came: make([]Ref, 0, n)}
	if len(h.slots) == 0 {
		h.slots, h.gens = slices.Grow(h.slots, n), slices.Grow(h.gens, n)
		h.timers.Expect(n)
		h.byKey.Expect(n)
		h.byFilter.one.Expect(min(filters, n))
	}
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

// restore makes a resident of a session of the log, which awaits makes whole. Its time stands still
// until wake.
func (h *Home) restore(now time.Time, v *view.Session, stored *Stored) *resident {
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
	r.log = &durable{sid: v.SID, epoch: v.Epoch, sure: v.Epoch, pos: stored.Applied, passing: &passed}
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
	left := stored.Ended
	if v.LeftAt != 0 {
		left = time.UnixMilli(v.LeftAt)
	}
	s.RestoreLife(now, left, mqtt.Version(v.Version), v.ExpirySeconds, willOf(v.Will))
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
