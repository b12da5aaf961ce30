package conn

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// A queue that always has something left must not keep room for all it ever sent.
func TestAnOutQueueThatIsNeverEmptyStaysSmall(t *testing.T) {
	var q outQueue
	count := metrics.New().NewShard()
	ping := session.Packet([]byte{0xD0, 0})
	q.push(ping)
	for range 100_000 {
		q.push(ping)
		q.pop()
	}
	if q.empty() || cap(q.items) > 256 {
		t.Errorf("room for %d items, one of them waiting", cap(q.items))
	}
	if b := q.encode(nil, mqtt.V5, time.Unix(0, 0), count); len(b) != 2 || !q.empty() || q.cost != 0 || q.answers != 0 {
		t.Errorf("%d bytes left, cost %d, answers %d", len(b), q.cost, q.answers)
	}
}
