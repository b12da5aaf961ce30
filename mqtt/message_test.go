package mqtt

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// TestPublishPropertiesRoundTrip writes properties for people and reads them back.
func TestPublishPropertiesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := genMessageProps(t)
		p, err := ParsePublishProperties(raw)
		if err != nil {
			t.Fatal(err)
		}
		if again := p.Append(nil); string(again) != string(raw) {
			t.Fatalf("% x became % x", raw, again)
		}
	})
}

// TestParsePublishProperties reads what belongs to the message, passes over what
// belongs to a hop, and refuses what no PUBLISH may hold.
func TestParsePublishProperties(t *testing.T) {
	raw := "\x02\x00\x00\x00\x09\x01\x01\x23\x00\x01\x03\x00\x01t\x0b\x05\x0b\x06\x08\x00\x01r\x09\x00\x00\x26\x00\x01k\x00\x01v"
	got, err := ParsePublishProperties([]byte(raw))
	want := PublishProperties{
		HasPayloadFormat: true, PayloadIsUTF8: true, ContentType: "t", ResponseTopic: "r",
		CorrelationData: []byte{}, UserProperties: []UserProperty{{"k", "v"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"\x21\x00\x05", "\x01", "\x01\x02", "\x08\x00\x01#", "\x03\x00\x02t", "\x01\x00\x01\x00"} {
		if _, err := ParsePublishProperties([]byte(bad)); err == nil {
			t.Errorf("% x was accepted", bad)
		}
	}
}

// TestMisdirectedAck refuses to read another packet as an acknowledgement, and
// panics when told to write one.
func TestMisdirectedAck(t *testing.T) {
	if err := DecodeAck([]byte{0, 1}, Header{Type: SUBACK}, V5, Limits{}, &Ack{}); err == nil {
		t.Error("SUBACK was read as an acknowledgement of PUBLISH")
	}
	mustPanic(t, func() { (&Ack{Type: SUBACK, PacketID: 1}).Append(nil, V5, 0) })
	mustPanic(t, func() { (&Auth{Reason: ContinueAuthentication}).Append(nil, V311, 0) })
	if err := DecodeAuth(nil, Header{Type: AUTH}, V311, Limits{}, &Auth{}); err == nil {
		t.Error("AUTH was read in 3.1.1")
	}
}

// TestNames spells versions and types as people write them.
func TestNames(t *testing.T) {
	for v, want := range map[Version]string{V31: "3.1", V311: "3.1.1", V5: "5.0", 0: "unknown"} {
		if v.String() != want {
			t.Errorf("version %d is called %q", byte(v), v)
		}
	}
	if CONNECT.String() != "CONNECT" || AUTH.String() != "AUTH" || Type(0).String() != "reserved" {
		t.Error("packet types are called otherwise")
	}
}

// TestCredentialsAreNotPrinted formats the packets that hold credentials.
func TestCredentialsAreNotPrinted(t *testing.T) {
	c := Connect{Version: V5, ClientID: "c", Password: []byte("hunter2"), AuthData: []byte("hunter2")}
	a := Auth{Reason: ContinueAuthentication, Data: []byte("hunter2")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, x := range []any{c, &c, a, &a} {
			got := fmt.Sprintf(verb, x)
			if got != `CONNECT 5.0 from "c"` && got != "AUTH continue authentication" {
				t.Errorf("%s prints %s", verb, got)
			}
		}
	}
}
