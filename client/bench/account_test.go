package bench

import (
	"math/rand/v2"
	"testing"
	"time"
)

// What is read from a Hist is off by less than one part in a hundred, whatever the value.
func TestHistIsRightToOnePercent(t *testing.T) {
	for v := int64(1); v < 1<<41; v = v*9/8 + 1 {
		var h Hist
		h.Add(v)
		h.max = 1 << 62 // which would mend it
		got := int64(h.Quantile(.5))
		if off := float64(got-v) / float64(v); off > .01 || off < -.01 {
			t.Fatalf("%d ns are read as %d: off by %.2f %%", v, got, off*100)
		}
	}
}

func TestHistQuantiles(t *testing.T) {
	var h Hist
	for i := range 1000 {
		h.Add(int64(i+1) * int64(time.Microsecond))
	}
	h.Add(-5)
	h.Add(1 << 60) // longer than any place: it counts as the longest, and max tells
	for q, want := range map[float64]time.Duration{.5: 500 * time.Microsecond, .9: 900 * time.Microsecond, .99: 990 * time.Microsecond} {
		if got := h.Quantile(q); got < want*98/100 || got > want*102/100 {
			t.Errorf("p%g is %s, want about %s", q*100, got, want)
		}
	}
	l := h.Latency()
	if l.Count != 1002 || l.Max != millis(1<<60) {
		t.Errorf("count %d and max %g", l.Count, l.Max)
	}
	if (&Hist{}).Latency() != nil {
		t.Error("nothing counted has a latency")
	}
}

func TestStampComesBack(t *testing.T) {
	b := make([]byte, StampBytes)
	at := time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC).UnixNano()
	for _, want := range []stamp{{}, {run: idMask, publisher: idMask, seq: 1<<32 - 1, tick: tickMask}, {run: 0x123456, publisher: 77, seq: 5, tick: tickOf(at)}} {
		want.put(b)
		if got, ok := readStamp(b); !ok || got != want {
			t.Errorf("%+v came back as %+v", want, got)
		}
	}
	if _, ok := readStamp(b[:StampBytes-1]); ok {
		t.Error("a payload that is too short has a stamp")
	}
	for _, d := range []int64{0, 1000, 12_345_600, int64(time.Hour), -500_000} {
		if got := since(tickOf(at), at+d); got < d-tickNanos || got > d+tickNanos {
			t.Errorf("%d ns are read as %d", d, got)
		}
	}
	// Where the ticks come round.
	if got := since(tickMask, 0); got != tickNanos {
		t.Errorf("across the turn: %d", got)
	}
}

// stream agrees with a set of all that was seen, as long as nothing comes later than its window.
func TestStreamAgreesWithASet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var s stream
		base := uint32(0)
		if round%2 == 1 {
			base = r.Uint32N(1 << 20)
			s.begin(base)
		}
		seen := make(map[uint32]bool)
		top := base
		for range 3000 {
			var seq uint32
			switch r.IntN(10) {
			case 0: // something older
				seq = top - min(r.Uint32N(streamWindow), top-base)
			case 1: // a gap
				seq = top + r.Uint32N(uint32(1+round*20))
			default:
				seq = top + 1
			}
			want := fresh
			switch {
			case seen[seq]:
				want = twice
			case len(seen) > 0 && seq < top:
				want = late
			}
			if got := s.saw(seq); got != want {
				t.Fatalf("round %d: %d after %d is %d, want %d", round, seq, top, got, want)
			}
			seen[seq] = true
			top = max(top, seq)
		}
		if s.distinct != uint64(len(seen)) {
			t.Fatalf("round %d: %d distinct, want %d", round, s.distinct, len(seen))
		}
		if want := uint64(top-base+1) - uint64(len(seen)); s.missing() != want {
			t.Fatalf("round %d: %d missing, want %d", round, s.missing(), want)
		}
	}
}

// What is older than the window is a copy, unless something of that age is missing.
func TestStreamBeyondItsWindow(t *testing.T) {
	var s stream
	for i := range uint32(5000) {
		if i != 7 && i != 4990 {
			s.saw(i)
		}
	}
	if s.holes != 1 {
		t.Fatalf("%d holes left the window, want 1", s.holes)
	}
	if got := s.saw(7); got != late {
		t.Errorf("the one that was missing is %d", got)
	}
	if got := s.saw(8); got != twice {
		t.Errorf("with nothing missing, an old one is %d", got)
	}
	if got := s.missing(); got != 1 {
		t.Errorf("%d missing, want the one within the window", got)
	}
	s.saw(100_000) // everything between is missing
	if want := uint64(100_001 - 5000); s.missing() != want {
		t.Errorf("%d missing after a jump, want %d", s.missing(), want)
	}
	if got, want := uint64(s.holes), s.missing()-(streamWindow-1); got != want {
		t.Errorf("%d holes beyond the window, want %d", got, want)
	}
}

// Identifiers are taken once until they are done with.
func TestIdentifiersOfAWindow(t *testing.T) {
	ids := newIDs(3)
	a, b, c := ids.take(10, 0), ids.take(11, 0), ids.take(12, 0)
	if a == b || b == c || a == c || a == 0 || b == 0 || c == 0 || len(ids.free) != 0 || ids.under() != 3 {
		t.Fatalf("%d %d %d, %d free", a, b, c, len(ids.free))
	}
	for _, id := range []uint16{0, 4, 65535} {
		if ids.find(id) != nil {
			t.Errorf("%d was never sent, and is found", id)
		}
	}
	if f := ids.find(b); f == nil || f.seq != 11 {
		t.Errorf("%d is %+v", b, f)
	}
	ids.done(b)
	if ids.find(b) != nil || ids.under() != 2 {
		t.Error("what is done is still there")
	}
}
