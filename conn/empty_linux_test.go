package conn

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// The clients of a listener are ended a few in each turn of a loop, and who waits for the
// end learns of it after the last.
func TestClientsOfAListenerAreEndedAFewAtATime(t *testing.T) {
	r := newRealRig(t, nil)
	const clients = 2*dismissSome + 2*dismissSome + 20 // of two loops
	for i := range clients {
		r.connect(mqtt.V5, fmt.Sprintf("alice/c%d", i))
	}
	there := func(l *Loop) (n int) {
		for _, c := range l.conns {
			if c != nil && c.stage == open {
				n++
			}
		}
		return n
	}
	var most, sum atomic.Int64
	done := make(chan struct{})
	var left atomic.Int64
	left.Store(2)
	r.onLoops(func(l *Loop) {
		before := there(l)
		l.empty(r.entrance, 0, func() {
			if left.Add(-1) == 0 {
				close(done)
			}
		})
		ended := int64(before - there(l))
		sum.Add(ended)
		most.Store(max(most.Load(), ended))
	})
	if most.Load() != dismissSome || sum.Load() != 2*dismissSome {
		t.Errorf("one turn has ended %d of one loop and %d together, want %d and %d", most.Load(), sum.Load(), dismissSome, 2*dismissSome)
	}
	r.becomes("connections", 0, r.connections)
	<-done
	select {
	case <-r.server.Empty(r.entrance):
	case <-r.server.ended:
		t.Error("the server has ended")
	}
}
