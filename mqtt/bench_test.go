package mqtt

import (
	"bytes"
	"fmt"
	"testing"
)

// samplePublish is a QoS 1 PUBLISH with the properties a chatty 5.0 client sends.
func samplePublish(payload int) *Publish {
	props := (&PublishProperties{
		HasPayloadFormat: true, PayloadIsUTF8: true, ContentType: "application/json",
		UserProperties: []UserProperty{{"site", "north"}, {"line", "7"}},
	}).Append(nil)
	return &Publish{
		Topic: []byte("plant/north/line/7/temperature"), Props: props, Payload: make([]byte, payload),
		QoS: 1, PacketID: 10, HasMessageExpiry: true, MessageExpiry: 60,
	}
}

func BenchmarkReadHeader(b *testing.B) {
	wire := samplePublish(256).Append(nil, V5)
	for b.Loop() {
		_, _, _ = ReadHeader(wire, V5)
	}
}

func BenchmarkDecodePublish(b *testing.B) {
	for _, v := range []Version{V311, V5} {
		b.Run(v.String(), func(b *testing.B) {
			wire := samplePublish(256).Append(nil, v)
			h, _, _ := ReadHeader(wire, v)
			var p Publish
			b.ReportAllocs()
			for b.Loop() {
				if err := DecodePublish(wire[h.Size:], h, v, Limits{UserProperties: 50}, &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNewFrame(b *testing.B) {
	for _, size := range []int{64, 1024, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p := samplePublish(size)
			b.ReportAllocs()
			for b.Loop() {
				NewFrame(p.Topic, p.Props, p.Payload).Release()
			}
		})
	}
}

func BenchmarkAppendWire(b *testing.B) {
	for _, v := range []Version{V311, V5} {
		b.Run(v.String(), func(b *testing.B) {
			p := samplePublish(256)
			f := NewFrame(p.Topic, p.Props, p.Payload)
			defer f.Release()
			out := make([]byte, 0, 1024)
			h := &PublishHead{Version: v, QoS: 1, PacketID: 3, SubscriptionIDs: []uint32{7}}
			b.ReportAllocs()
			for b.Loop() {
				out = f.AppendWire(out[:0], h, 0, f.WireSize(h))
			}
		})
	}
}

func BenchmarkDecodeConnect(b *testing.B) {
	wire := (&Connect{ClientID: "device-0001", KeepAlive: 60, HasUsername: true, Username: "device", HasPassword: true,
		Password: []byte("secret"), RequestProblemInformation: true}).Append(nil, V5, 0)
	h, _, _ := ReadHeader(wire, 0)
	b.ReportAllocs()
	for b.Loop() {
		var p Connect
		if err := DecodeConnect(wire[h.Size:], Limits{}, &p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkManyUserProperties shows that time per property does not depend on how
// many there are (A019).
func BenchmarkManyUserProperties(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			section := bytes.Repeat([]byte{propUserProperty, 0, 0, 0, 0}, n)
			packet, _ := wrapProps("PUBLISH from client", section)
			h, _, _ := ReadHeader(packet, V5)
			var p Publish
			for b.Loop() {
				if err := DecodePublish(packet[h.Size:], h, V5, Limits{UserProperties: -1}, &p); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/property")
		})
	}
}
