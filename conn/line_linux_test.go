package conn

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// A network that begins more handshakes than it may stands in line and costs nothing
// meanwhile; beyond the line it is closed; another network does not notice.
func TestHandshakesOfOneNetworkStandInLine(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	r.limits(listener.DoorLimits{ConnectionsTotal: 500, UnauthenticatedTotal: 500, HandshakesTotal: 500, ConnectDeadline: 10 * time.Second, ShakeRatePerPrefix: map[string]int{"/24": 2}})
	hello := r.clientHello()
	var crowd []net.Conn
	total := int64(0)
	begun, refused := r.counted(metrics.HandshakesDelayed), r.counted(metrics.HandshakesFailedRate)
	for i := range 14 { // two at once, and ten within half of the ten seconds there are
		nc := r.knockFrom(fmt.Sprintf("127.0.1.%d", 1+i))
		if _, err := nc.Write(hello); err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, nc)
		r.becomes("in line", int64(min(10, max(0, i-1))), begun)
		r.becomes("closed", int64(max(0, i-11)), refused)
	}
	r.becomes("handshakes that have begun", 2, func() int64 { total += answered(crowd); return total })
	r.onLoops(func(l *Loop) {
		for _, c := range l.conns {
			if c != nil && c.stage == greeting {
				if s := c.sock.(*fdSocket); s.cover != nil || c.place.WaitsForUs() {
					t.Error("something was made for one that stands in line")
				}
			}
		}
	})
	r.calm(crowd[5])
	if err := r.enters(r.knockFrom("127.0.9.1"), "neighbour"); err != nil {
		t.Errorf("a client of another network: %v", err)
	}
	_ = crowd[11].Close() // who leaves the line is noticed, or found gone when its turn comes
	r.pass(time.Second)
	r.becomes("handshakes that have begun a second later", 4, func() int64 { total += answered(crowd); return total })
	r.pass(5 * time.Second)
	r.becomes("handshakes that have begun in the end", 11, func() int64 { total += answered(crowd); return total })
	check()
}

// answered is how many have heard something new.
func answered(all []net.Conn) (n int64) {
	for _, nc := range all {
		_ = nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if k, _ := nc.Read(make([]byte, 64<<10)); k > 0 {
			n++
		}
	}
	return n
}
