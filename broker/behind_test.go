package broker

import (
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
)

// TestAFrameForManyCountsOnce: what waits counts as what it takes: a large message for many is
// in memory once. Otherwise one client that sends some megabytes to a hundred shuts out what all
// others say to those of that loop, and at QoS 0 it is lost (A087).
func TestAFrameForManyCountsOnce(t *testing.T) {
	d := newDesk(t, 2)
	h := d.homes[0]
	large, small := mqtt.NewFrame([]byte("t"), nil, make([]byte, 1<<20)), mqtt.NewFrame([]byte("t"), nil, nil)
	l := &h.lanes
	many := want{broad: true, qos: 1}
	for slot := range 100 {
		l.add(router.Ref{Home: 1, Slot: uint32(slot)}, large, many)
	}
	l.add(router.Ref{Home: 1, Slot: 100}, small, want{})
	l.add(router.Ref{Home: 1, Slot: 101}, large, many)
	b := l.to[1].batch
	if want := 102*forwardCost + 2*large.Size() + small.Size(); b.Bytes() != want {
		t.Errorf("%d bytes, want %d", b.Bytes(), want)
	}
	h.shed(b) // what was between two of the same is gone
	if want := 101*forwardCost + large.Size(); b.Bytes() != want {
		t.Errorf("%d bytes without what was shed, want %d", b.Bytes(), want)
	}

	var rest behind
	rest.taken = behindPerTurn
	for i := range b.items {
		if !rest.takes(&b.items[i]) {
			t.Fatal("it did not wait: the test proves nothing")
		}
	}
	if rest.bytes != b.Bytes() {
		t.Errorf("%d bytes wait, want %d", rest.bytes, b.Bytes())
	}
	for n := len(b.items) - 1; n >= 0; n-- {
		rest.next()
		if want := min(n, 1)*large.Size() + n*forwardCost; rest.bytes != want {
			t.Fatalf("%d bytes for %d that wait, want %d", rest.bytes, n, want)
		}
	}
}
