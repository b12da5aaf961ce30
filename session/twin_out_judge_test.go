package session

import (
	"fmt"
	"slices"

	"github.com/redoubtmq/redoubt/mqtt"
)

// How plainOut judges what it saw.

// sent judges what the session sent, and plays a socket that is full after a
// burst.
func (w *plainOut) sent(outs []Out) {
	if len(outs) > 0 && (!w.online || w.held) {
		w.t.Fatalf("%d packets to a client that takes none", len(outs))
	}
	cost := 0
	for i := range outs {
		o := &outs[i]
		cost += o.Cost()
		switch {
		case o.Kind == OutAck:
			w.repeated(o, 0)
		case o.Flags&FlagDup != 0:
			w.repeated(o, serialOf(o))
		default:
			w.fresh(o, serialOf(o))
		}
		o.Done()
	}
	w.settleDrops()
	if cost >= Burst {
		w.hold()
	}
	w.check()
}

func serialOf(o *Out) (serial int) {
	fmt.Sscanf(string(o.Frame.Payload()), "%d ", &serial)
	return serial
}

// fresh judges a message that is sent for the first time.
func (w *plainOut) fresh(o *Out, serial int) {
	i := slices.IndexFunc(w.waiting, func(m plainMessage) bool { return m.serial == serial })
	if i < 0 {
		w.t.Fatalf("message %d does not wait", serial)
	}
	m := w.waiting[i]
	if o.QoS() != m.qos {
		w.t.Fatalf("message %d of QoS %d was sent with QoS %d", serial, m.qos, o.QoS())
	}
	if m.qos > 0 {
		w.passOver(func(*plainMessage) bool { return true })
	}
	for _, e := range w.inflight {
		if m.qos > 0 && !e.here {
			w.t.Fatalf("message %d before %d, which is owed from an earlier connection", serial, e.serial)
		}
		if m.qos > 0 && e.id == o.ID {
			w.t.Fatalf("identifier %d of message %d is that of %d", o.ID, serial, e.serial)
		}
	}
	if serial <= w.firsts[m.order()] {
		w.t.Fatalf("message %d after %d", serial, w.firsts[m.order()])
	}
	w.firsts[m.order()] = serial
	w.skipTo(serial, m.order())
	if why := w.mayDrop(&m); why != nil {
		w.t.Fatalf("message %d was sent and should have been dropped", serial)
	}
	i = slices.IndexFunc(w.waiting, func(m plainMessage) bool { return m.serial == serial })
	w.waiting = slices.Delete(w.waiting, i, i+1)
	if m.qos > 0 {
		if o.ID == 0 {
			w.t.Fatal("identifier 0")
		}
		m.id, m.here = o.ID, true
		w.inflight = append(w.inflight, m)
	}
}

// skipTo drops what stood before a message that was sent: it must have been
// expired or too large.
func (w *plainOut) skipTo(serial, order int) {
	w.waiting = slices.DeleteFunc(w.waiting, func(m plainMessage) bool {
		if m.order() != order || m.serial >= serial {
			return false
		}
		why := w.mayDrop(&m)
		if why == nil {
			w.t.Fatalf("message %d passed %d, which was good", serial, m.serial)
		}
		*why++
		return true
	})
}

// mayDrop answers the counter under which m is dropped when its turn comes, or
// nil when it is good.
func (w *plainOut) mayDrop(m *plainMessage) *uint64 {
	switch {
	case w.lim.WaitMax > 0 && w.now.Sub(m.queuedAt) > w.lim.WaitMax:
		return &w.lost.Expired
	case m.expires != 0 && m.expires <= w.now.UnixMilli():
		return &w.lost.Expired
	case w.tooLarge(m):
		return &w.lost.TooLarge
	}
	return nil
}

// tooLarge is exact enough: sizes are far from the maximum.
func (w *plainOut) tooLarge(m *plainMessage) bool { return w.sizeMax > 0 && m.wire > w.sizeMax }

// settleDrops finds the drops that no later message has shown: the front of a
// queue that has become shorter than ours.
func (w *plainOut) settleDrops() {
	for order, r := range []*ring[Delivery]{&w.s.out.queue.q0, &w.s.out.queue.q12} {
		ours := 0
		for _, m := range w.waiting {
			if m.order() == order {
				ours++
			}
		}
		if full := w.s.Dropped().QueueFull - w.lost.QueueFull; full > 0 {
			continue // overflow comes next
		}
		for ; ours > r.len(); ours-- {
			i := slices.IndexFunc(w.waiting, func(m plainMessage) bool { return m.order() == order })
			why := w.mayDrop(&w.waiting[i])
			if why == nil {
				w.t.Fatalf("message %d is gone and was good", w.waiting[i].serial)
			}
			*why++
			w.waiting = slices.Delete(w.waiting, i, i+1)
		}
	}
}

// repeated judges a packet that was owed from an earlier connection.
func (w *plainOut) repeated(o *Out, serial int) {
	for i := 0; i < len(w.inflight); i++ {
		m := &w.inflight[i]
		if m.here {
			continue
		}
		if m.id != o.ID {
			if !m.released && w.tooLarge(m) {
				w.lost.TooLarge++
				w.inflight = slices.Delete(w.inflight, i, i+1)
				i--
				continue
			}
			w.t.Fatalf("identifier %d is repeated before %d", o.ID, m.id)
		}
		if o.Kind == OutAck && (!m.released || o.Ack != mqtt.PUBREL) || o.Kind == OutPublish && (m.released || m.serial != serial || o.QoS() != m.qos) {
			w.t.Fatalf("message %d (QoS %d, released %v) is repeated as %+v", m.serial, m.qos, m.released, o)
		}
		m.here = true
		return
	}
	w.t.Fatalf("identifier %d is repeated and not owed", o.ID)
}

// passOver drops repetitions that do not fit the client: they leave no trace on
// the wire [MQTT-3.1.2-25].
func (w *plainOut) passOver(gone func(*plainMessage) bool) {
	w.inflight = slices.DeleteFunc(w.inflight, func(m plainMessage) bool {
		if m.here || m.released || !w.tooLarge(&m) || !gone(&m) {
			return false
		}
		w.lost.TooLarge++
		return true
	})
}

// check compares what the session holds, and demands that it does not sit on
// what it could send.
func (w *plainOut) check() {
	s, t := w.s, w.t
	if w.lost.QueueFull != s.Dropped().QueueFull {
		return // in the middle of deliver
	}
	if w.online && !w.held {
		w.passOver(func(m *plainMessage) bool { return s.out.find(m.id) < 0 })
	}
	if w.lost != s.Dropped() {
		t.Fatalf("dropped %+v, allowed %+v", s.Dropped(), w.lost)
	}
	if n, bytes := s.Queued(); n != len(w.waiting) || n > w.lim.MqueueMessages || bytes > w.lim.MqueueBytes || bytes != w.bytes() {
		t.Fatalf("%d messages of %d bytes wait, want %d of %d; limits %+v", n, bytes, len(w.waiting), w.bytes(), w.lim)
	}
	if s.Inflight() != len(w.inflight) {
		t.Fatalf("%s; want %d inflight", stateWords(s), len(w.inflight))
	}
	here := 0
	for _, m := range w.inflight {
		if m.here && !m.early {
			here++
		}
	}
	if w.online && here > w.window {
		t.Fatalf("%d unacknowledged, window %d [MQTT-3.3.4-9]", here, w.window)
	}
	if !w.online || w.held {
		return
	}
	for i, m := range w.inflight {
		if i < w.window && !m.here {
			t.Fatalf("message %d is not repeated, although the window is %d", m.serial, w.window)
		}
	}
	for _, m := range w.waiting {
		if m.qos == 0 || len(w.inflight) < w.window {
			t.Fatalf("message %d of QoS %d waits for nothing: %s, window %d", m.serial, m.qos, stateWords(s), w.window)
		}
	}
}

func (w *plainOut) bytes() (n int64) {
	for _, m := range w.waiting {
		n += int64(m.bytes)
	}
	return n
}
