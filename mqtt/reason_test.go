package mqtt

import (
	"strings"
	"testing"
)

// TestReasonNames wants a name for every code that some packet may carry, and for
// no other.
func TestReasonNames(t *testing.T) {
	all := []*codeSet{&connackCodes, &receivedCodes, &releasedCodes, &subackCodes, &unsubackCodes,
		&disconnectFromClient, &disconnectFromServer, &authFromClient, &authFromServer}
	for c := range 256 {
		c, used := ReasonCode(c), false
		for _, s := range all {
			used = used || s.has(c)
		}
		if named := !strings.HasPrefix(c.String(), "reason 0x"); named != used {
			t.Errorf("0x%02x: used %v, called %q", byte(c), used, c)
		}
		if c.String() != strings.ToLower(c.String()) {
			t.Errorf("%q is not in lower case", c)
		}
	}
	if got := ReasonCode(0xF1).String(); got != "reason 0xf1" {
		t.Errorf("got %q", got)
	}
}

// TestConnackV3 maps every reason a 5.0 CONNACK knows to a code 3.1.1 knows, and
// no failure to success.
func TestConnackV3(t *testing.T) {
	for c := range 256 {
		got := ConnackV3(ReasonCode(c))
		if got > 5 || (got == 0) != (c == 0) {
			t.Errorf("0x%02x: %d", c, got)
		}
	}
	for b := range byte(6) {
		if c, ok := reasonFromConnackV3(b); !ok || ConnackV3(c) != b {
			t.Errorf("%d: there %s, back %d", b, c, ConnackV3(c))
		}
	}
	if _, ok := reasonFromConnackV3(6); ok {
		t.Error("6 is reserved")
	}
}

// TestEncodersWriteListedCodes gives every encoder every code: what it writes is
// in the packet's list, and a failure stays a failure. AUTH has no code for one.
func TestEncodersWriteListedCodes(t *testing.T) {
	for c := range 256 {
		c := ReasonCode(c)
		for name, tc := range map[string]struct {
			p    packet
			at   int // where the code stands in the packet
			sets []*codeSet
		}{
			"CONNACK":    {&Connack{Reason: c}, 3, []*codeSet{&connackCodes}},
			"PUBREC":     {&Ack{Type: PUBREC, PacketID: 1, Reason: c, ReasonString: "r"}, 4, []*codeSet{&receivedCodes}},
			"PUBCOMP":    {&Ack{Type: PUBCOMP, PacketID: 1, Reason: c, ReasonString: "r"}, 4, []*codeSet{&releasedCodes}},
			"SUBACK":     {&Suback{PacketID: 1, Reasons: []ReasonCode{c}}, 5, []*codeSet{&subackCodes}},
			"UNSUBACK":   {&Unsuback{PacketID: 1, Reasons: []ReasonCode{c}}, 5, []*codeSet{&unsubackCodes}},
			"DISCONNECT": {&Disconnect{Reason: c, ReasonString: "r"}, 2, []*codeSet{&disconnectFromServer, &disconnectFromClient}},
		} {
			got := ReasonCode(tc.p.Append(nil, V5, 0)[tc.at])
			listed, kept := false, false
			for _, s := range tc.sets {
				listed, kept = listed || s.has(got), kept || s.has(c)
			}
			if !listed || got.Failed() != c.Failed() || kept && got != c {
				t.Errorf("%s given 0x%02x writes 0x%02x", name, byte(c), byte(got))
			}
		}
		if auth := (&Auth{Reason: c, Method: "m"}); authFromServer.has(c) || authFromClient.has(c) {
			if got := auth.Append(nil, V5, 0)[2]; got != byte(c) {
				t.Errorf("AUTH given 0x%02x writes 0x%02x", byte(c), got)
			}
		} else {
			mustPanic(t, func() { auth.Append(nil, V5, 0) })
		}
		if got := (&Suback{PacketID: 1, Reasons: []ReasonCode{c}}).Append(nil, V311, 0)[4]; got > 2 && got != 0x80 || c.Failed() && got != 0x80 {
			t.Errorf("SUBACK of 3.1.1 given 0x%02x writes 0x%02x", byte(c), got)
		}
	}
}

// TestRefusalHasNoSession keeps a refusal from claiming a session
// [MQTT-3.2.2-6], and 3.1 from using a byte it does not have.
func TestRefusalHasNoSession(t *testing.T) {
	for v, want := range map[Version]string{V31: "\x20\x02\x00\x05", V311: "\x20\x02\x00\x05", V5: "\x20\x03\x00\x87\x00"} {
		if got := (&Connack{SessionPresent: true, Reason: NotAuthorized}).Append(nil, v, 0); string(got) != want {
			t.Errorf("%s: % x, want % x", v, got, want)
		}
	}
	if got := (&Connack{SessionPresent: true}).Append(nil, V31, 0); string(got) != "\x20\x02\x00\x00" {
		t.Errorf("3.1: % x", got)
	}
}

// TestErrorText shows all of an error, in one line.
func TestErrorText(t *testing.T) {
	e := &Error{Reason: TopicNameInvalid, Rule: "MQTT-3.3.2-2", Detail: "wildcard in a topic name"}
	if got, want := e.Error(), "mqtt: topic name invalid: wildcard in a topic name [MQTT-3.3.2-2]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (&Error{Reason: QuotaExceeded}).Error(), "mqtt: quota exceeded"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
