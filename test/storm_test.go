package test

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// stormSources is how many networks the devices of a storm are in.
const stormSources = 64

// storming is a crowd of clients that all come at once to a broker that has just
// started (D-06): no verified password is remembered, and no address is known.
type storming struct {
	*siege
	stop chan struct{} // closed: the clients leave

	mu       sync.Mutex // guards everything below
	back     []time.Duration
	failures map[string]int // attempts that came to nothing, by why
}

// device comes back as devices do: it tries again after pauses that double, up to
// 3.2 s, and stays.
func (f *storming) device(d door, i int, begun, end time.Time) {
	from := net.IPv4(127, 60, byte(i%stormSources), byte(1+i/stormSources))
	for pause := 100 * time.Millisecond; time.Now().Before(end); pause = min(2*pause, 3200*time.Millisecond) {
		conn, why := f.come(d, from, i)
		f.mu.Lock()
		if conn != nil {
			f.back = append(f.back, time.Since(begun))
			f.mu.Unlock()
			<-f.stop
			_ = conn.Close()
			return
		}
		f.failures[why]++
		f.mu.Unlock()
		select {
		case <-f.stop:
			return
		case <-time.After(pause + time.Duration(i%50)*time.Millisecond):
		}
	}
}

func (f *storming) come(d door, from net.IP, i int) (conn net.Conn, why string) {
	conn, err := d.dial(from)
	if err != nil {
		return nil, "not let in at the door"
	}
	w := &wire{conn: conn, in: newReader(conn), v: mqtt.V5}
	_, _ = conn.Write(connectOf(mqtt.V5, fmt.Sprintf("storm-%d", i), func(*mqtt.Connect) {}))
	p, err := w.next()
	switch {
	case err != nil || p.Type != mqtt.CONNACK || len(p.Body) < 2:
		why = "closed before CONNACK"
	case p.Body[1] != 0:
		why = fmt.Sprintf("CONNACK %#x", p.Body[1])
	default:
		return conn, ""
	}
	_ = conn.Close()
	return nil, why
}

// comeBack lets n devices come to each of these doors at once and answers when each was
// back; leave ends them all.
func (s *siege) comeBack(n int, within time.Duration, doors ...door) (f *storming, leave func()) {
	f = &storming{siege: s, stop: make(chan struct{}), failures: make(map[string]int)}
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range n * len(doors) {
		wg.Go(func() { f.device(doors[i%len(doors)], i, begun, begun.Add(within)) })
	}
	until(within, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.back) == n*len(doors)
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.back)
	return f, func() { close(f.stop); wg.Wait() }
}

// quantile is this part of what is sorted.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))]
}

// listenOverflows is how many connections the kernel has dropped because a listen
// queue of this network namespace was full.
func listenOverflows(t testing.TB) (overflows, drops int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for k := range names {
			switch names[k] {
			case "ListenOverflows":
				_, _ = fmt.Sscan(values[k], &overflows)
			case "ListenDrops":
				_, _ = fmt.Sscan(values[k], &drops)
			}
		}
	}
	return overflows, drops
}

// TestReconnectStorm is D-06 as far as it fits into a few seconds beside other tests:
// all devices of 64 sites come at once to a broker that has just started. All get in,
// none for lack of a place, and a client who was there before does not notice. `make
// chaos` has it with thousands, and with figures that are judged.
func TestReconnectStorm(t *testing.T) {
	t.Parallel()
	const each = 128
	s := besiege(t, testkit.Options{Config: "limits: {connect_deadline: 60s}\n"}) // a busy machine is not what is tried
	s.steady.look(t)
	before := s.counters(t)
	f, leave := s.comeBack(each, 40*time.Second, s.doors...)
	defer leave()
	if len(f.back) != each*len(s.doors) {
		t.Fatalf("%d of %d are back; attempts that came to nothing: %v", len(f.back), each*len(s.doors), f.failures)
	}
	gap := s.steady.look(t)
	after := s.counters(t)
	for _, name := range []string{`redoubt_connections_refused_total{reason="unauthenticated_limit"}`, `redoubt_connections_refused_total{reason="handshakes_limit"}`,
		`redoubt_connections_refused_total{reason="total_limit"}`, `redoubt_connections_refused_total{reason="connect_rate"}`, `redoubt_tls_handshakes_failed_total{reason="rate"}`,
		`redoubt_connections_closed_total{reason="evicted"}`} {
		if n := after[name] - before[name]; n != 0 {
			t.Errorf("%s: %v more", name, n)
		}
	}
	if n := after["redoubt_connections"] - before["redoubt_connections"]; int(n) != len(f.back) {
		t.Errorf("%v connections more, want %d", n, len(f.back))
	}
	t.Logf("%d back within %v (half of them %v), attempts that came to nothing: %v; the bystander's longest gap %v", len(f.back), f.back[len(f.back)-1].Round(time.Millisecond), quantile(f.back, 0.5).Round(time.Millisecond), f.failures, gap.Round(time.Millisecond))
}
