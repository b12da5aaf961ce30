package mqtt

import "testing"

// seeds gives f every vector, and every row of the table of properties.
func seeds(f *testing.F, add func(in []byte, v Version, fromServer bool)) {
	for _, file := range vectorFiles(f) {
		for _, v := range readVectors(f, file) {
			add(v.in, v.version, v.fromServer)
		}
	}
	for place := range aroundProps {
		for id, r := range propRules {
			if r.kind != kindNone {
				packet, fromServer := wrapProps(place, []byte{byte(id), 0, 1, 'a', 0, 1, 'b'})
				add(packet, V5, fromServer)
			}
		}
	}
}

// FuzzDecode feeds any bytes to every decoder. None may panic; what is accepted
// must be encoded and decoded to the same again; a frame made of an accepted
// PUBLISH must say on the wire what the packet said.
func FuzzDecode(f *testing.F) {
	seeds(f, func(in []byte, v Version, fromServer bool) { f.Add(in, byte(v), fromServer) })
	f.Fuzz(func(t *testing.T, in []byte, version byte, fromServer bool) {
		v := Version(version)
		if v != V31 && v != V311 {
			v = V5
		}
		whole := string(in)
		p, n, err := decodePacket(in, v, fromServer, Limits{UserProperties: 50, Filters: 50})
		if string(in) != whole {
			t.Fatal("the decoder changed its input")
		}
		if err != nil {
			if e, ok := err.(*Error); !ok || !e.Reason.Failed() || e.Error() == "" {
				t.Fatalf("refused with %#v", err)
			}
			return
		}
		if n == 0 {
			return
		}
		if err := sameAgain(p, v, fromServer); err != nil {
			t.Fatal(err)
		}
		if q, ok := p.(*wholePublish); ok {
			sameAsFrame(t, &q.Publish, v)
		}
	})
}

// sameAsFrame compares a packet's own encoding with that of a frame made from it.
func sameAsFrame(t *testing.T, p *Publish, v Version) {
	f := NewFrame(p.Topic, p.Props, p.Payload)
	defer f.Release()
	h := &PublishHead{
		Version: v, QoS: p.QoS, Dup: p.Dup, Retain: p.Retain, PacketID: p.PacketID,
		SubscriptionIDs: p.SubscriptionIDs, Expiry: p.MessageExpiry, HasExpiry: p.HasMessageExpiry, TopicAlias: p.TopicAlias,
	}
	want := p.Append(nil, v)
	if got := f.AppendWire(nil, h, 0, len(want)); string(got) != string(want) || f.WireSize(h) != len(want) {
		t.Fatalf("frame % x, packet % x", got, want)
	}
}

// FuzzHeader feeds any bytes to ReadHeader. It must not panic, must say the same
// once it has said anything, and must agree with the encoder.
func FuzzHeader(f *testing.F) {
	seeds(f, func(in []byte, v Version, _ bool) { f.Add(in[:min(len(in), 6)], byte(v)) })
	f.Fuzz(func(t *testing.T, in []byte, version byte) {
		v := Version(version)
		settled := false
		var first Header
		for n := range len(in) + 1 {
			h, ok, err := ReadHeader(in[:n], v)
			switch {
			case ok && err != nil:
				t.Fatal("both a header and an error")
			case settled && (!ok || h != first):
				t.Fatalf("% x: first %+v, then %+v %v", in[:n], first, h, err)
			case err != nil:
				return // and with more bytes it could not get better
			case ok && !settled:
				settled, first = true, h
				if h.Size != n || h.Remaining < 0 || h.Remaining > RemainingMax {
					t.Fatalf("% x: %+v", in[:n], h)
				}
				again := appendVarint([]byte{byte(h.Type)<<4 | h.Flags}, h.Remaining)
				if len(again) > n || v == V5 && string(again) != string(in[:n]) {
					t.Fatalf("% x is encoded as % x", in[:n], again)
				}
			case !ok && n >= 5:
				t.Fatalf("% x: not enough for a header", in[:n])
			}
		}
	})
}
