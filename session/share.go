package session

import "github.com/redoubtmq/redoubt/mqtt"

// Group names the shared subscription a message came by, in the words of whoever
// keeps the groups; the zero Group is none.
type Group struct{ Slot, Gen uint32 }

// Accepting tells whether the session would send a message now: a shared
// subscription gives its messages to members that do.
func (s *Session) Accepting() bool { return s.sendable(1) }

// Unshare offers move everything that came by a shared subscription and may go to
// another member of it: what was not sent yet, and with sent also QoS 1 that was
// sent and not acknowledged. QoS 2 that was sent, or that the log has for this session
// and would bring again, stays with it [MQTT-4.8.2-4], and dies with it [MQTT-4.8.2-5]. What move does not take stays
// where it was. move holds the frame if it keeps it, and does not touch s.
func (s *Session) Unshare(sent bool, move func(f *mqtt.Frame, g Group) (moved bool)) {
	for _, r := range []*ring[Delivery]{&s.out.queue.q0, &s.out.queue.q12} {
		for n := r.len(); n > 0; n-- {
			d := s.out.queue.take(r)
			if d.Group != (Group{}) && !(d.Seq != 0 && d.QoS == 2) && move(d.Frame, d.Group) {
				d.Frame.Release()
				continue
			}
			r.push(d)
			s.out.queue.bytes += int64(d.Frame.Size())
			s.out.queue.account.add(int64(d.Frame.Size()))
		}
	}
	if !sent {
		return
	}
	for i := 0; i < len(s.out.inflight); {
		e := &s.out.inflight[i]
		if e.group != (Group{}) && e.state == awaitPuback && move(e.frame, e.group) {
			s.out.remove(i)
			continue
		}
		i++
	}
}
