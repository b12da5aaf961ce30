package session

// Purge drops what waits for this client and is not on its way yet, as far as
// keep refuses its topic name: a right that was taken away binds queued messages
// too (A045, A054). What an earlier connection was sent and did not acknowledge
// goes as well, because a resumed session would repeat it.
func (s *Session) Purge(keep func(name []byte) bool) (dropped int) {
	for _, r := range []*ring[Delivery]{&s.out.queue.q0, &s.out.queue.q12} {
		for n := r.len(); n > 0; n-- {
			d := s.take(r)
			if !keep(d.Frame.Topic()) {
				d.Frame.Release()
				dropped++
				continue
			}
			r.push(d)
			s.out.queue.bytes += int64(d.Frame.Size())
			s.lim.Account.add(int64(d.Frame.Size()))
		}
	}
	for i := 0; i < len(s.out.inflight); {
		if e := &s.out.inflight[i]; e.frame != nil && !(s.conn.online && e.sent) && !keep(e.frame.Topic()) {
			s.remove(i)
			dropped++
			continue
		}
		i++
	}
	return dropped
}
