package conn

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// onRealSockets runs f on each engine with sockets of this system.
func onRealSockets(t *testing.T, f func(r *rig)) {
	t.Run("portable", func(t *testing.T) {
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{t: t, clock: clock.NewManual(time.Unix(1_800_000_000, 0)), real: &realSockets{socket: socket}}
		t.Cleanup(r.real.wait.Wait)
		r.start(NewPortable, r.clock, socket, nil, nil)
		f(r)
	})
	t.Run("native", func(t *testing.T) { f(newRealRig(t, nil)) })
}

// at has new connections come to this socket.
func (r *rig) at(socket net.Listener) {
	r.proxy = func() net.Conn {
		nc, err := net.Dial("tcp", socket.Addr().String())
		if err != nil {
			r.t.Fatal(err)
		}
		return nc
	}
}

// A listener gets sockets and loses others while it runs, over and over; its clients do not
// notice.
func TestSocketsComeAndGo(t *testing.T) {
	onRealSockets(t, func(r *rig) {
		check := r.bystander()
		l, old := r.server.listeners[0], r.real.socket
		for i := range 5 {
			socket, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			opening, err := r.server.Ready(l, []net.Listener{socket})
			if err != nil {
				t.Fatal(err)
			}
			opening.Open()
			r.at(old)
			r.connect(mqtt.V5, "alice/old").subscribe("open/#", 0)
			r.at(socket)
			r.connect(mqtt.V5, "alice/new").subscribe("open/#", 0)
			r.server.Unserve([]net.Listener{old})
			_ = old.Close()
			r.settle()
			r.becomes("who still listens where nobody should", 0, func() int64 {
				nc, err := net.Dial("tcp", old.Addr().String())
				if errors.Is(err, syscall.ECONNREFUSED) {
					return 0
				}
				_ = nc.Close()
				return 1
			})
			r.at(socket)
			r.connect(mqtt.V5, "alice/after"+string(rune('a'+i)))
			check()
			old = socket
		}
		l.Sockets = []net.Listener{old} // so that the end closes it
	})
}

// Who is connected to a listener that is removed is told, and nobody gets in any more.
func TestDismissedClients(t *testing.T) {
	play(t, func(r *rig) {
		v5, v3 := r.connect(mqtt.V5, "alice/five"), r.connect(mqtt.V311, "alice/three")
		half := r.dial(mqtt.V5, "half")
		r.becomes("connections", 3, r.connections)
		r.server.Empty(r.server.listeners[0])
		v5.closed(mqtt.AdministrativeAction)
		v3.closed(noPacket)
		half.closed(noPacket)
		r.becomes("connections", 0, r.connections)
		r.connect(mqtt.V5, "alice/again")
		l := r.server.listeners[0]
		r.server.Dismiss(l)
		r.becomes("connections", 0, r.connections)
		if _, ack := r.tryConnect(mqtt.V5, "alice/late"); ack.Reason != mqtt.ServerUnavailable {
			t.Errorf("a listener that was removed answers %v", ack.Reason)
		}
		r.becomes("closed by an operator", 4, r.counted(metrics.ConnectionsClosedKicked))
		l.Close()
	})
}
