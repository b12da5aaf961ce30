package harden

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// The broker's codec, which shares nothing with ours, reads the same CONNECT.
func TestConnectSaysWhatIsMeant(t *testing.T) {
	name := "ann"
	for _, level := range []byte{level4, level5} {
		c := connectPacket{level: level, clientID: "c", user: &name, password: []byte("pw"), hasPass: true, will: &publishPacket{topic: "w/t", qos: 2, retain: true, payload: []byte("gone")}}
		if level == level5 {
			c.method = "odd"
		}
		b := c.encode()
		h, ok, err := mqtt.ReadHeader(b, 0)
		if err != nil || !ok || h.Size+h.Remaining != len(b) {
			t.Fatalf("%+v, %v", h, err)
		}
		var p mqtt.Connect
		if err := mqtt.DecodeConnect(b[h.Size:], mqtt.Limits{}, &p); err != nil {
			t.Fatal(err)
		}
		if byte(p.Version) != level || !p.CleanStart || p.ClientID != "c" || p.Username != name || string(p.Password) != "pw" || p.HasAuthMethod != (level == level5) ||
			p.Will == nil || p.Will.Topic != "w/t" || string(p.Will.Payload) != "gone" || p.Will.QoS != 2 || !p.Will.Retain {
			t.Errorf("%+v %+v", p, p.Will)
		}
	}
	c := connectPacket{level: level5, clientID: "c", will: &publishPacket{topic: "t"}}
	if b := c.padded(5000); len(b) != 5000 {
		t.Errorf("padded to %d", len(b))
	}
}

func TestAnnounceIsTheSizeInAll(t *testing.T) {
	for _, n := range []int64{2, 127, 129, 130, 131, 16385, 16386, 16387, 16388, 1 << 20, 2097155, 2097156, 2097157, packetMax} {
		h, ok, err := mqtt.ReadHeader(announce(typePublish<<4, n), mqtt.V5)
		// Between two sizes of the length field there is a size no packet can have.
		if total := int64(h.Size + h.Remaining); err != nil || !ok || total != n && total != n-1 {
			t.Errorf("%d announced as %d, %v", n, total, err)
		}
	}
}

func TestOffersReadPastEverything(t *testing.T) {
	no, one, keep, expiry := false, mqtt.QoS(1), uint16(9), uint32(7)
	full := mqtt.Connack{SessionExpiry: &expiry, ReceiveMaximum: 5, MaximumQoS: &one, RetainAvailable: &no, WildcardAvailable: &no, SubscriptionIDsAvailable: &no, SharedAvailable: &no,
		MaximumPacketSize: 9, AssignedClientID: "a", ReasonString: "r", ResponseInformation: "i", ServerReference: "s", TopicAliasMaximum: 4, ServerKeepAlive: &keep,
		UserProperties: []mqtt.UserProperty{{Name: "n", Value: "v"}}, AuthMethod: "m", AuthData: []byte("d")}
	for _, c := range []struct {
		connack mqtt.Connack
		want    offers
	}{
		{full, offers{receiveMaximum: 5, aliases: 4, maxQoS: 1}},
		{mqtt.Connack{}, offers{receiveMaximum: 65535, maxQoS: 2, retain: true, wildcards: true, shared: true}},
	} {
		p, err := readPacket(bufio.NewReader(bytes.NewReader(c.connack.Append(nil, mqtt.V5, 0))))
		if err != nil || p.offers() != c.want {
			t.Errorf("%+v, %v, want %+v", p.offers(), err, c.want)
		}
	}
}

func TestAnswersInWords(t *testing.T) {
	for _, c := range []struct {
		bytes []byte
		level byte
		want  string
	}{
		{(&mqtt.Connack{Reason: mqtt.NotAuthorized}).Append(nil, mqtt.V311, 0), level4, "CONNACK 0x05"},
		{(&mqtt.Suback{PacketID: 1, Reasons: []mqtt.ReasonCode{mqtt.QuotaExceeded}, ReasonString: "no"}).Append(nil, mqtt.V5, 0), level5, "SUBACK 0x97"},
		{(&mqtt.Suback{PacketID: 1, Reasons: []mqtt.ReasonCode{mqtt.QuotaExceeded}}).Append(nil, mqtt.V311, 0), level4, "SUBACK 0x80"},
		{(&mqtt.Ack{Type: mqtt.PUBREC, PacketID: 1, Reason: mqtt.NotAuthorized}).Append(nil, mqtt.V5, 0), level5, "PUBREC 0x87"},
		{(&mqtt.Ack{Type: mqtt.PUBACK, PacketID: 1}).Append(nil, mqtt.V5, 0), level5, "PUBACK 0x00"},
		{(&mqtt.Disconnect{Reason: mqtt.PacketTooLarge, ReasonString: "x"}).Append(nil, mqtt.V5, 0), level5, "DISCONNECT 0x95"},
		{mqtt.AppendPingresp(nil), level5, "PINGRESP"},
		{[]byte{0xf0, 0}, level5, "packet type 15 0x00"},
	} {
		p, err := readPacket(bufio.NewReader(bytes.NewReader(c.bytes)))
		if got := p.describe(c.level); err != nil || got != c.want {
			t.Errorf("%x: %q, %v, want %q", c.bytes, got, err, c.want)
		}
	}
}

// Nothing a server sends makes a probe panic or hold much memory.
func FuzzAnswers(f *testing.F) {
	f.Add((&mqtt.Connack{ReceiveMaximum: 5, AssignedClientID: "a"}).Append(nil, mqtt.V5, 0))
	f.Add((&mqtt.Suback{PacketID: 1, Reasons: []mqtt.ReasonCode{0}}).Append(nil, mqtt.V5, 0))
	f.Add((&mqtt.Publish{Topic: []byte("a"), QoS: 1, PacketID: 3}).Append(nil, mqtt.V5))
	f.Add([]byte{0x20, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readPacket(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		for _, level := range []byte{level4, level5} {
			_, _ = p.packetIDOf()
			_, _ = p.topicOf()
			_ = p.subackCodes(level)
			_ = p.offers()
			if s := (said{packet: &p, level: level}); s.String() == "" {
				t.Error("no words for what came")
			} else if s.ok(typeSuback) && s.is(typeSuback, 0x80) {
				t.Error("granted and refused")
			}
		}
	})
}
