package router

const (
	fewMax = 32         // subscribers kept in one slice
	bigMin = fewMax / 2 // subscribers of a hash tree before it becomes a slice again
)

// set is the subscribers of one filter, at least one. Nearly all filters of a
// fleet have exactly one, which is held in place; a few are a slice that is copied
// at every change; more are a hash tree, so that the hundred-thousandth subscriber
// of an announcement costs no more than the tenth.
//
// A set that a reader may have is never changed, except for the tree inside, which
// readers may see change.
type set struct {
	more *many
	one  Subscriber // if more is nil
}

type many struct {
	few []Subscriber // in no order; nil if the tree is in use
	big hashTree[Subscriber]
	n   int // subscribers in big; the writer's
}

// hash spreads references; sequential slots are the usual case.
func (s Subscriber) hash() uint32 { return s.Ref.hash() }

func (r Ref) hash() uint32 {
	x := uint64(r.Slot)<<32 | uint64(r.Gen)
	x ^= uint64(r.Home) * 0x9E3779B97F4A7C15
	x = (x ^ x>>32) * 0xD6E8FEB86659FD93
	x = (x ^ x>>32) * 0xD6E8FEB86659FD93
	return uint32(x >> 32)
}

// appendTo appends the subscribers, in no order.
func (s *set) appendTo(dst []Subscriber) []Subscriber {
	switch {
	case s.more == nil:
		return append(dst, s.one)
	case s.more.few != nil:
		return append(dst, s.more.few...)
	}
	return s.more.big.appendTo(dst)
}

// with is s and sub, which replaces a subscriber of the same reference. If the
// result equals s there is nothing to publish: the tree was changed in place.
func (s set) with(sub Subscriber) (out set, replaced bool) {
	switch m := s.more; {
	case m == nil:
		if s.one.Ref == sub.Ref {
			return set{one: sub}, true
		}
		return set{more: &many{few: []Subscriber{s.one, sub}}}, false
	case m.few == nil:
		i := indexOf(m.big.leafOf(sub.hash()), sub.Ref)
		m.big.put(i, sub)
		if i < 0 {
			m.n++
		}
		return s, i >= 0
	default:
		if i := indexOf(m.few, sub.Ref); i >= 0 {
			few := append(make([]Subscriber, 0, len(m.few)), m.few...)
			few[i] = sub
			return set{more: &many{few: few}}, true
		}
		if len(m.few) < fewMax {
			few := append(make([]Subscriber, 0, len(m.few)+1), m.few...)
			return set{more: &many{few: append(few, sub)}}, false
		}
		big := &many{n: len(m.few) + 1}
		for _, s := range m.few {
			big.big.put(-1, s)
		}
		big.big.put(-1, sub)
		return set{more: big}, false
	}
}

// without is s less the subscriber of that reference. left is false if nobody
// remains; out is then of no use.
func (s set) without(ref Ref) (out set, left, existed bool) {
	switch m := s.more; {
	case m == nil:
		return s, s.one.Ref != ref, s.one.Ref == ref
	case m.few == nil:
		h := ref.hash()
		i := indexOf(m.big.leafOf(h), ref)
		if i < 0 {
			return s, true, false
		}
		m.big.remove(h, i)
		m.n--
		if m.n < bigMin {
			s = set{more: &many{few: m.big.appendTo(make([]Subscriber, 0, m.n))}}
		}
		return s, true, true
	default:
		i := indexOf(m.few, ref)
		switch {
		case i < 0:
			return s, true, false
		case len(m.few) == 2:
			return set{one: m.few[1-i]}, true, true
		}
		few := append(make([]Subscriber, 0, len(m.few)-1), m.few[:i]...)
		return set{more: &many{few: append(few, m.few[i+1:]...)}}, true, true
	}
}

func indexOf(subs []Subscriber, ref Ref) int {
	for i := range subs {
		if subs[i].Ref == ref {
			return i
		}
	}
	return -1
}
