package mqtt

import (
	"bytes"
	"strings"
	"testing"
)

// inRoom reads packet into a room of its own and decodes it there.
func inRoom(t *testing.T, packet []byte, v Version) *Publish {
	t.Helper()
	room := NewRoom(len(packet))
	b := room.Room(len(packet))
	copy(b, packet)
	if cap(b) != len(packet) || RoomBytes(len(packet)) != room.Size()-frameBytes {
		t.Fatalf("room for %d bytes of %d, in %d bytes said to be %d", cap(b), len(packet), room.Size(), RoomBytes(len(packet)))
	}
	h, ok, err := ReadHeader(b, v)
	if err != nil || !ok {
		t.Fatal(err)
	}
	p := new(Publish)
	if err := DecodePublish(b[h.Size:], h, v, Limits{UserProperties: -1}, p); err != nil {
		t.Fatal(err)
	}
	p.Room = room
	return p
}

// TestARoomBecomesTheMessage: whatever is in front of the payload, a message made where it was read is
// the one that a copy makes, and its payload was not moved.
func TestARoomBecomesTheMessage(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1100)
	user := PublishProperties{ContentType: "text/plain", ResponseTopic: "an/answer", UserProperties: []UserProperty{{"unit", "K"}, {"site", "north"}}}
	long := PublishProperties{CorrelationData: bytes.Repeat([]byte("c"), 2*headScratch)}
	made := map[bool]int{}
	for _, v := range []Version{V31, V311, V5} {
		for q := QoS(0); q <= 2; q++ {
			for _, props := range [][]byte{nil, user.Append(nil), long.Append(nil)} {
				for _, hop := range []bool{false, true} {
					for _, said := range []string{"t", "a/topic/of/some/length", strings.Repeat("l", 400)} {
						for _, means := range []string{"", "m", "mounted/" + said, strings.Repeat("x", 3000)} {
							w := Publish{Topic: []byte(said), Payload: payload, Props: props, QoS: q, PacketID: 7}
							if hop {
								w.MessageExpiry, w.HasMessageExpiry, w.TopicAlias, w.HasTopicAlias = 60, true, 3, true
							}
							p := inRoom(t, w.Append(nil, v), v)
							topic := p.Topic
							if means != "" {
								topic = []byte(means)
							}
							want := NewFrame(topic, p.Props, p.Payload)
							at, room := &p.Payload[0], p.Room
							got := p.Frame(topic)
							inPlace := got == room
							made[inPlace]++
							if inPlace != (p.Room == nil) || inPlace != (&got.Payload()[0] == at) {
								t.Fatalf("in place %v, and the room is left: %v", inPlace, p.Room != nil)
							}
							if means == "" && !(v == V5 && hop && len(props) > headScratch) && !inPlace {
								t.Fatalf("%v, QoS %d: a message that fits was copied", v, q)
							}
							same(t, got, want)
							if !inPlace {
								room.Release()
							}
							got.Release()
							want.Release()
						}
					}
				}
			}
		}
	}
	if made[true] < 50 || made[false] < 50 {
		t.Errorf("%d in place, %d copied: one of them is not tested", made[true], made[false])
	}
}

// same wants two frames to be one message, on every wire.
func same(t *testing.T, got, want *Frame) {
	t.Helper()
	if !bytes.Equal(got.Topic(), want.Topic()) || !bytes.Equal(got.Props(), want.Props()) || !bytes.Equal(got.Payload(), want.Payload()) || got.Bytes() != want.Bytes() {
		t.Fatalf("topic %.40q and %.40q, %d and %d bytes of properties, %d and %d of payload", got.Topic(), want.Topic(), len(got.Props()), len(want.Props()), len(got.Payload()), len(want.Payload()))
	}
	for _, v := range []Version{V311, V5} {
		h := &PublishHead{Version: v, QoS: 1, PacketID: 9, TopicSkip: 1, HasExpiry: true, Expiry: 5, SubscriptionIDs: []uint32{200}}
		if got.WireSize(h) != want.WireSize(h) || !bytes.Equal(got.AppendWire(nil, h, 0, PacketMax), want.AppendWire(nil, h, 0, PacketMax)) {
			t.Fatalf("another packet of %v", v)
		}
	}
}

// TestARoomIsUsedAgain: the whole of it, whatever was in it, and as a room or for a copy.
func TestARoomIsUsedAgain(t *testing.T) {
	packet := (&Publish{Topic: []byte("a/b"), Payload: make([]byte, 20_000)}).Append(nil, V311)
	for range 20 {
		p := inRoom(t, packet, V311)
		f := p.Frame(p.Topic)
		size := f.Size()
		if f.Release(); f.class == unpooled || cap(f.buf) != classBytes(int(f.class)) || f.Size() != size {
			t.Fatalf("%d bytes of %d were given back", cap(f.buf), size)
		}
		g := NewFrame([]byte("c"), nil, packet[:19_000])
		if g.from != 0 || string(g.Topic()) != "c" || !bytes.Equal(g.Payload(), packet[:19_000]) {
			t.Fatal("a frame remembers where the message before began")
		}
		g.Release()
	}
}

// TestAPayloadElsewhereIsCopied: a room becomes a message only with the payload that is in it.
func TestAPayloadElsewhereIsCopied(t *testing.T) {
	packet := (&Publish{Topic: []byte("a/b"), Payload: make([]byte, 20_000)}).Append(nil, V311)
	for what, payload := range map[string][]byte{"none": nil, "another": make([]byte, 20_000), "a part": packet[100:]} {
		p := inRoom(t, packet, V311)
		p.Payload = payload
		if f := p.Frame(p.Topic); p.Room == nil || f == p.Room || !bytes.Equal(f.Payload(), payload) {
			t.Errorf("%s: it was taken for the one in the room", what)
		}
		p.Room.Release()
	}
}
