package view

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// session adds the rows of a record about a session, which has its guard: it was not
// fenced. The caller holds mu.
func (r *rows) session(seq store.Seq, rec *store.Record) error {
	sid, b := &rec.SID, r.batch
	r.early.touch(sid)
	g, exists := r.guards.of(sid)
	was := g
	var err error
	switch rec.Kind {
	case store.Claim:
		return r.claim(rec, g, exists)
	case store.Release:
		var body fact.Release
		if err = body.Decode(rec.Body); err == nil {
			g.left, g.expiry = rec.At, body.ExpirySeconds
			if !body.KeepWill {
				err = r.dropWill(sid, &g)
			}
		}
	case store.Expire:
		if err = r.wipe(sid, &g); err == nil {
			err = errors.Join(b.Delete(r.sessionKey(sid, partGuard), nil), b.Delete(r.sessionKey(sid, partOwner), nil))
		}
		r.guards.drop(sid)
		return err
	case store.Will:
		g.will = true
		err = b.Set(r.sessionKey(sid, partWill), rec.Body, nil)
	case store.WillFire:
		err = r.dropWill(sid, &g)
	case store.Inflight, store.Ack:
		g.outbox = true
		err = b.Set(r.sessionKey(sid, partOutbox), rec.Body, nil)
	case store.QoS2In, store.QoS2Rel:
		err = r.received(rec, &g)
	case store.Subscribe:
		err = r.subscribe(seq, rec, &g)
	case store.Unsubscribe:
		err = r.unsubscribe(rec, &g)
	}
	if err != nil || g == was {
		return err
	}
	r.guards.set(sid, g)
	return b.Set(r.sessionKey(sid, partGuard), g.append(r.val[:0]), nil)
}

// claim gives a session to a new connection.
func (r *rows) claim(rec *store.Record, g guard, exists bool) error {
	var body fact.Claim
	if err := body.Decode(rec.Body); err != nil {
		return err
	}
	sid := &rec.SID
	if body.Moves {
		return r.move(rec, &body, g)
	}
	if body.Clean {
		if err := r.wipe(sid, &g); err != nil {
			return err
		}
	}
	if !exists || body.Clean {
		g.created = rec.At
	}
	if err := r.dropWill(sid, &g); err != nil {
		return err
	}
	g.epoch, g.left, g.expiry = rec.Epoch, 0, body.ExpirySeconds
	r.guards.set(sid, g)
	if err := r.batch.Set(r.sessionKey(sid, partOwner), rec.Body, nil); err != nil {
		return err
	}
	return r.batch.Set(r.sessionKey(sid, partGuard), g.append(r.val[:0]), nil)
}

// move gives a session to a node that has no connection for it yet. One that was
// connected is not any more: its node hears of this, too.
func (r *rows) move(rec *store.Record, body *fact.Claim, g guard) error {
	sid := &rec.SID
	if err := r.commitLocked(); err != nil { // the row may be one that has only just been added
		return err
	}
	row, closer, err := r.ix.db.Get(r.sessionKey(sid, partOwner))
	if err != nil {
		return err
	}
	was := fact.Claim{}
	err = was.Decode(row)
	_ = closer.Close() // it was only read
	if err != nil {
		return err
	}
	was.Node = body.Node
	if g.epoch = rec.Epoch; g.left == 0 {
		g.left = rec.At
	}
	r.guards.set(sid, g)
	r.val = was.Append(r.val[:0])
	if err := r.batch.Set(r.sessionKey(sid, partOwner), r.val, nil); err != nil {
		return err
	}
	return r.batch.Set(r.sessionKey(sid, partGuard), g.append(r.val[:0]), nil)
}

// sessionKey is valid until the next key is made.
func (r *rows) sessionKey(sid *store.SID, part byte) []byte {
	r.key = appendSessionKey(r.key[:0], sid, part)
	return r.key
}

func (r *rows) dropWill(sid *store.SID, g *guard) error {
	if !g.will {
		return nil
	}
	g.will = false
	return r.batch.Delete(r.sessionKey(sid, partWill), nil)
}

// received notes, or forgets, an inbound QoS 2 packet identifier.
func (r *rows) received(rec *store.Record, g *guard) error {
	var body fact.PacketID
	if err := body.Decode(rec.Body); err != nil {
		return err
	}
	r.key = binary.BigEndian.AppendUint16(r.sessionKey(&rec.SID, partReceived), body.ID)
	if rec.Kind == store.QoS2Rel {
		return r.batch.Delete(r.key, nil)
	}
	g.received = true
	return r.batch.Set(r.key, nil, nil)
}

// subscribe writes a subscription. One that replaces another goes on from where that one
// began, if it is matched as that one was.
func (r *rows) subscribe(seq store.Seq, rec *store.Record, g *guard) error {
	var body fact.Subscription
	if err := body.Decode(rec.Body); err != nil {
		return err
	}
	old, exists, err := r.sub(&rec.SID, body.Filter, g)
	if err != nil {
		return err
	}
	start := seq
	if exists && old.Real == body.Real {
		start = old.Start
	}
	if !exists {
		r.subs++
	}
	g.subs = true
	if err := r.owe(seq, &rec.SID, &body); err != nil {
		return err
	}
	r.key = append(r.sessionKey(&rec.SID, partSub), body.Filter...)
	r.val = binary.BigEndian.AppendUint64(r.val[:0], uint64(start))
	return r.set(r.key, r.val, rec.Body)
}

// owe notes which record of a subscription is owed retained messages, in place of the
// one before if that was.
func (r *rows) owe(seq store.Seq, sid *store.SID, body *fact.Subscription) error {
	r.key = append(r.sessionKey(sid, partOwed), body.Filter...)
	if body.Owed {
		r.val = binary.BigEndian.AppendUint64(r.val[:0], uint64(seq))
		return r.batch.Set(r.key, r.val, nil)
	}
	return nil
}

func (r *rows) unsubscribe(rec *store.Record, g *guard) error {
	var body fact.Unsubscription
	if err := body.Decode(rec.Body); err != nil {
		return err
	}
	_, exists, err := r.sub(&rec.SID, body.Filter, g)
	if err != nil || !exists {
		return err
	}
	r.subs--
	r.key = append(r.sessionKey(&rec.SID, partOwed), body.Filter...)
	if err := r.batch.Delete(r.key, nil); err != nil {
		return err
	}
	r.key = append(r.sessionKey(&rec.SID, partSub), body.Filter...)
	return r.batch.Delete(r.key, nil)
}

// sub reads a subscription, which may be one that has only just been added.
func (r *rows) sub(sid *store.SID, filter string, g *guard) (s Sub, exists bool, err error) {
	if !g.subs {
		return s, false, nil
	}
	if err := r.commitLocked(); err != nil {
		return s, false, err
	}
	row, closer, err := r.ix.db.Get(append(r.sessionKey(sid, partSub), filter...))
	if errors.Is(err, pebble.ErrNotFound) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	defer func() { _ = closer.Close() }() // it was only read
	s, err = decodeSub(row)
	return s, err == nil, err
}

// wipe deletes everything that a session has, but for guard and owner. The rows are
// deleted one by one: a range tombstone for every clean start would cost whoever reads
// later.
func (r *rows) wipe(sid *store.SID, g *guard) error {
	if err := r.dropWill(sid, g); err != nil {
		return err
	}
	if g.outbox {
		g.outbox = false
		if err := r.batch.Delete(r.sessionKey(sid, partOutbox), nil); err != nil {
			return err
		}
	}
	if !g.received && !g.subs {
		return nil
	}
	g.received, g.subs = false, false
	if err := r.commitLocked(); err != nil {
		return err
	}
	lower, upper := appendSessionKey(nil, sid, partReceived), appendSessionKey(nil, sid, partOwed+1)
	return r.ix.scan(lower, upper, func(key, _ []byte) error {
		if _, part, _, err := splitSessionKey(key); err == nil && part == partSub {
			r.subs--
		}
		return r.batch.Delete(key, nil)
	})
}
