package conn

import (
	"bytes"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// inParts gives c a packet as TLS records bring it.
func inParts(l *Loop, c *Conn, packet []byte) {
	for len(packet) > 0 {
		n := min(len(packet), recordMax)
		l.input(c, packet[:n])
		packet = packet[n:]
	}
}

// large is a SUBSCRIBE whose user properties are as large as most takes.
func large(most int) []byte {
	var users []mqtt.UserProperty
	for range most/65_000 - 1 {
		users = append(users, mqtt.UserProperty{Name: "n", Value: strings.Repeat("v", 65_000)})
	}
	s := mqtt.Subscribe{PacketID: 9, Filters: []mqtt.Subscription{{Filter: "y"}}, UserProperties: users}
	return s.Append(nil, mqtt.V5, 0)
}

// TestAPacketInPartsIsPutTogether: whatever the parts are, it is the packet, nothing of it is
// copied more than a few times, and the room is at most the packet's and that of one read, to
// the next power of two.
func TestAPacketInPartsIsPutTogether(t *testing.T) {
	packet := make([]byte, 1<<20)
	for i := range packet {
		packet[i] = byte(i * 7 >> 3)
	}
	for _, part := range []int{1000, recordMax, readMax, len(packet)} {
		var have []byte
		moved := 0
		for from := 0; from < len(packet); from += part {
			had := have
			have = extend(have, packet[from:min(from+part, len(packet))], len(packet))
			if len(had) > 0 && &had[:1][0] != &have[0] {
				moved += len(had)
			}
			if cap(have) > max(2*len(have), bufferMin, partMin) {
				t.Fatalf("parts of %d: room for %d bytes, and %d have come", part, cap(have), len(have))
			}
		}
		if !bytes.Equal(have, packet) {
			t.Errorf("parts of %d: it is another packet", part)
		}
		if moved > len(packet)+64<<10 {
			t.Errorf("parts of %d: %d bytes of %d were copied", part, moved, len(packet))
		}
		putPart(have)
	}
	if b := extend(make([]byte, partMax), []byte{1}, partMax+100); cap(b) < partMax+100 || cap(b) > partMax+partMax/8 {
		t.Errorf("room for %d bytes of a packet of %d", cap(b), partMax+100)
	}
	if b := extend(nil, make([]byte, bufferMin), 0); cap(b) != bufferMin {
		t.Errorf("room for %d bytes with %d", cap(b), bufferMin)
	}
}

// TestWhatIsKeptIsWhatIsLeft: packets that nobody may look at yet stay as they are, and the
// buffer that two packets came in is not given back while the second is in it.
func TestWhatIsKeptIsWhatIsLeft(t *testing.T) {
	l := newDuet(t, 1).server.loops[0]
	c, _ := heard(l)
	c.version = mqtt.V5
	rest := bytes.Repeat([]byte("0123456789"), 2000)
	first := extend(nil, append([]byte("gone"), rest...), 0)
	l.keep(c, first, first[4:])
	if !bytes.Equal(c.half.rest(), rest) {
		t.Fatal("what was left has changed")
	}
	kept := &c.half.rest()[0]
	l.keep(c, c.half.rest(), c.half.rest())
	if !bytes.Equal(c.half.rest(), rest) || &c.half.rest()[0] != kept {
		t.Error("what was there stays where it was")
	}
	l.keep(c, c.half.rest(), c.half.rest()[len(c.half.rest())-10:]) // a large buffer does not stay with ten bytes
	if string(c.half.rest()) != "0123456789" || cap(c.half.rest()) > 64 {
		t.Errorf("%q in room for %d bytes", c.half.rest(), cap(c.half.rest()))
	}
	l.keep(c, c.half.rest(), nil)
	if c.half != nil {
		t.Errorf("%d bytes stay with an idle connection", cap(c.half.rest()))
	}
}
