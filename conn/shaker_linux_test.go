package conn

import (
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/internal/cores"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// The first thread of a process never ends while the process is there: it stays with the goroutine that runs the tests.
func init() { runtime.LockOSThread() }

// niceOf is the nice value of the thread that calls. The system call says 20 less it, so that none is negative.
func niceOf(t *testing.T) int {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Error(err)
	}
	return 20 - n
}

// shakersOf is how many threads of handshakes an engine has.
func shakersOf(e Engine) int {
	if e, ok := e.(*Epoll); ok {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.shakers)
	}
	return 0
}

// served has it that clients are served from now on: handshakes that begin compute on threads of their own.
func (r *rig) served() { r.server.served.Store(math.MaxInt64 / 2) }

// bothWays plays a test with handshakes on threads of their own and, where nobody is served, on the loops.
func bothWays(t *testing.T, play func(t *testing.T, r *rig)) {
	for _, served := range []bool{false, true} {
		t.Run(fmt.Sprintf("served_%t", served), func(t *testing.T) {
			r := newRealRig(t, testCertificate(t))
			if served {
				r.served()
			}
			play(t, r)
			if n := shakersOf(r.server.engine); (n > 0) != served {
				t.Errorf("%d threads have computed handshakes", n)
			}
		})
	}
}

// hellos are clients who say ClientHello and then nothing.
func (r *rig) hellos(n int) (all []net.Conn) {
	r.t.Helper()
	hello := r.clientHello()
	for range n {
		nc := r.knock()
		if _, err := nc.Write(hello); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, nc)
	}
	return all
}

// While somebody is served handshakes compute on threads of their own that come after all others, as many as there are processors, and these
// threads end with the engine: nobody else has one of them ever. With the race detector they are goroutines for which these threads wait.
func TestHandshakesComputeBehind(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	r.served()
	var mu sync.Mutex
	threads := map[int]int{} // nice values, by thread
	r.server.listeners[0].TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		threads[unix.Gettid()] = niceOf(t)
		return nil, nil
	}
	r.onLoops(func(*Loop) {}) // they know of it
	var wait sync.WaitGroup
	for range 40 {
		wait.Go(func() { // tls.Dial, so that many are under way at once
			nc, err := tls.Dial("tcp", r.real.socket.Addr().String(), r.real.tls)
			if err != nil {
				t.Error(err)
				return
			}
			_ = nc.Close()
		})
	}
	wait.Wait()
	ours := make(chan int, 1)
	r.server.loops[0].inbox.post(event{kind: evCall, fn: func(*Loop) { ours <- niceOf(t) }})
	of := <-ours
	mu.Lock()
	defer mu.Unlock()
	if testkit.Watched() {
		r.close()
		return
	}
	if len(threads) == 0 || len(threads) > cores.Count() {
		t.Errorf("handshakes had %d threads, there are %d processors", len(threads), cores.Count())
	}
	for id, nice := range threads {
		if nice <= of && of < 19 {
			t.Errorf("thread %d has nice value %d, the loops' is %d", id, nice, of)
		}
	}
	r.close()
	for id := range threads {
		for deadline := time.Now().Add(patience); ; runtime.Gosched() {
			if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(id)); err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("thread %d is there still", id)
			}
		}
	}
}

// Handshakes that rest have no thread and no goroutine that the runtime would run, and hold up nobody: while a hundred wait
// for their clients others are let in, and all of them end with the engine.
func TestHandshakesThatRestHoldUpNobody(t *testing.T) { bothWays(t, handshakesThatRest) }

func handshakesThatRest(t *testing.T, r *rig) {
	stalled := r.hellos(100)
	r.becomes("handshakes under way", 100, r.counted(metrics.Handshakes))
	r.becomes("who computes", 0, r.server.listeners[0].Door.Computing)
	for i := range 5 {
		r.connect(mqtt.V5, "alice/"+strconv.Itoa(i)).silent()
	}
	for _, nc := range stalled[:50] { // who leaves ends his own
		_ = nc.Close()
	}
	r.becomes("handshakes under way", 50, r.counted(metrics.Handshakes))
	r.close()
	if n := r.metrics.Value(metrics.Handshakes); n != 0 {
		t.Errorf("%d handshakes are left", n)
	}
	if n := r.server.listeners[0].Door.Computing(); n != 0 {
		t.Errorf("%d turns were not given back", n)
	}
}

// A handshake may be ended at any moment: while it stands in the queue for a turn, while it computes, while it rests, and just as it
// was dealt one. Each ends once, and its turn is given back.
func TestHandshakesEndAtAnyMoment(t *testing.T) { bothWays(t, handshakesThatEnd) }

func handshakesThatEnd(t *testing.T, r *rig) {
	for round := range 8 {
		stalled := r.hellos(10)
		for range round % 5 {
			runtime.Gosched()
		}
		r.onLoops(func(l *Loop) {
			for _, c := range l.conns {
				if c != nil && c.stage == shaking {
					h := c.sock.(*fdSocket).shake()
					h.abort()
					h.signal() // late: it must not have a turn any more
				}
			}
		})
		for _, nc := range stalled {
			_ = nc.Close()
		}
		r.becomes("handshakes under way", 0, r.counted(metrics.Handshakes))
	}
	r.becomes("turns", 0, r.server.listeners[0].Door.Computing)
	r.connect(mqtt.V5, "alice/next").silent()
}

// A handshake that computes for long holds up those that have their turns on its thread, and others have theirs elsewhere, however many
// rest there.
func TestAHandshakeGoesWhereNobodyComputes(t *testing.T) {
	if cores.Count() < 2 {
		t.Log("there is one processor, and so one thread")
		return
	}
	r := newRealRig(t, testCertificate(t))
	r.served()
	r.limits(listener.DoorLimits{ConnectionsTotal: 500, UnauthenticatedTotal: 500, HandshakesTotal: 500, ConnectDeadline: 10 * time.Second, ShakeCPU: 100})
	begun, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	r.server.listeners[0].TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "slow" {
			close(begun)
			<-held
		}
		return nil, nil
	}
	r.onLoops(func(*Loop) {}) // they know of it
	rest := func() net.Conn {
		nc := r.hellos(1)[0]
		if _, err := nc.Read(make([]byte, 1)); err != nil { // it has been answered
			t.Fatal(err)
		}
		return nc
	}
	first := rest()
	rest()
	_ = first.Close() // now as many rest on one thread as will on the other
	r.becomes("handshakes", 1, r.counted(metrics.Handshakes))
	slow := tls.Client(r.bare(), &tls.Config{ServerName: "slow", RootCAs: r.real.tls.RootCAs})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = slow.Handshake()
		_ = slow.Close()
	}()
	<-begun
	for i := range 4 {
		r.connect(mqtt.V5, "alice/"+strconv.Itoa(i)).silent()
	}
	release()
	<-done
}

// A handshake stays where it began: on its loop, if nobody was served then, also when somebody is served meanwhile. Those that begin
// afterwards have a thread.
func TestAHandshakeStaysWhereItBegan(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	var mu sync.Mutex
	var at []*shaker // of each call
	r.server.listeners[0].TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		GiveWay(hello.Conn)
		mu.Lock()
		defer mu.Unlock()
		at = append(at, hello.Conn.(*tlsWire).before.(*handshake).by.Load())
		return nil, nil
	}
	r.onLoops(func(*Loop) {}) // they know of it
	stalled := r.hellos(20)
	for _, nc := range stalled {
		if _, err := nc.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	r.served()
	for _, nc := range stalled {
		_, _ = nc.Write([]byte{22, 3, 3, 0, 1, 0}) // no Finished: it fails where it is
	}
	r.becomes("handshakes under way", 0, r.counted(metrics.Handshakes))
	if n := shakersOf(r.server.engine); n != 0 {
		t.Errorf("%d threads were begun for handshakes that are the loops'", n)
	}
	r.connect(mqtt.V5, "alice/next").silent()
	mu.Lock()
	defer mu.Unlock()
	for i, k := range at {
		if (k.loop != nil) != (i < len(stalled)) {
			t.Errorf("handshake %d of %d was on a thread: %t", i, len(at), k.loop == nil)
		}
	}
	if len(at) != len(stalled)+1 || shakersOf(r.server.engine) != 1 {
		t.Errorf("%d handshakes, %d threads", len(at), shakersOf(r.server.engine))
	}
}

// Handshakes that are a loop's have a part of its turn while somebody is served, one at least, and a millisecond otherwise; who is left has his in the next.
func TestALoopsHandshakesHaveAPartOfItsTurn(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	r.onLoops(func(l *Loop) {
		p, ok := l.poll.(*epoller)
		if !ok || l.id != 0 {
			return
		}
		k := &p.own
		many := func(n int) {
			for range n {
				k.push(&handshake{over: true}) // nothing is left of it
			}
		}
		many(3)
		l.last, l.begun, l.room = l.now, l.server.clock.Now().Add(-time.Hour), strangersTime
		p.shake()
		if n := len(k.ready) - k.taken; n != 2 || !l.again {
			t.Errorf("%d of 3 are left, another turn: %t", n, l.again)
		}
		if p.own.resting.IsZero() {
			t.Error("it does not rest from its handshakes while somebody is served")
		}
		p.own.resting, l.again = l.server.clock.Now().Add(time.Hour), false
		if p.shake(); len(k.ready)-k.taken != 2 || l.again {
			t.Errorf("it rests: %d of 2 are left, another turn: %t", len(k.ready)-k.taken, l.again)
		}
		l.last, l.again = time.Time{}, false
		p.shake()
		if n := len(k.ready) - k.taken; n != 1 || !l.again {
			t.Errorf("nobody is served: %d of 2 are left, another turn: %t", n, l.again)
		}
		l.begun = l.server.clock.Now().Add(time.Hour)
		many(2 * shakerRoom)
		p.shake()
		for range 10 * shakerRoom { // there is always another one
			many(2)
			k.next()
		}
		if n := len(k.ready) - k.taken; n != 10*shakerRoom || k.taken > n {
			t.Errorf("%d are there, %d are gone and take room", n, k.taken)
		}
		p.shake()
		if k.next() != nil || cap(k.ready) > shakerRoom {
			t.Errorf("%d are left, there is room for %d", len(k.ready)-k.taken, cap(k.ready))
		}
	})
}
