//go:build !race

package session

import (
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// The race detector allocates on its own account, so these run without it.

// wantAllocs holds f to at most most allocations in steady state.
func wantAllocs(t *testing.T, most float64, f func()) {
	t.Helper()
	for range 100 { // pools and slices fill
		f()
	}
	if n := testing.AllocsPerRun(1000, f); n > most {
		t.Errorf("%v allocations, want at most %v", n, most)
	}
}

// rigForAllocs is an online session, the loop's scratch slice, and a message.
func rigForAllocs(t *testing.T) (s *Session, outs []Out, f *mqtt.Frame) {
	s = New(Key{}, 1, &Limits{InflightMax: 32, MqueueMessages: 1000, MqueueBytes: 1 << 20, AwaitingRelMax: 10, ReceiveMaximum: 10, AliasInMax: 5})
	s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: 32, MaximumPacketSize: 200, ExpirySeconds: 60}, nil)
	f = mqtt.NewFrame([]byte("plant/a/temperature"), nil, make([]byte, 100))
	f.ExpiresAt = now0.UnixMilli() + 60_000
	return s, make([]Out, 0, 64), f
}

func TestAllocDeliverQoS0(t *testing.T) {
	s, outs, f := rigForAllocs(t)
	wantAllocs(t, 0, func() {
		outs = s.Deliver(now0, Delivery{Frame: f, SubID: 7}, outs[:0])
		if len(outs) != 1 {
			t.Fatal("not sent")
		}
		outs[0].Done()
	})
}

func TestAllocDeliverQoS1AndAcknowledge(t *testing.T) {
	s, outs, f := rigForAllocs(t)
	wantAllocs(t, 0, func() {
		outs = s.Deliver(now0, Delivery{Frame: f, QoS: 1}, outs[:0])
		id := outs[0].ID
		outs[0].Done()
		if outs, _ = s.Puback(now0, id, outs[:0]); s.Inflight() != 0 {
			t.Fatal("not acknowledged")
		}
	})
}

// A window that fills needs room for one, two and four and borrows the rest, and a queue behind it
// a ring: 4 for 40 messages.
func TestAllocDeliverThroughTheQueue(t *testing.T) {
	s, outs, f := rigForAllocs(t)
	var ids []uint16
	take := func() {
		for i := range outs {
			ids = append(ids, outs[i].ID)
			outs[i].Done()
		}
	}
	const messages = 40
	wantAllocs(t, 4, func() {
		ids = ids[:0]
		for range messages {
			outs = s.Deliver(now0, Delivery{Frame: f, QoS: 2}, outs[:0])
			take()
		}
		for i := 0; i < len(ids); i++ {
			outs, _ = s.Pubrec(now0, ids[i], mqtt.Success, outs[:0])
			outs, _ = s.Pubcomp(now0, ids[i], outs[:0])
			take()
		}
		if len(ids) != messages || s.Inflight() != 0 {
			t.Fatalf("%d sent, %d inflight", len(ids), s.Inflight())
		}
	})
}

func TestAllocReceive(t *testing.T) {
	s, outs, _ := rigForAllocs(t)
	p := mqtt.Publish{Topic: []byte("plant/a"), PacketID: 1, QoS: 2, TopicAlias: 1, HasTopicAlias: true}
	s.ResolveAlias(&p)
	p.Topic = nil
	wantAllocs(t, 0, func() {
		if name, err := s.ResolveAlias(&p); err != nil || len(name) == 0 {
			t.Fatal(err)
		}
		if again, err := s.Receive(&p); again || err != nil {
			t.Fatal(again, err)
		}
		outs = s.Acknowledge(2, 1, mqtt.Success, outs[:0])
		outs = s.Pubrel(1, outs[:0])
	})
}

func TestAllocAppend(t *testing.T) {
	_, _, f := rigForAllocs(t)
	buf := make([]byte, 0, 1<<10)
	ids := []uint32{1, 300}
	for name, o := range map[string]Out{
		"publish":                     {Kind: OutPublish, Frame: f},
		"publish, one identifier":     {Kind: OutPublish, Frame: f, SubID: 7, ID: 1, Flags: 1},
		"publish, two identifiers":    {Kind: OutPublish, Frame: f, SubIDs: ids, ID: 1, Flags: 2 | FlagDup},
		"acknowledgement":             {Kind: OutAck, Ack: mqtt.PUBACK, ID: 1},
		"acknowledgement with reason": {Kind: OutAck, Ack: mqtt.PUBREC, ID: 1, Reason: mqtt.NotAuthorized},
		"packet":                      Packet([]byte{0xD0, 0}),
	} {
		t.Run(name, func(t *testing.T) {
			wantAllocs(t, 0, func() {
				var end bool
				if buf, _, end = o.Append(buf[:0], mqtt.V5, now0, 0, cap(buf)); !end {
					t.Fatal("not at once")
				}
			})
		})
	}
}

// TestAllocAliasBoundAgain: whoever binds every alias again and again makes no garbage for the
// collector, which all clients of the loop would wait for.
func TestAllocAliasBoundAgain(t *testing.T) {
	s, _, _ := rigForAllocs(t)
	names := [][]byte{[]byte("plant/a/temperature"), []byte("plant/b/temperatures"), []byte("plant/c/temp")}
	n := 0
	wantAllocs(t, 0, func() {
		for alias := uint16(1); alias <= 5; alias++ {
			want := names[n%len(names)]
			n++
			if _, err := s.ResolveAlias(&mqtt.Publish{Topic: want, TopicAlias: alias, HasTopicAlias: true}); err != nil {
				t.Fatal(err)
			}
			if got, err := s.ResolveAlias(&mqtt.Publish{TopicAlias: alias, HasTopicAlias: true}); err != nil || string(got) != string(want) {
				t.Fatalf("alias %d is %q, want %q: %v", alias, got, want, err)
			}
		}
	})
}
