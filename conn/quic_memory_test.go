package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// What a connection takes is printed and not judged: both ends are in this process, and it
// is quic-go's.
func TestQUICMemory(t *testing.T) {
	const n = 50
	synctest.Test(t, func(t *testing.T) {
		r := newQUICRig(t)
		before := inUse()
		for i := range n {
			r.connect(mqtt.V5, fmt.Sprint("alice/", i))
		}
		passes(time.Second)
		t.Logf("a connected client, both ends: %d KiB", (inUse()-before)/n>>10)
		before = inUse()
		stop := make(chan struct{})
		conf := r.quic.tls.Clone()
		conf.VerifyConnection = func(tls.ConnectionState) error { <-stop; return errors.New("enough") }
		var dials sync.WaitGroup
		for i := range n {
			h := r.quic.net.host(fmt.Sprintf("203.0.113.%d:4433", i))
			c := &quic.Transport{Conn: h}
			dials.Go(func() {
				_, _ = c.Dial(context.Background(), r.quic.server.addr.Load(), conf, nil)
				_ = c.Close()
				_ = h.Close()
			})
		}
		passes(500 * time.Millisecond)
		t.Logf("a handshake that stands still, %d of them, both ends: %d KiB", r.metrics.Value(metrics.Handshakes), (inUse()-before)/n>>10)
		close(stop)
		dials.Wait()
	})
}

// inUse is the heap and the stacks that are in use, bytes.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
