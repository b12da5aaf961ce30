package broker

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/store"
)

// Two processes that claim in the same millisecond, after the same epoch, do not claim with
// the same one: or each would take what the other says for its own.
func TestEpochsOfTwoProcessesDiffer(t *testing.T) {
	process := func(n uint32) *Broker {
		return &Broker{backing: backing{durable: &Durable{Everywhere: func(store.Seq, func()) {}, Process: n}}}
	}
	now := time.UnixMilli(1_700_000_000_000)
	seen := make(map[uint64]bool)
	for n := range uint32(3) {
		b := process(n)
		for _, after := range []uint64{0, 1, process(1).epochAfter(0, now), process(2).epochAfter(0, now.Add(time.Hour))} {
			e := b.epochAfter(after, now)
			if e <= after {
				t.Errorf("process %d: %d comes after %d", n, e, after)
			}
			if after == 0 && seen[e] {
				t.Errorf("process %d has the epoch of another", n)
			}
			if after == 0 {
				seen[e] = true
			}
		}
	}
}
