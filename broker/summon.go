package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// summons is a session that is being fetched from wherever it is.
type summons struct {
	done   []func(now time.Time, refusal *mqtt.Error)
	stale  bool // somebody claimed it after we did
	orphan bool // and that was an earlier process of this node
	tries  int
}

// summonTries is how often a claim is made again whose epoch was not greater than the
// session's. Each time the session's is known, so that this takes a war of nodes.
const summonTries = 8

// Here tells whether Open may be called for a client of that name: where several nodes
// write the log, its session has to be summoned first.
func (h *Home) Here(key session.Key) bool {
	_, present := h.lookup(key)
	return present || !h.b.shared()
}

// Summon brings a session to this home that is on another node, or that an earlier process
// of this node had: it claims it, and reads what the log says of it. done is called on
// the loop when the session is here, or when there is none, or with why it cannot be had:
// of nodes that summon it at the same time the last one has it. It may be nil.
func (h *Home) Summon(now time.Time, key session.Key, done func(now time.Time, refusal *mqtt.Error)) {
	s := h.summons[key]
	if s == nil {
		s = &summons{}
		if h.summons == nil {
			h.summons = make(map[session.Key]*summons)
		}
		h.summons[key] = s
		h.move(now, key, s, 0)
	}
	if done != nil {
		s.done = append(s.done, done)
	}
}

// move claims a session whose epoch is not greater than after.
func (h *Home) move(now time.Time, key session.Key, s *summons, after uint64) {
	if s.tries++; s.tries > summonTries {
		h.summoned(now, key, s, &mqtt.Error{Reason: mqtt.ServerBusy, Detail: "other nodes claim the session again and again"})
		return
	}
	h.part()
	sid := h.b.durable.Key.SID(key.Mountpoint, key.Identity, key.ClientID)
	epoch := h.b.epochAfter(after, now)
	body := fact.Claim{
		Owner: fact.Owner{Mountpoint: key.Mountpoint, Identity: key.Identity, ClientID: key.ClientID},
		Node:  h.b.durable.Node, Moves: true,
	}
	j := &h.journal
	j.body = body.Append(j.body)
	ticket, index := h.record(now, store.Claim, sid, epoch)
	j.waiters = append(j.waiters, waiter{ticket: ticket, index: index, kind: waitDo, do: func(now time.Time, _ *resident, seq store.Seq, err error) {
		if err != nil && !errors.Is(err, errFenced) {
			h.summoned(now, key, s, &mqtt.Error{Reason: refusalOf(err), Detail: "the session could not be claimed: " + err.Error()})
			h.seek(now, key)
			return
		}
		s.stale, s.orphan = false, false // by claims before ours
		h.b.durable.Do(func() {
			f := readSummoned(h.b.durable.Index, sid, seq)
			f.fenced = err != nil
			h.wire.Post(func(now time.Time) { h.arrived(now, key, s, epoch, f) })
		})
	}})
	h.wire.Again()
}

// summoned tells whoever waits for it how it went.
func (h *Home) summoned(now time.Time, key session.Key, s *summons, refusal *mqtt.Error) {
	delete(h.summons, key)
	for _, done := range s.done {
		done(now, refusal)
	}
}

// found is what the log says of a session.
type found struct {
	session *view.Session // nil: there is none
	lag     *Lag          // nil: nothing waits
	upTo    store.Seq     // of what lag says
	fenced  bool          // it was not ours at any time
	err     error
}

// readSummoned reads a session as of record seq, or of later; it may wait for the disk.
func readSummoned(ix Index, sid store.SID, seq store.Seq) (f found) {
	if f.err = ix.Wait(context.Background(), seq); f.err != nil {
		return f
	}
	if f.session, f.err = ix.Session(sid); f.err != nil || f.session == nil {
		return f
	}
	q := view.Query{After: f.session.Out.Cursor, Broad: true}
	for i := range f.session.Subs {
		if s := &f.session.Subs[i]; s.QoS > 0 {
			q.Filters = append(q.Filters, view.Interest{ID: s.ID, Start: s.Start})
		}
	}
	f.upTo, f.err = walk(ix, q, func(p *view.Posting) bool {
		if f.lag == nil {
			f.lag = &Lag{First: p.Seq}
		}
		f.lag.Last = p.Seq
		return true
	})
	if f.err != nil || f.lag == nil {
		return f
	}
	q.Broad = false // which of those it wants is not known before they are read
	_, f.err = walk(ix, q, func(p *view.Posting) bool {
		f.lag.Messages++
		f.lag.Bytes += int64(p.Bytes)
		return true
	})
	return f
}

// arrived gives a session that was read its place.
func (h *Home) arrived(now time.Time, key session.Key, s *summons, epoch uint64, f found) {
	switch v := f.session; {
	case f.err != nil:
		h.summoned(now, key, s, &mqtt.Error{Reason: mqtt.ImplementationSpecificError, Detail: fmt.Sprintf("the session could not be read: %v", f.err)})
		h.seek(now, key)
	case v == nil:
		h.summoned(now, key, s, nil)
	case f.fenced, s.stale && s.orphan, v.Epoch != epoch && v.Node == h.b.durable.Node:
		h.move(now, key, s, v.Epoch)
	case s.stale, v.Epoch != epoch: // the last claim holds, or two nodes would never end
		h.summoned(now, key, s, &mqtt.Error{Reason: mqtt.SessionTakenOver, Detail: "another node has claimed the session"})
	default:
		h.install(now, f)
		h.summoned(now, key, s, nil)
	}
}

// astray is sessions that may be this node's and that it could not have: it looks after
// them again some time later, whether or not anybody asks for them.
type astray struct {
	keys []session.Key
	at   time.Time
}

// seekAfter is how long after.
const seekAfter = 500 * time.Millisecond

// seek remembers a session to look for.
func (h *Home) seek(now time.Time, key session.Key) {
	if len(h.astray.keys) == 0 {
		h.astray.at = now.Add(seekAfter)
	}
	h.astray.keys = append(h.astray.keys, key)
	h.wire.Again()
}

// seekSome looks for them.
func (h *Home) seekSome(now time.Time) {
	if len(h.astray.keys) == 0 || now.Before(h.astray.at) {
		return
	}
	keys := h.astray.keys
	h.astray.keys = nil
	for _, key := range keys {
		h.reclaim(key, h.b.durable.Key.SID(key.Mountpoint, key.Identity, key.ClientID), 0)
	}
}

// nextSeek is when seekSome next has something to do; zero: never.
func (h *Home) nextSeek() time.Time {
	if len(h.astray.keys) == 0 {
		return time.Time{}
	}
	return h.astray.at
}

// reclaim looks whether a session that was lost is this node's all the same: a claim of
// another connection had failed before, and no node has it.
func (h *Home) reclaim(key session.Key, sid store.SID, seq store.Seq) {
	h.b.durable.Do(func() {
		if h.b.durable.Index.Wait(context.Background(), seq) != nil {
			return // nothing more is applied, and a restart brings it
		}
		v, err := h.b.durable.Index.Session(sid)
		if err != nil || v == nil || v.Node != h.b.durable.Node {
			return
		}
		h.wire.Post(func(now time.Time) {
			if _, present := h.lookup(key); !present {
				h.Summon(now, key, nil)
			}
		})
	})
}

// install is restore for a session that comes while the home is at work: what was given
// out before its filters were known here is what the session is behind with.
func (h *Home) install(now time.Time, f found) {
	v := f.session
	var waits Lag
	if f.lag != nil {
		waits = *f.lag
	}
	r := h.restore(now, v, &Stored{Applied: f.upTo, Ended: now})
	h.awaits(now, r, &waits)
	h.wake(r)
	begun := store.Seq(h.b.begun.Load()) // after its filters were made known
	if begun <= f.upTo {
		return
	}
	l := &r.log.passes().lag
	if l.first == 0 {
		l.first, l.messages = f.upTo+1, 1
	}
	l.last = max(l.last, begun)
}
