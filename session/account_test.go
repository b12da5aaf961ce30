package session

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Whatever happens to its messages, a session gives back what it took from the
// account, and past the bound it takes nothing.
func TestAccountBoundsAllSessionsTogether(t *testing.T) {
	now := time.Unix(1000, 0)
	frame := func() *mqtt.Frame { f := mqtt.NewFrame([]byte("t"), nil, make([]byte, 1000)); f.QoS = 2; return f }
	size := int64(frame().Size())
	lim := &Limits{InflightMax: 4, MqueueMessages: 100, MqueueBytes: 1 << 20, AwaitingRelMax: 10, ReceiveMaximum: 10, Account: NewAccount(10*size*8/7 + 2)} // of which an eighth is not for queues
	sessions := []*Session{New(Key{ClientID: "a"}, 1, lim), New(Key{ClientID: "b"}, 2, lim)}
	var outs []Out
	for i, s := range sessions {
		outs = s.Attach(now, Attachment{Version: mqtt.V5, ReceiveMaximum: 100, ExpirySeconds: 100}, outs)
		for range 20 {
			f := frame()
			outs = s.Deliver(now, Delivery{Frame: f, QoS: mqtt.QoS(1 + i)}, outs)
			f.Release()
		}
	}
	if got := lim.Account.Held(); got != 10*size {
		t.Fatalf("%d bytes held, want the bound of %d", got, 10*size)
	}
	if n := sessions[0].Dropped().QueueFull + sessions[1].Dropped().QueueFull; n != 30 {
		t.Errorf("%d dropped, want the 30 that did not fit", n)
	}
	var err error
	for id := uint16(1); id <= 4; id++ {
		if outs, err = sessions[0].Puback(now, id, outs); err != nil {
			t.Fatal(err)
		}
	}
	if got := lim.Account.Held(); got != 6*size {
		t.Errorf("%d bytes held after four acknowledgements, want %d", got, 6*size)
	}
	if free := lim.Account.max.Load() - lim.Account.Held(); !lim.Account.Reserve(free) || lim.Account.Reserve(1) {
		t.Error("what queues leave is not for those who send")
	} else {
		lim.Account.Release(free)
	}
	for _, o := range outs {
		o.Done()
	}
	for _, s := range sessions {
		s.Detach(now, false)
		s.Discard()
	}
	if got := lim.Account.Held(); got != 0 {
		t.Errorf("%d bytes held by nobody", got)
	}
}

// TestWhatComesTakesNothingFromQueues: a packet that comes may have the eighth that queues leave,
// and others' messages still have room.
func TestWhatComesTakesNothingFromQueues(t *testing.T) {
	a := NewAccount(8000)
	a.add(6000)
	if !a.Reserve(1500) {
		t.Fatal("there is room for what comes")
	}
	if !a.Room(400) {
		t.Error("400 bytes have no room in queues that hold 6,000 of 7,000")
	}
	if a.Room(501) || a.Reserve(501) {
		t.Error("more than there is in all")
	}
	a.Release(1500)
	if a.Room(1001) || !a.Room(1000) {
		t.Error("the queues' part is 7,000 bytes")
	}
}
