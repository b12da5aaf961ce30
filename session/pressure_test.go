package session

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// pressed is a connected session whose socket takes nothing, and what was sent to it.
func pressed(t *testing.T, a *Account, p Pressure, kept bool) *Session {
	t.Helper()
	s := New(Key{ClientID: "a"}, 1, &Limits{InflightMax: 4, MqueueMessages: 1000, MqueueBytes: 16 << 20, AwaitingRelMax: 10, ReceiveMaximum: 10, Account: a})
	if kept {
		s.Keep()
	}
	s.Attach(time.Unix(1000, 0), Attachment{Version: mqtt.V5, ReceiveMaximum: 100, ExpirySeconds: 100}, nil)
	s.Congest()
	a.Press(p)
	return s
}

func deliver(s *Session, q mqtt.QoS, bytes int, change ...func(*Delivery)) {
	f := mqtt.NewFrame([]byte("t"), nil, make([]byte, bytes))
	f.QoS = q
	d := Delivery{Frame: f, QoS: q}
	for _, c := range change {
		c(&d)
	}
	for _, o := range s.Deliver(time.Unix(1000, 0), d, nil) {
		o.Done()
	}
	f.Release()
}

// Under pressure QoS 0 does not wait, and then nothing that is in memory only; what the
// log or a group counts on always does.
func TestPressureOnQueues(t *testing.T) {
	for _, c := range []struct {
		name         string
		pressure     Pressure
		kept         bool
		qos          mqtt.QoS
		change       func(*Delivery)
		bytes        int
		queued, lost bool
	}{
		{name: "QoS 0 without", qos: 0, bytes: 10, queued: true},
		{name: "QoS 0", pressure: NoQoS0, qos: 0, bytes: 10, lost: true},
		{name: "QoS 1, first", pressure: NoQoS0, qos: 1, bytes: 2 * QueueLeast, queued: true},
		{name: "QoS 0, last", pressure: NoQueues, qos: 0, bytes: 10, lost: true},
		{name: "QoS 1, little", pressure: NoQueues, qos: 1, bytes: 10, queued: true},
		{name: "QoS 1, much", pressure: NoQueues, qos: 1, bytes: 2 * QueueLeast, lost: true},
		{name: "of the log", pressure: NoQueues, kept: true, qos: 1, bytes: 2 * QueueLeast, change: func(d *Delivery) { d.Seq = 7 }, queued: true},
		{name: "of a group", pressure: NoQueues, qos: 1, bytes: 2 * QueueLeast, change: func(d *Delivery) { d.Group = Group{Slot: 1} }, queued: true},
	} {
		a := NewAccount(1 << 30)
		s := pressed(t, a, c.pressure, c.kept)
		if c.change == nil {
			c.change = func(*Delivery) {}
		}
		deliver(s, c.qos, c.bytes, c.change)
		n, _ := s.Queued()
		if (n == 1) != c.queued || (s.Dropped().Overload == 1) != c.lost || s.Dropped().QueueFull != 0 {
			t.Errorf("%s: %d queued, dropped %+v", c.name, n, s.Dropped())
		}
		s.Discard()
		if a.Held() != 0 {
			t.Errorf("%s: %d bytes are held by nobody", c.name, a.Held())
		}
	}
}

// Who takes what it gets loses nothing under the highest pressure.
func TestPressureSparesWhoKeepsUp(t *testing.T) {
	a := NewAccount(1 << 30)
	s := pressed(t, a, NoQueues, false)
	s.Writable(time.Unix(1000, 0), nil)
	for i := range 50 {
		deliver(s, 0, 1<<20)
		deliver(s, 1, 1<<20)
		if _, err := s.Puback(time.Unix(1000, 0), uint16(i+1), nil); err != nil {
			t.Fatal(err)
		}
	}
	if s.Dropped() != (Drops{}) {
		t.Errorf("dropped %+v", s.Dropped())
	}
}

func TestDropQoS0(t *testing.T) {
	a := NewAccount(1 << 30)
	s := pressed(t, a, NoPressure, false)
	for range 3 {
		deliver(s, 0, 1000)
		deliver(s, 1, 1000)
	}
	before := s.Held()
	if before.Queue < 6000 || s.Backlog() < 6000 || before.Sum() < before.Queue+before.Base {
		t.Errorf("held %+v, backlog %d", before, s.Backlog())
	}
	if n := s.DropQoS0(); n != 3 || s.Dropped().Overload != 3 {
		t.Errorf("%d dropped, counted %+v", n, s.Dropped())
	}
	if n, _ := s.Queued(); n != 3 || s.Held().Queue > before.Queue-3000 {
		t.Errorf("%d are left, held %+v", n, s.Held())
	}
	s.Discard()
	if a.Held() != 0 {
		t.Errorf("%d bytes are held by nobody", a.Held())
	}
}

// Everything that a client makes a session keep is in Held.
func TestHeldHasAllOfIt(t *testing.T) {
	a := NewAccount(1 << 30)
	s := New(Key{ClientID: "a"}, 1, &Limits{InflightMax: 4, MqueueMessages: 10, MqueueBytes: 1 << 20, AwaitingRelMax: 10, ReceiveMaximum: 10, AliasInMax: 5, AliasOutMax: 5, Account: a})
	s.Attach(time.Unix(1000, 0), Attachment{Version: mqtt.V5, ReceiveMaximum: 100, AliasMaximum: 5, Will: &mqtt.Will{Topic: "w", Payload: make([]byte, 500)}}, nil)
	empty := s.Held()
	if empty.Will < 500 || empty.Queue != 0 || empty.Inflight != 0 || empty.Subscriptions != 0 || empty.Names != 0 {
		t.Errorf("empty: %+v", empty)
	}
	s.Subscribe(Sub{Filter: "a/b", Real: "a/b"})
	if _, err := s.ResolveAlias(&mqtt.Publish{HasTopicAlias: true, TopicAlias: 1, Topic: make([]byte, 300)}); err != nil {
		t.Fatal(err)
	}
	deliver(s, 1, 700)
	f := mqtt.NewFrame([]byte("t"), nil, make([]byte, 900))
	s.Defer(Pending{Frame: f, QoS: 1, ID: 1})
	if h := s.Held(); h.Subscriptions < 250 || h.Names < 300 || h.Inflight < 700 || h.Pending < 900 {
		t.Errorf("%+v", h)
	}
	s.Discard()
}
