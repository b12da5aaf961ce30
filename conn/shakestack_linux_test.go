package conn

import (
	"runtime"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/metrics"
)

// A handshake that rests has a stack of 8 KB once the collector has looked: what its frames take while they wait is
// less than a quarter of the 16 KB that computing it took. With the race detector frames are larger.
func TestAllocStackOfAHandshakeThatRests(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	stacks := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.StackInuse
	}
	const n = 300
	before := stacks()
	stalled := r.hellos(n)
	r.becomes("handshakes under way", n, r.counted(metrics.Handshakes))
	for _, nc := range stalled { // each rests now
		if _, err := nc.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	r.becomes("who computes", 0, r.server.listeners[0].Door.Computing)
	most := int64(10 << 10)
	if testkit.Watched() {
		most = 20 << 10
	}
	if each := int64(stacks()-before) / n; each > most {
		t.Errorf("a stack of %d bytes", each)
	}
}
