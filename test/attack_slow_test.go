package test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestSlowAttackRows are the rows about time. Nothing is configured for them: they
// wait for the deadlines as shipped, side by side.
func TestSlowAttackRows(t *testing.T) {
	t.Parallel()
	s := besiege(t, testkit.Options{Repeats: true})
	defer s.report(t)
	t.Run("A078 silent connections cost no processor", func(t *testing.T) { s.silence(t) })
	t.Run("deadlines", func(t *testing.T) {
		for name, row := range map[string]func(*testing.T){
			"A003 and A077 half a CONNECT, and a byte a second": s.halves,
			"A075 half a packet keeps nobody alive":             s.halfAlive,
			"A073 subscribers that do not read":                 s.deaf,
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); row(t) })
		}
	})
}

// silence opens connections that say nothing and looks at what the broker does in
// two seconds. A loop that spins uses all of a core.
func (s *siege) silence(t *testing.T) {
	m := s.mark(t)
	spent, turns := s.effort(t, 2*time.Second)
	var conns []net.Conn
	for _, d := range s.doors {
		n := 800
		if d.web || d.tls != nil { // whose handshakes have a limit of their own, which is not what this is about
			n = 100
		}
		for i := range n {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: source(0, d, i%4)}}
			conn, err := dialer.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", d.port))
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
	}
	with, turnsWith := s.effort(t, 2*time.Second)
	if with > spent+time.Second {
		t.Errorf("with %d silent connections the broker used %v of a core in 2 s, without them %v", len(conns), with, spent)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	s.survived(t, m, fmt.Sprintf("A078 silence: %v CPU in 2 s, before %v; turns %d, %d", with, spent, turnsWith, turns), len(conns), nil, nil)
}

// effort is the processor time the broker used, and the turns its loops made, while
// the bystander was busy for that long.
func (s *siege) effort(t *testing.T, during time.Duration) (used time.Duration, turns int) {
	t.Helper()
	before, from := s.cpu(t), s.counters(t)["redoubt_loop_turns_total"]
	<-time.After(during)
	return s.cpu(t) - before, int(s.counters(t)["redoubt_loop_turns_total"] - from)
}

// cpu is the processor time of the broker so far. The kernel counts in hundredths.
func (s *siege) cpu(t *testing.T) time.Duration {
	t.Helper()
	return processorTime(t, s.pid)
}

// processorTime is what a process has taken, by the kernel's ticks of ten milliseconds.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var ticks int
	for _, field := range strings.Fields(rest)[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// halves holds CONNECTs back, whole but for a byte or a byte at a time: every one
// is closed by the deadline that began when it was accepted.
func (s *siege) halves(t *testing.T) {
	m := s.mark(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var longest time.Duration
	var failed error
	total := 0
	for _, d := range s.doors {
		n := 200
		if d.tls != nil {
			n = 40
		}
		packet := connectOf(mqtt.V5, "half", func(c *mqtt.Connect) { c.Password = []byte(canary) })
		for i := range n {
			total++
			begun := time.Now()
			conn, err := d.dial(source(1+i%2, d, 0))
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer conn.Close()
				if i%2 == 0 {
					_, err = conn.Write(packet[:len(packet)-1])
				} else {
					go drip(conn, packet, time.Second)
				}
				if err == nil {
					_, err = io.ReadAll(conn)
				}
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, os.ErrDeadlineExceeded) {
					failed = err
				}
				longest = max(longest, time.Since(begun))
			})
		}
	}
	wg.Wait()
	if failed != nil {
		t.Error(failed)
	}
	var from []net.IP
	for _, d := range s.doors {
		from = append(from, source(1, d, 0), source(2, d, 0))
	}
	s.survived(t, m, fmt.Sprintf("A003, A077 half CONNECTs, the longest lived %v", longest.Round(100*time.Millisecond)), total,
		closedFor("connect_deadline"), []string{"connection closed before CONNECT"}, from...)
}

// drip writes a byte of b at a time until it may not.
func drip(conn net.Conn, b []byte, every time.Duration) {
	pace := time.NewTicker(every)
	defer pace.Stop()
	for i := range b {
		if _, err := conn.Write(b[i : i+1]); err != nil {
			return
		}
		<-pace.C
	}
}

// halfAlive sends a packet of 64 KiB a byte at a time, more often than the keep
// alive asks for: only whole packets count, so the connection is closed.
func (s *siege) halfAlive(t *testing.T) {
	m := s.mark(t)
	var all []*wire
	for i, d := range s.doors {
		w := s.stranger(t, d, mqtt.V5, source(3, d, 0))
		w.send(connectOf(mqtt.V5, fmt.Sprintf("drip-%d", i), func(c *mqtt.Connect) { c.KeepAlive = 2 }))
		w.want(mqtt.CONNACK)
		p := mqtt.Publish{Topic: []byte("devices/" + other + "/x"), Payload: make([]byte, 64<<10)}
		go drip(w.conn, p.Append(nil, mqtt.V5), 300*time.Millisecond)
		all = append(all, w)
	}
	for _, w := range all {
		w.wantDisconnect(mqtt.KeepAliveTimeout)
	}
	s.survived(t, m, "A075 half a packet, keep alive 2 s", len(all), closedFor("keep_alive_timeout"), nil)
}

// deaf are subscribers at every door with small windows, who never read or read a
// byte a second. Each costs its own queue until its write has not moved for 30 s.
func (s *siege) deaf(t *testing.T) {
	m := s.mark(t)
	var wg sync.WaitGroup
	var all []net.Conn
	n := 0
	topic := "devices/" + other + "/deaf"
	for _, d := range s.doors {
		for _, reads := range []bool{false, true} {
			w := s.stranger(t, d, mqtt.V5, source(4, d, 0))
			w.send(connectOf(mqtt.V5, fmt.Sprintf("deaf-%d", n), func(c *mqtt.Connect) { c.KeepAlive = 300 }))
			w.want(mqtt.CONNACK)
			w.subscribe(topic, 0)
			n++
			raw := rawOf(w.conn)
			if err := raw.SetReadBuffer(1 << 10); err != nil {
				t.Fatal(err)
			}
			if reads {
				wg.Go(func() { sip(raw) })
			}
			all = append(all, raw)
		}
	}
	pub := s.enter(t, s.doors[0], mqtt.V5, source(5, s.doors[0], 0), "loud")
	p := mqtt.Publish{Topic: []byte(topic), QoS: 1, PacketID: 1, Payload: make([]byte, 64<<10)}
	for range 640 { // 40 MiB for each
		pub.send(p.Append(nil, mqtt.V5))
		pub.want(mqtt.PUBACK)
	}
	alive := func() int64 { return int64(s.counters(t)["redoubt_memory_live_bytes"]) }
	before := alive() // what there is was allowed by this collection, or by the one after it
	full := memory(t, s.b)
	live := max(before, alive())
	if !within(2*time.Minute, func() bool {
		return sum(s.counters(t), closedFor("slow_reader"))-sum(m.series, closedFor("slow_reader")) >= float64(n)
	}) {
		t.Error("not all of them are closed")
	}
	for _, c := range all {
		_ = c.Close() // what the kernel still holds for it is read a byte a second, too
	}
	wg.Wait()
	pub.wantAlive()
	_ = pub.conn.Close()
	if dropped := s.counters(t)[`redoubt_messages_dropped_total{reason="queue_full"}`]; dropped == 0 {
		t.Error("no delivery was dropped: they were not slow")
	}
	// Eight queues of at most mqueue_bytes; the messages in them are shared.
	if limit := s.calm.live + 8*16<<20 + heldSlack(); live > limit {
		t.Errorf("%d MiB are alive with eight slow readers, want at most %d", live>>20, limit>>20)
	}
	if limit := s.calm.memory + garbage(live); full > limit {
		t.Errorf("%d MiB with eight slow readers, want at most %d", full>>20, limit>>20)
	}
	s.survived(t, m, fmt.Sprintf("A073 slow readers, %d MiB at most", full>>20), n, closedFor("slow_reader"), []string{"client did not read"}, source(4, s.doors[0], 0))
}

// sip reads a byte a second until the connection ends.
func sip(conn net.Conn) {
	pace := time.NewTicker(time.Second)
	defer pace.Stop()
	for one := make([]byte, 1); ; <-pace.C {
		if _, err := conn.Read(one); err != nil {
			return
		}
	}
}

// rawOf is the socket below TLS and WebSocket.
func rawOf(conn net.Conn) *net.TCPConn {
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			_ = c.SetDeadline(time.Now().Add(math.MaxInt32 * time.Millisecond))
			return c
		case *webConn:
			conn = c.Conn
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		}
	}
}
