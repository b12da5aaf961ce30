package conn

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// ended waits until the other side has closed.
func ended(t *testing.T, nc net.Conn) {
	t.Helper()
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if n, err := nc.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Errorf("it is answered")
	} else if late, ok := err.(net.Error); ok && late.Timeout() {
		t.Error("it is not closed")
	}
}

// pair is two connected descriptors.
func pair(t *testing.T) [2]int {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// closed tells whether the other end of fd is closed, and closes fd.
func closed(t *testing.T, fd int) {
	t.Helper()
	defer unix.Close(fd)
	if n, err := unix.Read(fd, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the descriptor is not closed: %d, %v", n, err)
	}
}

// A bug at the door, in a PROXY header, or in what a connection leaves behind, ends that
// connection alone: it is closed, it is counted, its place is given back, and the loops go on.
func TestABugAtTheDoorEndsOneConnection(t *testing.T) {
	r := newRealRig(t, nil)
	check := r.bystander()
	faults := int64(0)
	open := int64(1)
	fault := func(n int64) {
		t.Helper()
		faults += n
		r.becomes("bugs caught", faults, r.counted(metrics.FaultsRecovered))
		r.becomes("connections", open, r.connections)
		check()
	}
	broken := func(l *listener.Listener) { // and clients come to it
		socket := another(t)
		l.Name, l.Protocol, l.Chain = "broken", "mqtt", "default"
		opening, err := r.server.Ready(l, []net.Listener{socket})
		if err != nil {
			t.Fatal(err)
		}
		opening.Open()
		r.at(socket)
	}
	proxy := &listener.Proxy{Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

	broken(&listener.Listener{}) // without a door
	ended(t, r.bare())
	ended(t, r.bare())
	fault(2)

	l := &listener.Listener{}
	l.Proxy.Store(proxy)
	broken(l)
	ended(t, r.bare())
	fault(1)

	l = &listener.Listener{Door: r.entrance.Door}
	l.Proxy.Store(proxy)
	broken(l)
	half, late := r.bare(), r.bare()
	r.becomes("connections before their headers", 2, func() (n int64) {
		r.onLoops(func(l *Loop) { n += int64(len(l.poll.(*epoller).unnamed)) })
		return n
	})
	r.onLoops(func(l *Loop) {
		for _, u := range l.poll.(*epoller).unnamed {
			u.listener = nil
		}
	})
	_, _ = half.Write([]byte("PROXY TCP4 192.0.2.1 192.0.2.1 1 1\r\n"))
	ended(t, half)
	open = 2 // with late
	fault(1)
	open = 1
	r.pass(time.Minute)
	ended(t, late)
	fault(1)
	if n := r.metrics.Value(metrics.Unauthenticated); n != 0 {
		t.Errorf("%d places were not given back", n)
	}

	for _, way := range []string{"event", "time"} { // of who lingers
		p, first := pair(t), true
		r.onLoops(func(l *Loop) {
			if !first {
				return
			}
			first = false
			e := l.poll.(*epoller)
			if !e.linger(int32(p[0]), nil, listener.Admission{}) {
				t.Error("it does not linger")
			}
			if way == "event" {
				_ = unix.Shutdown(p[1], unix.SHUT_WR)
			}
		})
		if way == "time" {
			r.pass(2 * goodbyeMax)
		}
		fault(1)
		closed(t, p[1])
	}

	p, first := pair(t), true // when it has its place on the loop already
	r.onLoops(func(l *Loop) {
		if first {
			first = false
			e := l.poll.(*epoller)
			l.poll = nil
			e.admit(r.entrance, p[0], netip.MustParseAddrPort("192.0.2.1:1"), l.now, nil)
			l.poll = e
		}
	})
	fault(1)
	r.pass(2 * goodbyeMax)
	closed(t, p[1])

	r.at(r.real.socket)
	r.connect(mqtt.V5, "alice/next").silent()
	check()
	r.ended = true // the rig holds that no bug is caught
	r.server.Shutdown(context.Background())
}
