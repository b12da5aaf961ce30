package conn

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// knockFrom is a connection from another address of this machine.
func (r *rig) knockFrom(address string) net.Conn {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	nc, err := d.Dial("tcp", r.real.socket.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(3 * patience))
	return nc
}

// accepting lets one loop accept connections, and no other.
func (r *rig) accepting(id int) {
	r.onLoops(func(l *Loop) {
		p := l.poll.(*epoller)
		if p.stop(); l.id == id {
			p.closed = false
			for i := range p.entries {
				p.listen(i)
			}
		}
	})
}

// A loop that has nobody to give up has another loop's stranger make room.
func TestEveryLoopsStrangersMakeRoom(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	r.limits(listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 3, ConnectDeadline: 10 * time.Second})
	r.accepting(0)
	var silent []net.Conn
	for i := range 3 {
		silent = append(silent, r.knock())
		r.becomes("handshakes", int64(i+1), r.counted(metrics.Handshakes))
	}
	r.accepting(1)
	for i, nc := range silent[:2] {
		if err := r.enters(r.knock(), "honest"); err != nil {
			t.Fatalf("an honest client at the other loop: %v", err)
		}
		r.cut(nc, nil)
		r.becomes("evicted", int64(i+1), r.counted(metrics.HandshakesFailedEvicted))
		silent = append(silent, r.knock()) // fills the place the honest one has left
		r.becomes("handshakes", 3, r.counted(metrics.Handshakes))
	}
	r.calm(silent[2])
	check()
}

// A flood from one network evicts itself: the client from another one, who came
// before all of it and is slower, keeps its place (D-01, D-02).
func TestAFloodOfHandshakesEvictsItself(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	r.limits(listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 5, ConnectDeadline: 10 * time.Second})
	hello := r.clientHello()
	slow := r.knockFrom("127.0.9.1")
	paused, goOn := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	r.running(func() {
		result <- r.enters(&firstWrite{Conn: slow, change: func(nc net.Conn, hello []byte) error {
			if _, err := nc.Write(hello[:len(hello)/2]); err != nil {
				return err
			}
			close(paused)
			<-goOn
			_, err := nc.Write(hello[len(hello)/2:])
			return err
		}}, "slow")
	})
	<-paused
	for i := range 40 {
		nc := r.knockFrom(fmt.Sprintf("127.0.1.%d", 1+i))
		if i%2 == 0 { // half of them stall after their ClientHello
			_, _ = nc.Write(hello)
		}
		r.becomes("evicted", int64(max(0, i-3)), r.counted(metrics.ConnectionsClosedEvicted))
	}
	close(goOn)
	if err := <-result; err != nil {
		t.Errorf("the slow client of another network: %v", err)
	}
	check()
}
