//go:build !race

package conn

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// TestAllocLargePacketsLeaveNoGarbage: what one client sends, over and over, must not be what the
// collector works for, since the loop of all clients helps it (D-07). With the race detector
// pools lose things.
func TestAllocLargePacketsLeaveNoGarbage(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it empties pools
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))  // each processor has a pool of its own
	l := newDuet(t, 1).server.loops[0]
	set := *l.server.broker.Settings()
	set.PacketBytes, set.UserProperties = 1<<20, 32
	l.server.broker.Apply(&set)
	c, _ := heard(l)
	c.version = mqtt.V5
	packet := large(1 << 20)
	for range 3 {
		inParts(l, c, packet) // the buffers are made
	}
	var before, after runtime.MemStats
	const times = 10
	runtime.ReadMemStats(&before)
	for range times {
		inParts(l, c, packet)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 64<<10 {
		t.Errorf("a packet of %d bytes leaves %d bytes of garbage", len(packet), each)
	}
	if c.stage != open || c.half.rest() != nil {
		t.Errorf("stage %d, %d bytes left: it was not taken", c.stage, len(c.half.rest()))
	}
}

// TestAllocPublishes: a PUBLISH is looked at without garbage, until somebody wants it.
func TestAllocPublishes(t *testing.T) {
	l := newDuet(t, 1).server.loops[0]
	c, _ := heard(l)
	c.version = mqtt.V311
	var packets []byte
	for range 10 {
		p := mqtt.Publish{Topic: []byte("a/b"), Payload: make([]byte, 100)}
		packets = p.Append(packets, mqtt.V311)
	}
	if n := testing.AllocsPerRun(100, func() { l.input(c, packets) }); n != 0 {
		t.Errorf("%v allocations for ten packets, want none", n)
	}
	if c.stage != open || c.half.rest() != nil {
		t.Errorf("stage %d, %d bytes left: they were not taken", c.stage, len(c.half.rest()))
	}
}

// TestAllocRooms: a large PUBLISH comes and goes in memory that is used again.
func TestAllocRooms(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l := newDuet(t, 1).server.loops[0]
	c, _ := heard(l)
	c.version = mqtt.V311
	p := mqtt.Publish{Topic: []byte("a/b"), Payload: make([]byte, 64<<10)}
	packet := p.Append(nil, mqtt.V311)
	if n := testing.AllocsPerRun(100, func() {
		l.input(c, packet[:40_000])
		if c.half.room == nil {
			t.Fatal("no room after half of it")
		}
		copy(l.ahead(c), packet[40_000:])
		l.direct(c, len(packet)-40_000, nil)
	}); n > 1 {
		t.Errorf("%v allocations for a packet in a room, want what is known of half a packet", n)
	}
	if c.stage != open || c.half != nil {
		t.Errorf("stage %d: it was not taken", c.stage)
	}
}
