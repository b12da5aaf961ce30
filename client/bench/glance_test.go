package bench

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// What a glance takes, package mqtt takes too, and sees the same; of what it is for, nothing is left
// to package mqtt.
func TestAGlanceSeesWhatPackageMQTTSees(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	taken := 0
	for n := range 200_000 {
		v := []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5}[n%3]
		p := mqtt.Publish{QoS: mqtt.QoS(rnd.IntN(3)), Topic: []byte("bench/" + string(rune('0'+rnd.IntN(10)))), Payload: make([]byte, rnd.IntN(300)), Retain: rnd.IntN(2) == 0}
		if p.QoS > 0 {
			p.PacketID, p.Dup = uint16(1+rnd.IntN(65535)), rnd.IntN(4) == 0
		}
		b := p.Append(nil, v)
		whole := n%2 == 0
		if whole {
			b = append(b, make([]byte, rnd.IntN(20))...) // of the next packet
		} else {
			for range 1 + rnd.IntN(3) { // most of what is wrong is in the head
				b[rnd.IntN(min(len(b), 16))] = byte(rnd.IntN(256))
			}
			b = b[:rnd.IntN(len(b)+1)]
		}
		got := glance(b, v)
		if whole && got.size == 0 {
			t.Fatalf("%s % x: left to package mqtt", v, b)
		}
		if got.size == 0 {
			continue
		}
		taken++
		h, ok, err := mqtt.ReadHeader(b, v)
		if err != nil || !ok || h.Size+h.Remaining != got.size {
			t.Fatalf("%s % x: %+v, package mqtt says %+v %t %v", v, b, got, h, ok, err)
		}
		var m mqtt.Publish
		if err := mqtt.DecodePublishClient(b[h.Size:got.size], h, v, packetLimits, &m); err != nil {
			t.Fatalf("%s % x: %+v, package mqtt says %v", v, b, got, err)
		}
		if m.QoS != got.qos || m.PacketID != got.id || !bytes.Equal(m.Payload, got.payload) {
			t.Fatalf("%s % x: %+v, package mqtt says %+v", v, b, got, m)
		}
	}
	if taken < 100_000 {
		t.Errorf("%d taken", taken)
	}
}
