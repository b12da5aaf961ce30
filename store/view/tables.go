package view

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// Session is everything durable of one session. It is the caller's.
type Session struct {
	SID   store.SID
	Epoch uint64
	fact.Owner
	Node          string
	Version       uint8 // of the protocol
	CreatedAt     int64 // Unix milliseconds
	LeftAt        int64 // 0: connected when the log ended
	ExpirySeconds uint32
	Will          *fact.Will // armed; nil if none is
	Subs          []Sub      // in the order of their filters
	Out           fact.Outbox
	Received      []uint16 // QoS 2 packet identifiers received and not released, in order
}

// Sub is a subscription, and the number of the record it begins after.
type Sub struct {
	fact.Subscription
	Start store.Seq
	Owed  store.Seq // the record that is owed retained messages, unless Out has heard of it; 0: none
}

// scan calls fn for the rows from lower on and before upper. Key and value are valid
// during the call only.
func (ix *index) scan(lower, upper []byte, fn func(key, value []byte) error) error {
	it, err := ix.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	return walk(it, fn)
}

// walk calls fn for all an iterator has, and closes it.
func walk(it *pebble.Iterator, fn func(key, value []byte) error) error {
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = fn(it.Key(), value)
		}
		if err != nil {
			_ = it.Close() // it was only read
			return err
		}
	}
	return it.Close()
}

// table calls fn for all rows of a table as they are now.
func (v *View) table(lower, upper []byte, fn func(key, value []byte) error) error {
	leave, err := v.door.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := v.rows.commit(); err != nil {
		return err
	}
	return v.ix.scan(lower, upper, fn)
}

// row adds what one row says; c is scratch.
func (s *Session) row(part byte, rest, value []byte, c *fact.Claim) error {
	switch part {
	case partGuard:
		var g guard
		err := g.decode(value)
		s.Epoch, s.CreatedAt, s.LeftAt, s.ExpirySeconds = g.epoch, g.created, g.left, g.expiry
		return err
	case partOwner:
		err := c.Decode(value)
		s.Owner, s.Node, s.Version = c.Owner, c.Node, c.Version
		return err
	case partOutbox:
		return s.Out.Decode(bytes.Clone(value))
	case partWill:
		s.Will = new(fact.Will)
		return s.Will.Decode(bytes.Clone(value))
	case partReceived:
		if len(rest) != 2 {
			return errRow
		}
		s.Received = append(s.Received, binary.BigEndian.Uint16(rest))
		return nil
	case partSub:
		sub, err := decodeSub(value)
		s.Subs = append(s.Subs, sub)
		return err
	case partOwed:
		if len(value) != 8 {
			return errRow
		}
		seq := store.Seq(binary.BigEndian.Uint64(value))
		for i := range s.Subs { // which come before
			if s.Subs[i].Filter == string(rest) && seq > s.Out.Heard {
				s.Subs[i].Owed = seq
			}
		}
		return nil
	}
	return fmt.Errorf("%w: part %d of a session", errRow, part)
}

// Retained calls fn for every retained message, in the order of their topics by level,
// with the number and the time of its record. m is valid during the call only.
func (v *View) Retained(fn func(seq store.Seq, at int64, m *fact.Message) error) error {
	lower, upper := tableBounds(tableRetained)
	var m fact.Message
	return v.table(lower, upper, func(_, value []byte) error {
		seq, at, body, err := splitRetained(value)
		if err == nil {
			err = m.Decode(body)
		}
		if err != nil {
			return err
		}
		return fn(seq, at, &m)
	})
}

// Values calls fn for every name that has a value within the kind (Config, User, Rule,
// Ban, Key), in order. content is valid during the call only.
func (v *View) Values(kind store.Kind, fn func(name string, content []byte) error) error {
	lower := appendValueKey(nil, kind, "")
	return v.table(lower, appendValueKey(nil, kind+1, ""), func(key, value []byte) error {
		return fn(string(key[len(lower):]), value)
	})
}

// load reads what is kept in memory, and what Sessions will be asked for.
func (r *rows) load() error {
	if err := r.loadPosition(); err != nil {
		return err
	}
	lower, upper := tableBounds(tableSession)
	var of store.SID
	var g guard // its rows come one after another
	err := r.ix.scan(lower, upper, func(key, value []byte) error {
		sid, part, rest, err := splitSessionKey(key)
		if err != nil {
			return err
		}
		r.early.row(&sid, part, rest, value)
		if sid != of {
			if of != (store.SID{}) {
				r.guards.set(&of, g)
			}
			of, g = sid, guard{}
		}
		switch part {
		case partGuard:
			err = g.decode(value)
		case partOutbox:
			g.outbox = true
		case partWill:
			g.will = true
		case partReceived:
			g.received = true
		case partSub:
			g.subs = true
			r.subs++
		case partOwed:
			g.subs = true
		}
		return err
	})
	if err != nil {
		return err
	}
	if of != (store.SID{}) {
		r.guards.set(&of, g)
	}
	if err := r.loadRetained(); err != nil {
		return err
	}
	if err := r.loadGroups(); err != nil {
		return err
	}
	if err := r.loadKept(); err != nil {
		return err
	}
	if err := r.loadRescuedBy(); err != nil {
		return err
	}
	return r.loadSpans()
}

// loadPosition reads how far the rows are, and refuses a format that is newer.
func (r *rows) loadPosition() error {
	err := r.ix.scan([]byte{tableFormat}, []byte{tableFormat + 1}, func(_, value []byte) error {
		if len(value) != 1 || value[0] < formatOldest || value[0] > formatVersion {
			return fmt.Errorf("its format is %x and this version reads %d to %d: a newer broker wrote it", value, formatOldest, formatVersion)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.batch.Set([]byte{tableFormat}, []byte{formatVersion}, nil); err != nil {
		return err
	}
	lower, upper := tableBounds(tableApplied)
	return r.ix.scan(lower, upper, func(_, value []byte) (err error) {
		r.at, err = decodePosition(value, r.open.bits)
		return err
	})
}

// loadSpans finds the parts that have rows: first the blocks of format version 1, then
// the parts of this one. Those of the open part, and of what was written before its
// position was, are made again, and deleted here.
func (r *rows) loadSpans() error {
	open := r.at.part.first
	blocks, err := r.spans(tablePosting, uint64(open)>>r.open.bits)
	if err != nil {
		return err
	}
	parts, err := r.spans(tablePart, uint64(open))
	if err != nil {
		return err
	}
	for _, n := range blocks {
		r.open.closed = append(r.open.closed, span{first: store.Seq(n << r.open.bits), old: true})
	}
	for _, n := range parts {
		r.open.closed = append(r.open.closed, span{first: store.Seq(n)})
	}
	return nil
}

// spans answers the first numbers in the keys of a table that are below open, and deletes
// the rows of the others.
func (r *rows) spans(table byte, open uint64) (found []uint64, err error) {
	lower, upper := tableBounds(table)
	it, err := r.ix.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; {
		n, _, err := splitPostingKey(it.Key())
		if err != nil {
			_ = it.Close() // it was only read
			return nil, err
		}
		if n >= open {
			if err := r.batch.DeleteRange(appendNumberKey(nil, table, open), upper, nil); err != nil {
				_ = it.Close() // the same
				return nil, err
			}
			break
		}
		found = append(found, n)
		ok = it.SeekGE(appendNumberKey(nil, table, n+1))
	}
	return found, it.Close()
}

// epoch is that of a session whose record has rows. Only the goroutine that applies may ask,
// which is the one that writes them: it takes no lock.
func (r *rows) epoch(sid *store.SID) (epoch uint64, there bool) {
	g, there := r.guards.of(sid)
	return g.epoch, there
}

// skipped are the messages from from on that were not applied.
func (r *rows) skipped(from store.Seq) (map[store.Seq]bool, error) {
	seqs := make(map[store.Seq]bool)
	_, upper := tableBounds(tableSkipped)
	err := r.ix.scan(appendNumberKey(nil, tableSkipped, uint64(from)), upper, func(key, _ []byte) error {
		if len(key) != prefixBytes+8 {
			return errRow
		}
		seqs[store.Seq(binary.BigEndian.Uint64(key[prefixBytes:]))] = true
		return nil
	})
	return seqs, err
}
