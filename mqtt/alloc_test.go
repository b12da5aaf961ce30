//go:build !race

package mqtt

import (
	"runtime"
	"testing"
)

// The race detector allocates on its own account, so these run without it.

func wantNoAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	f() // fill the pools
	if n := testing.AllocsPerRun(1000, f); n != 0 {
		t.Errorf("%s: %v allocations, want 0", what, n)
	}
}

// TestHotPathAllocatesNothing holds header, decode, frame and delivery to zero
// allocations in steady state.
func TestHotPathAllocatesNothing(t *testing.T) {
	for name, v := range map[string]Version{"3.1.1": V311, "5.0": V5} {
		wire := samplePublish(1024).Append(nil, v)
		lim := Limits{UserProperties: 50}
		var p Publish
		wantNoAllocs(t, name+" ReadHeader and DecodePublish", func() {
			h, ok, err := ReadHeader(wire, v)
			if !ok || err != nil || DecodePublish(wire[h.Size:], h, v, lim, &p) != nil {
				t.Fatal(err)
			}
		})
		out := make([]byte, 0, 2*len(wire))
		ids := []uint32{1, 300}
		wantNoAllocs(t, name+" NewFrame, WireSize, AppendWire, Release", func() {
			f := NewFrame(p.Topic, p.Props, p.Payload)
			h := PublishHead{Version: v, QoS: 1, PacketID: 9, SubscriptionIDs: ids, HasExpiry: true, Expiry: 5, TopicAlias: 3}
			out = f.AppendWire(out[:0], &h, 0, f.WireSize(&h))
			f.Hold().Release()
			f.Release()
		})
		wantNoAllocs(t, name+" DecodeAck and Ack.Append", func() {
			a := Ack{Type: PUBACK, PacketID: 9}
			out = a.Append(out[:0], v, 0)
			h, _, _ := ReadHeader(out, v)
			if DecodeAck(out[h.Size:], h, v, lim, &a) != nil {
				t.Fatal("own acknowledgement refused")
			}
		})
	}
}

// TestDecodeAllocatesByWhatIsThere announces lengths that the packet does not
// hold; no decoder may allocate for them (A001, A007).
func TestDecodeAllocatesByWhatIsThere(t *testing.T) {
	for name, body := range map[string][]byte{
		"client identifier": []byte("\x00\x04MQTT\x05\x02\x00\x3c\x00\xff\xff"),
		"properties":        []byte("\x00\x04MQTT\x05\x02\x00\x3c\xff\xff\xff\x7f"),
		"auth data":         []byte("\x00\x04MQTT\x05\x02\x00\x3c\x03\x16\xff\xff"),
	} {
		var before, after runtime.MemStats
		const runs = 100
		runtime.ReadMemStats(&before)
		for range runs {
			var p Connect
			if DecodeConnect(body, Limits{}, &p) == nil {
				t.Fatal("accepted")
			}
		}
		runtime.ReadMemStats(&after)
		bytes := (after.TotalAlloc - before.TotalAlloc) / runs
		if bytes > 1024 {
			t.Errorf("%s: %d bytes allocated", name, bytes)
		}
	}
}

// TestAllocFilters: a packet of filters takes the room for all of them once, and their texts, and none for what it only announces.
func TestAllocFilters(t *testing.T) {
	const many = 100
	sub, unsub := Subscribe{PacketID: 1}, Unsubscribe{PacketID: 1}
	for range many {
		sub.Filters = append(sub.Filters, Subscription{Filter: "a/+/b", QoS: 1})
		unsub.Filters = append(unsub.Filters, "a/+/b")
	}
	lim := Limits{Filters: many}
	for _, v := range []Version{V311, V5} {
		for name, packet := range map[string][]byte{"SUBSCRIBE": sub.Append(nil, v, 0), "UNSUBSCRIBE": unsub.Append(nil, v, 0)} {
			h, _, _ := ReadHeader(packet, v)
			body := packet[h.Size:]
			decode := func(b []byte, lim Limits) (int, error) {
				if name == "SUBSCRIBE" {
					var p Subscribe
					err := DecodeSubscribe(b, h, v, lim, &p)
					return cap(p.Filters), err
				}
				var p Unsubscribe
				err := DecodeUnsubscribe(b, h, v, lim, &p)
				return cap(p.Filters), err
			}
			if n := testing.AllocsPerRun(10, func() { _, _ = decode(body, lim) }); n > many+1 {
				t.Errorf("%s of version %d: %v allocations for %d filters", name, v, n, many)
			}
			if room, err := decode(body, lim); err != nil || room != many {
				t.Errorf("%s of version %d: room for %d filters, %v", name, v, room, err)
			}
			if room, err := decode(body, Limits{Filters: many - 1}); err == nil || room > 2*many {
				t.Errorf("%s of version %d over the limit: room for %d, %v", name, v, room, err)
			}
			if _, err := decode(body[:len(body)-1], lim); err == nil {
				t.Errorf("%s of version %d cut short: no error", name, v)
			}
		}
	}
}
