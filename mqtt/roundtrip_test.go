package mqtt

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRoundTrip encodes what a conforming peer could send and decodes the same
// from it.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, fromServer := genVersion.Draw(t, "version"), genBool.Draw(t, "from server")
		if err := sameAgain(genPacket(t, v, fromServer), v, fromServer); err != nil {
			t.Fatal(err)
		}
	})
}

// TestAppendKeepsWhatIsThere appends behind bytes that must stay as they are.
func TestAppendKeepsWhatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genVersion.Draw(t, "version")
		p := genPacket(t, v, genBool.Draw(t, "from server"))
		alone := p.Append(nil, v, 0)
		both := p.Append([]byte("before"), v, 0)
		if string(both) != "before"+string(alone) {
			t.Fatalf("alone % x, appended % x", alone, both)
		}
	})
}

// TestEveryPrefixWaits gives ReadHeader the stream byte by byte: it must wait
// until the header is whole and then always say the same.
func TestEveryPrefixWaits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, fromServer := genVersion.Draw(t, "version"), genBool.Draw(t, "from server")
		wire := genPacket(t, v, fromServer).Append(nil, v, 0)
		want, ok, err := ReadHeader(wire, v)
		if !ok || err != nil || want.Size+want.Remaining != len(wire) {
			t.Fatalf("% x: %+v %v %v", wire, want, ok, err)
		}
		for n := range wire {
			h, ok, err := ReadHeader(wire[:n], v)
			if err != nil || ok != (n >= want.Size) || ok && h != want {
				t.Fatalf("% x: %+v %v %v", wire[:n], h, ok, err)
			}
		}
	})
}
