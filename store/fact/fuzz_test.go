package fact

import (
	"bytes"
	"runtime/metrics"
	"testing"
)

// fuzz: arbitrary bytes never panic, a length makes no room that the bytes do not
// justify, and what is read is written the same way.
func fuzz(f *testing.F, kind string) {
	for _, v := range vectors(f) {
		if v.kind == kind {
			f.Add(v.body)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := kinds[kind]()
		before := allocated()
		err := got.Decode(b[:len(b):len(b)])
		// An entry of an outbox has 5 bytes and takes 40; the rest is what an error says, a zone
		// that netip keeps, and what else the process does meanwhile. All entries there can be
		// would be 2.5 MiB.
		if n := allocated() - before; n > uint64(16*len(b)+1<<20) {
			t.Fatalf("%d bytes for an input of %d", n, len(b))
		}
		if err != nil {
			return
		}
		if again := got.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x was read and is written %x", b, again)
		}
	})
}

// allocated is all the bytes that were ever allocated; what is small comes late.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func FuzzMessage(f *testing.F)        { fuzz(f, "message") }
func FuzzWill(f *testing.F)           { fuzz(f, "will") }
func FuzzClaim(f *testing.F)          { fuzz(f, "claim") }
func FuzzRelease(f *testing.F)        { fuzz(f, "release") }
func FuzzSubscription(f *testing.F)   { fuzz(f, "subscription") }
func FuzzUnsubscription(f *testing.F) { fuzz(f, "unsubscription") }
func FuzzOutbox(f *testing.F)         { fuzz(f, "outbox") }
func FuzzPacketID(f *testing.F)       { fuzz(f, "packetid") }
func FuzzValue(f *testing.F)          { fuzz(f, "value") }
func FuzzMark(f *testing.F)           { fuzz(f, "mark") }
func FuzzJoin(f *testing.F)           { fuzz(f, "join") }
func FuzzLeave(f *testing.F)          { fuzz(f, "leave") }
func FuzzTake(f *testing.F)           { fuzz(f, "take") }
func FuzzDelay(f *testing.F)          { fuzz(f, "delay") }
func FuzzDelayEnd(f *testing.F)       { fuzz(f, "delayend") }
