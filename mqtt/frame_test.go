package mqtt

import (
	"bytes"
	"reflect"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func genHead(t *rapid.T) *PublishHead {
	h := &PublishHead{
		Version: genVersion.Draw(t, "version"), QoS: genQoS.Draw(t, "qos"),
		Dup: genBool.Draw(t, "dup"), Retain: genBool.Draw(t, "retain"),
		PacketID:        genID.Draw(t, "id"),
		SubscriptionIDs: rapid.SliceOfN(rapid.Uint32Range(1, SubscriptionIDMax), 0, 40).Draw(t, "subscription ids"),
		Expiry:          genUint32.Draw(t, "expiry"), HasExpiry: genBool.Draw(t, "has expiry"),
		AliasOnly: genBool.Draw(t, "alias only"),
	}
	if genBool.Draw(t, "has alias") {
		h.TopicAlias = genID.Draw(t, "alias")
	}
	return h
}

// plain is the PUBLISH that a delivery means, for the encoder that shares nothing.
func plain(f *Frame, h *PublishHead) *Publish {
	p := &Publish{
		Topic: f.Topic()[h.TopicSkip:], Payload: f.Payload(), Props: f.Props(), PacketID: h.PacketID,
		TopicAlias: h.TopicAlias, HasTopicAlias: h.TopicAlias != 0,
		MessageExpiry: h.Expiry, HasMessageExpiry: h.HasExpiry,
		SubscriptionIDs: h.SubscriptionIDs, QoS: h.QoS, Dup: h.Dup, Retain: h.Retain,
	}
	if h.AliasOnly && h.TopicAlias != 0 && h.Version == V5 {
		p.Topic = nil
	}
	return p
}

// TestFrameWire compares the shared encoding, cut into pieces of any size, with
// the plain one.
func TestFrameWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := NewFrame([]byte(genFull.Draw(t, "topic")), genMessageProps(t), genBytes.Draw(t, "payload"))
		defer f.Release()
		h := genHead(t)
		if n := len(f.Topic()); n > 1 && genBool.Draw(t, "mounted") {
			h.TopicSkip = uint16(rapid.IntRange(1, n-1).Draw(t, "mountpoint"))
		}
		want := plain(f, h).Append(nil, h.Version)
		if n := f.WireSize(h); n != len(want) {
			t.Fatalf("wire size %d, want %d", n, len(want))
		}
		piece := rapid.IntRange(1, len(want)+3).Draw(t, "piece")
		got := []byte("before")
		for off := 0; off < len(want); off += piece {
			n := len(got)
			got = f.AppendWire(got, h, off, piece)
			if len(got)-n != min(piece, len(want)-off) {
				t.Fatalf("piece of %d bytes at %d, want %d", len(got)-n, off, piece)
			}
		}
		if string(got) != "before"+string(want) {
			t.Fatalf("\ngot  % x\nwant % x", got, want)
		}
		if more := f.AppendWire(nil, h, len(want), 10); len(more) != 0 {
			t.Fatalf("% x behind the end", more)
		}
	})
}

// TestFrameLeavesPerHopPropertiesOut gives a frame what a decoder found and wants
// back what belongs to the message, in its order.
func TestFrameLeavesPerHopPropertiesOut(t *testing.T) {
	user := []byte{propUserProperty, 0, 1, 'k', 0, 1, 'v'}
	format := []byte{propPayloadFormat, 1}
	raw := bytes.Join([][]byte{
		{propMessageExpiry, 0, 0, 0, 9}, user, {propTopicAlias, 0, 3}, format, user,
		{propSubscriptionID, 0xff, 0x7f}, {propSubscriptionID, 1},
	}, nil)
	f := NewFrame([]byte("a/b"), raw, []byte("x"))
	defer f.Release()
	if want := bytes.Join([][]byte{user, format, user}, nil); !bytes.Equal(f.Props(), want) {
		t.Errorf("got % x, want % x", f.Props(), want)
	}
	if string(f.Topic()) != "a/b" || string(f.Payload()) != "x" {
		t.Errorf("topic %q, payload %q", f.Topic(), f.Payload())
	}
	mustPanic(t, func() { NewFrame([]byte("a"), []byte{propUserProperty, 0, 9}, nil) })
	mustPanic(t, func() { NewFrame([]byte("a"), []byte{0xff}, nil) })
}

// TestFrameIsIndependent changes what a frame was made from, and makes the next
// frame out of the same memory.
func TestFrameIsIndependent(t *testing.T) {
	topic, payload := []byte("topic"), []byte("payload")
	f := NewFrame(topic, nil, payload)
	f.QoS, f.Retain, f.ExpiresAt, f.CreatedAt, f.From, f.Version = 2, true, 1, 2, 3, 4
	topic[0], payload[0] = 'X', 'X'
	if string(f.Topic()) != "topic" || string(f.Payload()) != "payload" {
		t.Error("the frame shares its caller's bytes")
	}
	f.Release()
	for range 10 { // the pool may or may not give the same one back
		g := NewFrame([]byte("t"), nil, nil)
		if g.QoS != 0 || g.Retain || g.ExpiresAt != 0 || g.CreatedAt != 0 || g.From != 0 || g.Version != 0 {
			t.Fatalf("a new frame remembers the one before: %+v", g.From)
		}
		if string(g.Topic()) != "t" || len(g.Payload()) != 0 || len(g.Props()) != 0 {
			t.Fatalf("topic %q, payload %q", g.Topic(), g.Payload())
		}
		g.Release()
	}
}

// TestFrameViewsHaveNoRoom keeps a caller that appends to a view from writing into
// the bytes behind it.
func TestFrameViewsHaveNoRoom(t *testing.T) {
	f := NewFrame([]byte("a"), []byte{propPayloadFormat, 1}, []byte("p"))
	defer f.Release()
	_ = append(f.Topic(), 'X')
	_ = append(f.Props(), 'X')
	_ = append(f.Payload(), 'X')
	if f.Props()[0] != propPayloadFormat || f.Payload()[0] != 'p' || f.buf[:cap(f.buf)][len(f.buf)] == 'X' {
		t.Error("appending to one view changed the next")
	}
}

// TestFrameMisuse wants a loud answer to a reference too many given back.
func TestFrameMisuse(t *testing.T) {
	for _, size := range []int{10, pooledMax + 1} {
		f := NewFrame([]byte("t"), nil, make([]byte, size))
		f.Hold()
		f.Release()
		f.Release()
		mustPanic(t, f.Release)
	}
	// One that no pool has, so that nobody else gets it meanwhile.
	f := NewFrame([]byte("t"), nil, make([]byte, pooledMax+1))
	f.Release()
	mustPanic(t, func() { f.Hold() })
}

// TestFrameTooLargeForTheWire refuses to wrap a length.
func TestFrameTooLargeForTheWire(t *testing.T) {
	f := NewFrame([]byte("t"), nil, nil)
	defer f.Release()
	f.buf = make([]byte, RemainingMax+1) // never written to
	h := &PublishHead{Version: V311}
	if n := f.WireSize(h); n <= PacketMax {
		t.Errorf("wire size %d", n)
	}
	mustPanic(t, func() { f.AppendWire(nil, h, 0, 10) })
	f.buf, f.class = nil, unpooled
}

// TestSizeClasses walks all sizes around all borders: a class holds what is put
// into it, and the next smaller one would not.
func TestSizeClasses(t *testing.T) {
	last := -1
	for n := 1; n <= pooledMax; n++ {
		c := classOf(n)
		if c < 0 || c >= classCount || classBytes(c) < n || c > 0 && classBytes(c-1) >= n {
			t.Fatalf("%d bytes: class %d of %d bytes", n, c, classBytes(c))
		}
		if c != last && c != last+1 {
			t.Fatalf("class %d after %d", c, last)
		}
		last = c
	}
	if last != classCount-1 {
		t.Errorf("last class %d of %d", last, classCount)
	}
	if n := reflect.TypeFor[Frame]().Size(); n > frameBytes {
		t.Errorf("a Frame takes %d bytes, accounted are %d", n, frameBytes)
	}
}

// TestFrameSizeIsStable lets an account be charged and discharged with Size.
func TestFrameSizeIsStable(t *testing.T) {
	f := NewFrame([]byte("topic"), nil, make([]byte, 1000))
	before := f.Size()
	if before < 1000+len("topic") || before > 1500 {
		t.Errorf("size %d for 1005 bytes of message", before)
	}
	f.Hold().Release()
	if f.Size() != before {
		t.Errorf("size %d, then %d", before, f.Size())
	}
	f.Release()
}

// TestFrameShared lets many goroutines hold, read and release; the race detector
// and the reference count are the judges.
func TestFrameShared(t *testing.T) {
	for range 50 {
		f := NewFrame([]byte("t"), nil, []byte("payload"))
		var wg sync.WaitGroup
		for range 8 {
			f.Hold()
			wg.Go(func() {
				h := &PublishHead{Version: V5, QoS: 1, PacketID: 7}
				if got := f.AppendWire(nil, h, 0, 100); !bytes.HasSuffix(got, []byte("payload")) {
					t.Errorf("got %q", got)
				}
				f.Release()
			})
		}
		f.Release()
		wg.Wait()
	}
}
