package mqtt

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// bare is a copy of p without Reason String and User Properties.
func bare(p packet) packet {
	c := reflect.New(reflect.TypeOf(p).Elem())
	c.Elem().Set(reflect.ValueOf(p).Elem())
	for _, name := range []string{"ReasonString", "UserProperties"} {
		if f := c.Elem().FieldByName(name); f.IsValid() {
			f.SetZero()
		}
	}
	return c.Interface().(packet)
}

// TestMaximumPacketSize draws packets and maxima. A packet stays within the
// maximum whenever leaving out Reason String and User Properties can make it;
// nothing else is ever left out, and nothing at all if everything fits
// [MQTT-3.2.2-19] [MQTT-3.2.2-20] and their kin.
//
// Covers: MQTT-3.6.2-2 (5.0), MQTT-3.6.2-3 (5.0), MQTT-3.15.2-2 (5.0), MQTT-3.15.2-3 (5.0)
func TestMaximumPacketSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fromServer := genBool.Draw(t, "from server")
		p := genPacket(t, V5, fromServer)
		whole, least := p.Append(nil, V5, 0), bare(p).Append(nil, V5, 0)
		max := rapid.Uint32Range(1, uint32(len(whole))+2).Draw(t, "max")
		got := p.Append(nil, V5, max)
		switch _, publish := p.(*wholePublish); {
		case publish || int(max) >= len(whole):
			if string(got) != string(whole) {
				t.Fatalf("max %d, whole packet of %d bytes fits, got %d", max, len(whole), len(got))
			}
		case int(max) < len(least):
			if string(got) != string(least) {
				t.Fatalf("max %d, got %d bytes, least are %d", max, len(got), len(least))
			}
		case len(got) > int(max):
			t.Fatalf("max %d, got %d bytes", max, len(got))
		}
		q, _, err := decodePacket(got, V5, fromServer, Limits{UserProperties: -1})
		if err != nil {
			t.Fatalf("max %d: % x: %v", max, got, err)
		}
		if !reflect.DeepEqual(normal(bare(p)), normal(bare(q))) {
			t.Fatalf("max %d: %s became %s", max, describe(p), describe(q))
		}
	})
}

// TestReasonStringIsPreferred keeps the Reason String when only one fits.
func TestReasonStringIsPreferred(t *testing.T) {
	p := &Ack{Type: PUBACK, PacketID: 1, Reason: NotAuthorized, ReasonString: "no", UserProperties: []UserProperty{{"k", "v"}}}
	for max, want := range map[uint32]string{
		5:  "PUBACK PacketID=1 Reason=not_authorized",
		10: "PUBACK PacketID=1 Reason=not_authorized",
		11: `PUBACK PacketID=1 Reason=not_authorized ReasonString="no"`,
		17: `PUBACK PacketID=1 Reason=not_authorized ReasonString="no"`,
		18: `PUBACK PacketID=1 Reason=not_authorized ReasonString="no" UserProperties=["k":"v"]`,
	} {
		q, _, err := decodePacket(p.Append(nil, V5, max), V5, true, Limits{UserProperties: -1})
		if err != nil || describe(q) != want {
			t.Errorf("max %d: %s, %v; want %s", max, describe(q), err, want)
		}
	}
}

// TestTooLongForItsField leaves out optional strings that have no encoding and
// panics for the others; a length never wraps (A026).
func TestTooLongForItsField(t *testing.T) {
	long := strings.Repeat("x", StringMax+1)
	p := &Disconnect{Reason: ServerBusy, ReasonString: long, UserProperties: []UserProperty{{"k", long}}}
	if got := p.Append(nil, V5, 0); len(got) != 3 {
		t.Errorf("got %d bytes, want the bare packet", len(got))
	}
	mustPanic(t, func() { (&Connack{AssignedClientID: long}).Append(nil, V5, 0) })
	mustPanic(t, func() { (&Publish{Topic: []byte(long)}).Append(nil, V311) })
	mustPanic(t, func() { (&Unsubscribe{PacketID: 1, Filters: []string{long}}).Append(nil, V311, 0) })
	mustPanic(t, func() { NewFrame([]byte(long), nil, nil) })
}

// mustPanic wants a panic that says whose fault it is.
func mustPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "BUG: ") {
			t.Errorf("want a panic with BUG, got %q", s)
		}
	}()
	f()
}

// TestExtrasNeverPassTheWireFormat leaves extras out when they would make a packet
// that no remaining length can say, limit or not.
func TestExtrasNeverPassTheWireFormat(t *testing.T) {
	e := newEncoder(nil)
	e.openProps()
	if e.fits(1, 0, RemainingMax-1) || !e.fits(1, 0, RemainingMax-2) {
		t.Error("the largest packet is not where the standard puts it")
	}
}
