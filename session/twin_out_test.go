package session

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
)

// plainOut is the sending half of a session, too plain to be wrong: two lists
// that are searched from the front, and no limit it was not told. It does not
// foretell what the session sends. It looks at everything that was sent and
// dropped and says whether that was allowed.
type plainOut struct {
	t        *rapid.T
	s        *Session
	l        *ledger
	now      time.Time
	lim      Limits
	waiting  []plainMessage // in order of delivery
	inflight []plainMessage // in order of sending
	lost     Drops          // what may have been dropped
	online   bool
	held     bool // the socket takes no more
	window   int
	sizeMax  int
	serial   int
	firsts   [2]int // the last new message sent: of QoS 0, of QoS 1 and 2
}

type plainMessage struct {
	serial   int
	qos      mqtt.QoS
	bytes    int // of memory
	wire     int // of payload
	expires  int64
	queuedAt time.Time
	id       uint16
	released bool // PUBREC came
	here     bool // sent on this connection
	early    bool // answered before it was repeated
}

// order is the class in which a message keeps its place.
func (m *plainMessage) order() int { return min(int(m.qos), 1) }

// many runs a property ten times as often as rapid does by itself: a case here
// takes microseconds.
func many(t *testing.T, property func(*rapid.T)) {
	for range 10 {
		rapid.Check(t, property)
	}
}

// TestTwinOut plays clients, sockets, limits and time at random against a
// session.
func TestTwinOut(t *testing.T) {
	many(t, func(t *rapid.T) {
		w := &plainOut{t: t, l: newLedger(t), now: now0}
		w.lim = Limits{
			InflightMax:    rapid.IntRange(1, 6).Draw(t, "inflight"),
			MqueueMessages: rapid.IntRange(0, 12).Draw(t, "mqueue"),
			MqueueBytes:    rapid.SampledFrom([]int64{1 << 30, 200_000, 1000}).Draw(t, "mqueue bytes"),
			WaitMax:        rapid.SampledFrom([]time.Duration{0, 3 * time.Second}).Draw(t, "wait"),
		}
		w.s = New(Key{}, 1, &w.lim)
		t.Repeat(map[string]func(*rapid.T){
			"deliver": func(t *rapid.T) { w.deliver(t) },
			"again":   func(t *rapid.T) { w.deliver(t) }, // more often than the rest
			"answer": func(t *rapid.T) {
				w.answer(rapid.IntRange(0, 3).Draw(t, "which"), rapid.IntRange(0, 9).Draw(t, "refuse") == 0)
			},
			"wrong": func(t *rapid.T) { w.wrong(rapid.Uint16Range(0, 9).Draw(t, "id"), rapid.IntRange(0, 2).Draw(t, "what")) },
			"connect": func(t *rapid.T) {
				w.detach()
				w.attach(rapid.IntRange(1, 8).Draw(t, "rm"), rapid.SampledFrom([]int{0, 0, 0, 5000}).Draw(t, "max"))
			},
			"break": func(*rapid.T) { w.detach() },
			"slow":  func(*rapid.T) { w.hold() },
			"fast":  func(*rapid.T) { w.writable() },
			"time": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 2500).Draw(t, "ms")) * time.Millisecond)
			},
			"wrap": func(t *rapid.T) { w.s.pretend(uint16(rapid.IntRange(65530, 65535).Draw(t, "id"))) },
			"":     func(*rapid.T) { w.check() },
		})
		w.finish()
	})
}

func (w *plainOut) deliver(t *rapid.T) {
	w.serial++
	size := rapid.SampledFrom([]int{10, 10, 10, 400, 6000, 30_000}).Draw(t, "size")
	payload := make([]byte, size)
	copy(payload, strconv.Itoa(w.serial)+" ")
	f := w.l.frame("a", string(payload))
	q := mqtt.QoS(rapid.IntRange(0, 2).Draw(t, "qos"))
	f.CreatedAt = w.now.UnixMilli()
	if rapid.IntRange(0, 4).Draw(t, "expires") == 0 {
		f.ExpiresAt = f.CreatedAt + int64(rapid.IntRange(0, 3).Draw(t, "expiry"))*1000
	}
	m := plainMessage{serial: w.serial, qos: q, bytes: f.Size(), wire: size, expires: f.ExpiresAt, queuedAt: w.now}
	if !w.online && q == 0 {
		w.lost.Offline++
	} else {
		w.waiting = append(w.waiting, m)
	}
	before := w.s.Dropped().QueueFull
	w.sent(w.s.Deliver(w.now, Delivery{Frame: f, QoS: q, Retain: w.serial%7 == 0}, nil))
	if full := w.s.Dropped().QueueFull - before; full > 0 {
		w.overflow(m, full)
	}
}

// overflow takes out of waiting what a full queue may drop for m.
func (w *plainOut) overflow(m plainMessage, dropped uint64) {
	w.lost.QueueFull += dropped
	last := len(w.waiting) - 1
	others := w.waiting[:last]
	if int64(m.bytes) > w.lim.MqueueBytes || w.lim.MqueueMessages == 0 {
		w.waiting = others
		dropped--
	}
	for ; dropped > 0; dropped-- {
		i := slices.IndexFunc(others, func(o plainMessage) bool { return o.qos == 0 })
		switch {
		case i >= 0: // the oldest QoS 0
		case m.qos == 0: // QoS 1 and 2 make no room for it
			w.waiting = others
			continue
		case len(others) == 0:
			w.t.Fatal("more was dropped than waited")
		default:
			i = 0
		}
		others = slices.Delete(others, i, i+1)
		w.waiting = append(others, m)
	}
}

func (w *plainOut) attach(rm, most int) {
	w.online, w.held, w.window, w.sizeMax = true, false, min(rm, w.lim.InflightMax), most
	for i := range w.inflight {
		w.inflight[i].here, w.inflight[i].early = false, false
	}
	w.sent(w.s.Attach(w.now, Attachment{Version: mqtt.V5, ReceiveMaximum: uint16(rm), MaximumPacketSize: uint32(most), ExpirySeconds: 60}, nil))
}

func (w *plainOut) detach() {
	if w.online {
		w.online, w.held = false, false
		w.s.Detach(w.now, false)
	}
}

func (w *plainOut) hold() {
	if w.online {
		w.held = true
		w.s.Congest()
	}
}

func (w *plainOut) writable() {
	if w.online {
		w.held = false
		w.sent(w.s.Writable(w.now, nil))
	}
}

// answer acknowledges the n-th unacknowledged message. It may be one that was
// sent on an earlier connection and not repeated yet.
func (w *plainOut) answer(n int, refuse bool) {
	if n >= len(w.inflight) || !w.online {
		return
	}
	m := w.inflight[n]
	var outs []Out
	var err error
	switch {
	case m.qos == 1:
		w.inflight = slices.Delete(w.inflight, n, n+1)
		outs, err = w.s.Puback(w.now, m.id, nil)
	case m.released:
		w.inflight = slices.Delete(w.inflight, n, n+1)
		outs, err = w.s.Pubcomp(w.now, m.id, nil)
	case refuse:
		w.inflight = slices.Delete(w.inflight, n, n+1)
		outs, err = w.s.Pubrec(w.now, m.id, mqtt.UnspecifiedError, nil)
	default:
		w.inflight[n].released, w.inflight[n].here, w.inflight[n].early = true, true, !m.here
		outs, err = w.s.Pubrec(w.now, m.id, mqtt.Success, nil)
		if len(outs) != 1 || outs[0].Ack != mqtt.PUBREL || outs[0].ID != m.id {
			w.t.Fatalf("PUBREC %d was answered with %v", m.id, outs)
		}
		outs = nil
	}
	if err != nil {
		w.t.Fatalf("an honest answer was refused: %v", err)
	}
	w.sent(outs)
}

// wrong is an answer to nothing, or one that does not fit the message. It must
// change nothing.
func (w *plainOut) wrong(id uint16, what int) {
	if !w.online {
		return
	}
	i := slices.IndexFunc(w.inflight, func(m plainMessage) bool { return m.id == id })
	if i >= 0 {
		m := w.inflight[i]
		if m.qos == 1 && what == 0 || m.qos == 2 && (what == 1 || what == 2 && m.released) {
			return // it is right after all
		}
	}
	var outs []Out
	var err error
	switch what {
	case 0:
		outs, err = w.s.Puback(w.now, id, nil)
	case 1:
		outs, err = w.s.Pubrec(w.now, id, mqtt.UnspecifiedError, nil)
	case 2:
		outs, err = w.s.Pubcomp(w.now, id, nil)
	}
	if (err != nil) != (i >= 0) || len(outs) > 0 {
		w.t.Fatalf("a wrong answer to %d, known %v, got %v %v", id, i >= 0, outs, err)
	}
}

// finish gives the client all the time it needs: then nothing may be left, and
// every message was sent or is among the dropped.
func (w *plainOut) finish() {
	w.detach()
	w.attach(65535, 0)
	for n := 0; len(w.waiting)+len(w.inflight) > 0; n++ {
		if n > 1000 {
			w.t.Fatalf("an honest client does not get the rest: %s", stateWords(w.s))
		}
		w.writable()
		w.answer(0, false)
	}
	if got := stateWords(w.s); w.s.Inflight() != 0 || w.s.out.queue.bytes != 0 || w.s.out.unsent != 0 {
		w.t.Fatalf("at the end: %s", got)
	}
	w.s.Discard()
	w.l.settle()
}
