package test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// packetBytes is limits.packet_bytes as shipped: the whole packet, header
// included.
const packetBytes = 1 << 20

// publishOf is a QoS 1 PUBLISH of exactly size bytes.
func publishOf(t *testing.T, v mqtt.Version, topic string, size int) []byte {
	t.Helper()
	p := mqtt.Publish{Topic: []byte(topic), QoS: 1, PacketID: 7}
	p.Payload = bytes.Repeat([]byte{'x'}, size-len(p.Append(nil, v))-3) // three more length bytes
	wire := p.Append(nil, v)
	for len(wire) < size {
		p.Payload = append(p.Payload, 'x')
		wire = p.Append(nil, v)
	}
	if len(wire) != size {
		t.Fatalf("built a packet of %d bytes, want %d", len(wire), size)
	}
	return wire
}

// TestOneMebibyteAndOneByte: exactly the limit passes and is delivered whole, one
// byte more is refused, in words where the protocol has words (P4.3).
func TestOneMebibyteAndOneByte(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		t.Run(v.String(), func(t *testing.T) {
			topic := fmt.Sprintf("devices/%s/big/%d", user, v)
			s := connect(t, b, v, fmt.Sprintf("big-sub-%d", v))
			s.subscribe(topic, 1)
			p := connect(t, b, v, fmt.Sprintf("big-pub-%d", v))
			sent := publishOf(t, v, topic, packetBytes)
			p.send(sent)
			p.want(mqtt.PUBACK)
			var got mqtt.Publish
			in := s.want(mqtt.PUBLISH)
			if err := mqtt.DecodePublishClient(in.Body, in.Header, v, mqtt.Limits{UserProperties: -1}, &got); err != nil || !bytes.HasSuffix(sent, got.Payload) || len(got.Payload) < packetBytes-100 {
				t.Fatalf("got %d bytes of payload, %v", len(got.Payload), err)
			}

			// The header alone is enough to be refused: not a byte of the body follows.
			over := publishOf(t, v, topic, packetBytes+1)
			p.send(over[:5])
			if v == mqtt.V5 {
				p.wantDisconnect(mqtt.PacketTooLarge)
			} else {
				p.wantClosed()
			}
			s.send((&mqtt.Ack{Type: mqtt.PUBACK, PacketID: got.PacketID}).Append(nil, v, 0))
			s.wantAlive()
		})
	}
}
