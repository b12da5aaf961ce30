package broker

import "slices"

// groups are the members of each group.
func (p *play) groups() map[string]map[*memory]*interest {
	all := map[string]map[*memory]*interest{}
	for _, s := range p.sessions {
		for _, sub := range s.subs {
			if sub.share == "" {
				continue
			}
			key := sub.share + " " + sub.real
			if all[key] == nil {
				all[key] = map[*memory]*interest{}
			}
			all[key][s] = sub
		}
	}
	return all
}

func (p *play) parcelOf(m *note, key string) *parcel {
	for _, x := range p.parcels {
		if x.m == m && x.group == key {
			return x
		}
	}
	x := &parcel{m: m, group: key, could: map[*memory][]form{}}
	p.parcels = append(p.parcels, x)
	return x
}

// offer: s is a member now, so that it may be the one.
func (x *parcel) offer(s *memory, sub *interest) {
	f := form{qos: min(sub.QoS, x.m.qos), retain: x.m.retain && sub.RetainAsPublished, ids: idText(nil)}
	if sub.id != 0 {
		f.ids = idText([]int{int(sub.id)})
	}
	if !slices.Contains(x.could[s], f) {
		x.could[s] = append(x.could[s], f)
	}
}

// address says what is certain of a message for a group.
func (p *play) address(x *parcel, exactly bool) {
	if past(x.m.expires, p.d.now) || x.blur || x.m.root.copies > 0 {
		return
	}
	members := p.groups()[x.group]
	x.must = len(members) > 0 && exactly
	for s, sub := range members {
		if exactly && len(members) == 1 && min(sub.QoS, x.m.qos) > 0 && s.who.mayRead(x.m.topic) {
			x.at = s
		}
		x.must = x.must && min(sub.QoS, x.m.qos) > 0 && s.who.mayRead(x.m.topic) && p.queue > 100 && (s.who.link == nil || s.who.link.max == 0)
		x.now = x.now || exactly && !p.busy && p.accepts(s, x)
	}
	for s := range members {
		x.now = x.now && s.who.mayRead(x.m.topic) && (s.who.link == nil || s.who.link.max == 0) && p.queue > 100
		x.now = x.now && !(s.who.link != nil && s.who.link.full) && !p.d.wires[s.who.home].refuse
	}
}

// accepts: the session would be sent a message at once.
func (p *play) accepts(s *memory, x *parcel) bool {
	l := s.who.link
	for _, y := range p.parcels {
		if y != x && y.taken == nil && y.could[s] != nil { // that one may take the room
			return false
		}
	}
	return l != nil && !l.full && s.unacknowledged() < l.window(p) && !slices.ContainsFunc(s.owed, func(o *debt) bool { return o.stage == waiting })
}

// unsettle: the members of a group have changed, and with them who can get what
// waits.
func (p *play) unsettle(group string) {
	empty := len(p.groups()[group]) == 0
	for _, x := range p.parcels {
		if x.group == group {
			x.must, x.now, x.gone = false, false, x.gone || empty
		}
	}
}

// moves: x, which s has, goes to another member as s leaves: one is connected and
// nothing keeps it from having x.
func (p *play) moves(x *parcel, s *memory) (moves bool) {
	if x.blur || x.gone || !x.m.expires.IsZero() || p.queue < 100 {
		return false
	}
	for to, sub := range p.groups()[x.group] {
		if to == s {
			continue
		}
		if min(sub.QoS, x.m.qos) == 0 || !to.who.mayRead(x.m.topic) {
			return false
		}
		if l := to.who.link; l != nil {
			if l.max > 0 || l.full {
				return false
			}
			moves = true
		}
	}
	return moves
}
