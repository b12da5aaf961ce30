package view

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// The rows of a group: its name, each of its members, and each source of what it has, so
// that a take writes one small row.
//
//	group id 8, partName                        share (its length 2), filter
//	group id 8, partMember, member id 8         SID 16, start 8
//	group id 8, partSource, part 8, source id 8 After, Until, At, Below, Only, Taken
const (
	partName   = 0
	partMember = 1
	partSource = 2
)

func appendGroupKey(dst []byte, id fact.FilterID, part byte) []byte {
	return append(appendNumberKey(dst, tableGroup, uint64(id)), part)
}

func appendMemberKey(dst []byte, id, of fact.FilterID) []byte {
	return binary.BigEndian.AppendUint64(appendGroupKey(dst, id, partMember), uint64(of))
}

func appendSourceKey(dst []byte, id fact.FilterID, s *Source) []byte {
	dst = binary.BigEndian.AppendUint64(appendGroupKey(dst, id, partSource), uint64(s.Part))
	return binary.BigEndian.AppendUint64(dst, uint64(s.ID))
}

// append appends a source's row. Numbers are as they are and not differences: there are
// few.
func (s *Source) append(dst []byte) []byte {
	for _, n := range [...]uint64{uint64(s.After), uint64(s.Until), uint64(s.At), uint64(s.Below), uint64(len(s.Only))} { //nolint:gosec // as bits
		dst = binary.AppendUvarint(dst, n)
	}
	for _, list := range [...][]store.Seq{s.Only, s.Taken} {
		for _, seq := range list {
			dst = binary.BigEndian.AppendUint64(dst, uint64(seq))
		}
	}
	return dst
}

func decodeSource(b []byte) (s Source, err error) {
	var n [5]uint64
	for i := range n {
		u, w := binary.Uvarint(b)
		if w <= 0 || w > 1 && b[w-1] == 0 {
			return s, errRow
		}
		n[i], b = u, b[w:]
	}
	if len(b)%8 != 0 || n[4] > uint64(len(b)/8) {
		return s, errRow
	}
	s.After, s.Until, s.At, s.Below = store.Seq(n[0]), store.Seq(n[1]), int64(n[2]), store.Seq(n[3]) //nolint:gosec // as bits
	for ; len(b) > 0; b = b[8:] {
		seq := store.Seq(binary.BigEndian.Uint64(b))
		if uint64(len(s.Only)) < n[4] {
			s.Only = append(s.Only, seq)
		} else {
			s.Taken = append(s.Taken, seq)
		}
	}
	if !slices.IsSorted(s.Only) || !slices.IsSorted(s.Taken) {
		return s, errRow
	}
	return s, nil
}

// share applies a record to the groups and writes what it changed. The caller holds mu.
func (r *rows) share(seq store.Seq, rec *store.Record) error {
	if !ofGroups(rec.Kind) {
		return nil
	}
	if r.groups.idle(rec) {
		return nil
	}
	if err := r.bodies.check(rec); err != nil {
		return err
	}
	r.touched = r.groups.apply(seq, rec, &r.bodies, r.touched[:0])
	for i := range r.touched {
		if err := r.writeTouched(&r.touched[i]); err != nil {
			return err
		}
		r.touched[i].source = nil
	}
	return nil
}

// ofGroups tells which kinds may change a group.
func ofGroups(k store.Kind) bool {
	switch k {
	case store.ShareJoin, store.ShareLeave, store.ShareAck, store.Expire, store.Claim, store.Inflight, store.Ack:
		return true
	}
	return false
}

// idle tells that a record is of a session in no group, which is nearly every one, and
// says nothing of groups.
func (g *groups) idle(r *store.Record) bool {
	switch r.Kind {
	case store.ShareJoin, store.ShareLeave, store.ShareAck:
		return false
	}
	_, joins := g.before[r.SID]
	return g.of[r.SID] == nil && !joins
}

func (r *rows) writeTouched(t *touched) error {
	gr, b := r.groups.byID[t.group], r.batch
	if gr == nil { // it has ended, and nothing of it is left
		if !t.head {
			return nil
		}
		if err := r.commitLocked(); err != nil {
			return err
		}
		return r.ix.scan(appendGroupKey(nil, t.group, 0), appendGroupKey(nil, t.group, partSource+1), func(key, _ []byte) error { return b.Delete(key, nil) })
	}
	if t.head {
		r.key = appendGroupKey(r.key[:0], t.group, partName)
		r.val = binary.BigEndian.AppendUint16(r.val[:0], uint16(len(gr.share))) //nolint:gosec // a part of a filter, which is no longer
		if err := b.Set(r.key, append(append(r.val, gr.share...), gr.real...), nil); err != nil {
			return err
		}
	}
	if t.member != 0 {
		r.key = appendMemberKey(r.key[:0], t.group, t.member)
		m, ok := gr.members[t.member]
		if !ok {
			if err := b.Delete(r.key, nil); err != nil {
				return err
			}
		} else if err := b.Set(r.key, binary.BigEndian.AppendUint64(append(r.val[:0], m.sid[:]...), uint64(m.start)), nil); err != nil {
			return err
		}
	}
	if s := t.source; s != nil {
		r.key = appendSourceKey(r.key[:0], t.group, s)
		if gr.source(s.ID, s.Part) != s {
			return b.Delete(r.key, nil)
		}
		r.val = s.append(r.val[:0])
		return b.Set(r.key, r.val, nil)
	}
	return nil
}

// loadGroups reads them, and of their members' sessions what they have under way.
func (r *rows) loadGroups() error {
	lower, upper := tableBounds(tableGroup)
	if err := r.ix.scan(lower, upper, r.groups.row); err != nil {
		return err
	}
	for sid, s := range r.groups.of {
		row, closer, err := r.ix.db.Get(r.sessionKey(&sid, partOutbox))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err = r.bodies.outbox.Decode(row); err == nil {
			s.hear(&r.bodies.outbox)
		}
		if err = errors.Join(err, closer.Close()); err != nil {
			return err
		}
	}
	return nil
}

// row adds what one row says.
func (g *groups) row(key, value []byte) error {
	if len(key) < prefixBytes+9 {
		return errRow
	}
	id, part, rest := fact.FilterID(binary.BigEndian.Uint64(key[prefixBytes:])), key[prefixBytes+8], key[prefixBytes+9:]
	gr := g.byID[id]
	if (gr == nil) != (part == partName) { // the name comes first, and once
		return errRow
	}
	switch {
	case part == partName && len(rest) == 0 && len(value) >= 2:
		n := int(binary.BigEndian.Uint16(value))
		if n > len(value)-2 {
			return errRow
		}
		g.byID[id] = &group{share: string(value[2 : 2+n]), real: string(value[2+n:]), members: make(map[fact.FilterID]member)}
	case part == partMember && len(rest) == 8 && len(value) == len(store.SID{})+8:
		of, sid := fact.FilterID(binary.BigEndian.Uint64(rest)), store.SID(value[:16])
		gr.members[of] = member{sid: sid, start: store.Seq(binary.BigEndian.Uint64(value[16:]))}
		if g.of[sid] == nil {
			g.of[sid] = new(shares)
		}
		g.of[sid].in = append(g.of[sid].in, membership{id, of})
	case part == partSource && len(rest) == 16:
		s, err := decodeSource(value)
		if err != nil {
			return err
		}
		s.Part, s.ID = store.Seq(binary.BigEndian.Uint64(rest)), fact.FilterID(binary.BigEndian.Uint64(rest[8:]))
		gr.sources = append(gr.sources, &s)
	default:
		return errRow
	}
	return nil
}

// clone is the same groups for another goroutine.
func (g *groups) clone() *groups {
	out := newGroups()
	for id, gr := range g.byID {
		c := &group{share: gr.share, real: gr.real, members: make(map[fact.FilterID]member, len(gr.members))}
		for of, m := range gr.members {
			c.members[of] = m
		}
		whole := gr.copy(id)
		for i := range whole.Sources {
			c.sources = append(c.sources, &whole.Sources[i])
		}
		out.byID[id] = c
	}
	for sid, s := range g.of {
		out.of[sid] = &shares{in: slices.Clone(s.in), cursor: s.cursor, open: slices.Clone(s.open)}
	}
	return out
}
