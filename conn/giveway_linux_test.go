package conn

import (
	"crypto/tls"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Handshakes offer the processor where loops that wake up have to wait for them, while clients are served.
func TestHandshakesGiveWay(t *testing.T) {
	for _, short := range []bool{false, true} {
		r := newRealRig(t, testCertificate(t), func(r *rig) { r.short = short })
		r.pass(time.Second)
		for _, c := range []struct {
			served time.Duration // ago
			want   bool
		}{{time.Hour, false}, {0, !short}, {servingFor + time.Millisecond, false}} {
			r.server.served.Store(max(0, int64(r.server.instant(r.now().Add(-c.served)))))
			if got := r.server.givesWay(r.now()); got != c.want {
				t.Errorf("short slices: %t, clients were served %s ago: gives way: %t", short, c.served, got)
			}
			client := r.connection()
			if err := client.(*tls.Conn).Handshake(); err != nil { // works in any case
				t.Error(err)
			}
			_ = client.Close()
		}
	}
}

// crowd keeps more goroutines ready to run than the runtime has places.
func crowd(t *testing.T) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					runtime.Gosched()
				}
			}
		})
	}
	t.Cleanup(func() { close(over); wg.Wait() })
}

// A loop sees that goroutines wait for a place of the runtime.
func TestALoopSeesWhoWaits(t *testing.T) {
	crowd(t)
	var q runnable
	for range 1000 {
		if q.waiting() > 0 {
			return
		}
	}
	t.Error("nobody waits, it says")
}

// Where the runtime has a place to spare, a loop does not offer its own to handshakes: who takes it keeps it for a while.
func TestALoopKeepsItsPlace(t *testing.T) {
	crowd(t)
	for _, spare := range []bool{false, true} {
		r := newRealRig(t, nil, func(r *rig) { r.spare = spare })
		yielded := make(chan bool)
		l := r.server.loops[0]
		l.inbox.post(event{kind: evCall, fn: func(l *Loop) {
			l.yielded = l.now.Add(-yieldEvery / 2) // not long ago
			l.shaking++
			l.inbox.post(event{kind: evCall, fn: func(l *Loop) { // in the next turn
				l.shaking--
				yielded <- l.now.Sub(l.yielded) < yieldEvery/2
			}})
		}})
		if got := <-yielded; got == spare {
			t.Errorf("a place to spare: %t, the loop has offered its own: %t", spare, got)
		}
	}
}
