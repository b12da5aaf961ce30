package conn

import (
	"crypto/tls"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scheduled is how the kernel schedules the calling thread.
func scheduled(t *testing.T) unix.SchedAttr {
	t.Helper()
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return *a
}

// aside runs f on a thread that ends with it.
func aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// hasSlices tells whether the kernel remembers the slice of a thread (Linux 6.12).
func hasSlices(t *testing.T) (has bool) {
	const some = 10 * time.Millisecond
	aside(func() {
		a := scheduled(t)
		a.Runtime = uint64(some)
		has = unix.SchedSetAttr(0, &a, 0) == nil && scheduled(t).Runtime == uint64(some)
	})
	return has
}

// A loop has a thread of its own with the shortest slice there is, if the runtime has a place to spare; otherwise its thread is
// like any other. A kernel that knows no slices gets none, and handshakes offer the processor there.
func TestALoopComesFirst(t *testing.T) {
	var usual uint64
	aside(func() { usual = scheduled(t).Runtime })
	for _, spare := range []bool{false, true} {
		r := newRealRig(t, nil, func(r *rig) { r.spare = spare })
		of := make(chan unix.SchedAttr)
		for range 2 { // it stays so
			r.server.loops[0].inbox.post(event{kind: evCall, fn: func(*Loop) { of <- scheduled(t) }})
			want := usual
			if spare && hasSlices(t) {
				want = uint64(loopSlice)
			}
			if a := <-of; a.Runtime != want || a.Policy != unix.SCHED_NORMAL {
				t.Errorf("a place to spare: %t: %+v, want a slice of %d ns", spare, a, want)
			}
		}
		if first := r.server.first.Load(); first != (spare && hasSlices(t)) {
			t.Errorf("a place to spare: %t, the kernel has slices: %t, loops come first: %t", spare, hasSlices(t), first)
		}
	}
}

// Who is scheduled in another way, or with a slice as short, because somebody wants it so, stays as it is.
func TestALoopLeavesAPolicyAlone(t *testing.T) {
	aside(func() {
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH}, 0); err != nil {
			t.Error(err)
			return
		}
		before := scheduled(t)
		if got := shorten(); got || scheduled(t) != before {
			t.Errorf("%t, %+v; it was %+v", got, scheduled(t), before)
		}
	})
	aside(func() {
		a := scheduled(t)
		if a.Runtime = uint64(loopSlice); unix.SchedSetAttr(0, &a, 0) != nil || scheduled(t).Runtime != a.Runtime {
			return // no slices
		}
		if got := shorten(); !got || scheduled(t) != a {
			t.Errorf("%t, %+v; it was %+v", got, scheduled(t), a)
		}
	})
}

// Handshakes offer the processor where loops do not come first, while clients are served.
func TestHandshakesGiveWay(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	r.pass(time.Second)
	for _, c := range []struct {
		first  bool
		served time.Duration // ago
		want   bool
	}{{false, time.Hour, false}, {false, 0, true}, {true, 0, false}, {false, servingFor + time.Millisecond, false}} {
		r.server.first.Store(c.first)
		r.server.served.Store(max(0, int64(r.server.instant(r.now().Add(-c.served)))))
		if got := r.server.givesWay(r.now()); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
		client := r.connection()
		if err := client.(*tls.Conn).Handshake(); err != nil { // works in any case
			t.Error(err)
		}
		_ = client.Close()
	}
}
