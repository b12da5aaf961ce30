package session

import "github.com/redoubtmq/redoubt/mqtt"

// Group names the shared subscription a message came by, in the words of whoever
// keeps the groups; the zero Group is none.
type Group struct{ Slot, Gen uint32 }

// Accepting tells whether the session would send a message now: a shared
// subscription gives its messages to members that do.
func (s *Session) Accepting() bool { return s.sendable(1) }

// Room is how many messages more the session would send now, one after another.
func (s *Session) Room() int {
	if !s.sendable(1) {
		return 0
	}
	room := int(s.conn.window) - len(s.out.inflight)
	if k := s.out.kept; k != nil {
		room = min(room, max(int(s.conn.window), repeatLeast)-len(s.out.inflight)-int(k.ended-k.stored))
	}
	return room
}

// Unshare offers move everything that came by a shared subscription and may go to
// another member of it: what was not sent yet, and with sent also QoS 1 that was
// sent and not acknowledged. QoS 2 that was sent stays with it [MQTT-4.8.2-4], and dies
// with it [MQTT-4.8.2-5]. What move does not take stays where it was. move holds the
// frame if it keeps it, and does not touch s.
//
// What the log has for this session, and so for another member when it says so, is left
// alone.
func (s *Session) Unshare(sent bool, move func(f *mqtt.Frame, g Group) (moved bool)) {
	for _, r := range []*ring[Delivery]{&s.out.queue.q0, &s.out.queue.q12} {
		s.sift(r, func(d *Delivery) bool { return d.Group == (Group{}) || d.Seq != 0 || !move(d.Frame, d.Group) })
	}
	if !sent {
		return
	}
	for i := 0; i < len(s.out.inflight); {
		e := &s.out.inflight[i]
		if e.group != (Group{}) && e.state == awaitPuback && e.seq == 0 && move(e.frame, e.group) {
			s.remove(i)
			continue
		}
		i++
	}
}

// Unbegun offers move what came from the log by a group at QoS 2 and would have been sent,
// but never was: when the session ends it must not die with it.
func (s *Session) Unbegun(move func(f *mqtt.Frame, g Group) (moved bool)) {
	for i := 0; i < len(s.out.inflight); {
		e := &s.out.inflight[i]
		if e.group != (Group{}) && e.state == awaitPubrec && e.seq != 0 && e.fresh && e.frame != nil && move(e.frame, e.group) {
			s.remove(i)
			continue
		}
		i++
	}
}

// Unshared tells whether something came from the log by a group and was not sent.
func (s *Session) Unshared() bool {
	for i := range s.out.queue.q12.len() {
		if d := s.out.queue.q12.at(i); d.Seq != 0 && d.Group != (Group{}) {
			return true
		}
	}
	return false
}

// Shared calls each for what came from the log by a group and was not sent.
func (s *Session) Shared(each func(f *mqtt.Frame, g Group)) {
	for i := range s.out.queue.q12.len() {
		if d := s.out.queue.q12.at(i); d.Seq != 0 && d.Group != (Group{}) {
			each(d.Frame, d.Group)
		}
	}
}

// Unqueue drops what came from the log by a group and was not sent, and answers how many
// messages that were.
func (s *Session) Unqueue(g Group) (messages int) {
	s.sift(&s.out.queue.q12, func(d *Delivery) bool {
		if d.Group != g || d.Seq == 0 {
			return true
		}
		messages++
		return false
	})
	return messages
}

// sift takes out of r what keep does not want.
func (s *Session) sift(r *ring[Delivery], keep func(d *Delivery) bool) {
	for n := r.len(); n > 0; n-- {
		d := s.take(r)
		if !keep(&d) {
			d.Frame.Release()
			continue
		}
		r.push(d)
		s.out.queue.bytes += int64(d.Frame.Size())
		s.lim.Account.add(int64(d.Frame.Size()))
	}
}
