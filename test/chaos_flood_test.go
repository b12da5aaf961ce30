//go:build chaos

package test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// This file is the other half of `make chaos`: what crowds of strangers do to
// clients who are connected and to those who want to be (D-01 to D-05).

// What is asked of each flood.
const (
	floodWindow   = 12 * time.Second // longer than the deadline of a stranger
	floodFactor   = 3                // p99 of the established, against before
	floodFloor    = 50 * time.Millisecond
	floodMemory   = 64 << 20 // of all strangers together
	floodLife     = 11 * time.Second
	floodNewcomer = 2 * time.Second // for 99 of 100
	floodSources  = 64              // networks it comes from
)

// flooding is one kind of flood. crowd are there at once, rate more come every
// second. one is a single connection from its opening to its end and says how it
// ended; "stopped" is ours.
type flooding struct {
	name        string
	crowd, rate int
	one         func(f *flooder, i int, from net.IP) (outcome string)
	authorized  bool // what lives longest are clients, and memory is theirs
	hashes      bool // memory is what argon2 takes, on each of its workers
	logged      int  // lines of the log at most, each second
}

// flooder is a flood under way.
type flooder struct {
	*siege
	stop context.Context

	mu       sync.Mutex // guards everything below
	outcomes map[string]int
	longest  time.Duration
}

// figures are one line of the table, as JSON has it.
type figures struct {
	Flood                  string
	Attempts               int
	BeforeP50, BeforeP99   float64 // milliseconds
	DuringP50, DuringP99   float64
	Ratio                  float64 // of the p99
	Newcomers              int
	NewcomersInTime        float64 // percent
	NewcomerWorst          float64
	MemoryMiB              float64 // at most more than before
	Strangers              int     // at most at once
	LongestLife            float64 // seconds
	CPU                    float64 // cores
	LogLinesPerSecond      float64
	Outcomes               map[string]int
	PatienceSeconds        float64 // shortest
	HandshakesPendingWorst int
}

var floods = []flooding{
	{name: "D-01 silent TCP", crowd: 3000, rate: 750, logged: 30, one: func(f *flooder, i int, from net.IP) string {
		conn, err := f.open(f.doors[i%2], from)
		if err != nil {
			return "refused"
		}
		return f.hold(conn)
	}},
	{name: "D-02 TLS, half stalled", crowd: 2000, rate: 250, logged: 60, one: func(f *flooder, i int, from net.IP) string {
		conn, err := f.open(f.doors[1], from)
		if err != nil {
			return "refused"
		}
		if i%2 == 0 {
			return f.stall(conn)
		}
		secured := tls.Client(conn, f.doors[1].tls)
		if err := secured.Handshake(); err != nil {
			_ = conn.Close()
			return "handshake failed"
		}
		return f.hold(secured)
	}},
	{name: "D-03 wrong passwords", crowd: 50, rate: 500, hashes: true, logged: 60, one: func(f *flooder, i int, from net.IP) string {
		conn, err := f.open(f.doors[0], from)
		if err != nil {
			return "refused"
		}
		defer conn.Close()
		name := other
		if i%10 > 0 {
			name = fmt.Sprintf("user-%d", rand.IntN(1_000_000))
		}
		w := &wire{conn: conn, in: newReader(conn), v: mqtt.V5}
		_, _ = conn.Write(connectOf(mqtt.V5, "guess", func(c *mqtt.Connect) { c.Username, c.Password = name, []byte(fmt.Sprint("guess ", i)) }))
		p, err := w.next()
		if err != nil || p.Type != mqtt.CONNACK || len(p.Body) < 2 {
			return "closed"
		}
		return fmt.Sprintf("CONNACK %#x", p.Body[1])
	}},
	{name: "D-04 slowloris", crowd: 500, rate: 0, authorized: true, logged: 30, one: slowloris},
	{name: "D-05 TLS abuse", crowd: 100, rate: 250, logged: 60, one: abuse},
}

// open connects to a door, without TLS and WebSocket.
func (f *flooder) open(d door, from net.IP) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: patience}
	return dialer.DialContext(f.stop, "tcp4", fmt.Sprintf("127.0.0.1:%d", d.port))
}

// hold waits for the other side to end it.
func (f *flooder) hold(conn net.Conn) string {
	defer conn.Close()
	defer context.AfterFunc(f.stop, func() { _ = conn.Close() })()
	_, _ = io.Copy(io.Discard, conn)
	if f.stop.Err() != nil {
		return "stopped"
	}
	return "closed"
}

// stalled swallows what it is sent: the other side has a ClientHello and no more.
type stalled struct {
	net.Conn
	hold func(net.Conn) string
}

func (c stalled) Read([]byte) (int, error) { c.hold(c.Conn); return 0, io.EOF }

func (f *flooder) stall(conn net.Conn) (outcome string) {
	_ = tls.Client(stalled{conn, func(c net.Conn) string { outcome = f.hold(c); return outcome }}, f.doors[1].tls).Handshake()
	return outcome
}

// slowloris is a CONNECT, or a PUBLISH of a megabyte, a byte a second, or a
// subscriber that reads nothing of what its neighbours send.
func slowloris(f *flooder, i int, from net.IP) string {
	conn, err := f.doors[i%4].dial(from)
	if err != nil {
		return "refused"
	}
	raw := rawOf(conn)
	if i%2 == 0 {
		go drip(conn, connectOf(mqtt.V5, "slow", func(*mqtt.Connect) {}), time.Second)
		return "CONNECT " + f.hold(conn)
	}
	w := &wire{conn: conn, in: newReader(conn), v: mqtt.V5}
	_, _ = conn.Write(connectOf(mqtt.V5, fmt.Sprintf("slow-%d", i), func(c *mqtt.Connect) { c.KeepAlive = 10 }))
	if p, err := w.next(); err != nil || p.Type != mqtt.CONNACK || p.Body[1] != 0 {
		_ = conn.Close()
		return "not let in"
	}
	p := mqtt.Publish{Topic: []byte("devices/" + other + "/slow"), Payload: make([]byte, 1<<20-200)}
	b := p.Append(nil, mqtt.V5)
	if i%4 == 1 {
		_, _ = conn.Write(b[:len(b)/2])
		go drip(conn, b[len(b)/2:], time.Second)
		return "PUBLISH " + f.hold(conn)
	}
	_ = raw.SetReadBuffer(1 << 10)
	_, _ = conn.Write((&mqtt.Subscribe{PacketID: 1, Filters: filters("devices/" + other + "/slow")}).Append(nil, mqtt.V5, 0))
	if i%100 == 3 { // a few of them are also loud: 1 MiB for each of the others
		for range 4 {
			_, _ = conn.Write(b)
		}
	}
	<-f.stop.Done()
	_ = conn.Close()
	return "reader stopped"
}

// abuse is what a TLS client may try that is no client.
func abuse(f *flooder, i int, from net.IP) string {
	conn, err := f.open(f.doors[1], from)
	if err != nil {
		return "refused"
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	config := f.doors[1].tls.Clone()
	config.InsecureSkipVerify = true // it is not the server that is tried
	end := func(kind string) string {
		_, err := io.Copy(io.Discard, conn)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			return kind + ": NOT CLOSED"
		}
		return kind + ": closed"
	}
	shake := func(kind string) string {
		if tls.Client(conn, config).Handshake() == nil {
			return kind + ": let in"
		}
		return kind + ": refused"
	}
	switch i % 7 {
	case 0:
		config.NextProtos = []string{"h2", strings.Repeat("x", 255), "\x00"}
		return shake("ALPN junk")
	case 1:
		config.ServerName = "localhost\x00.evil.example"
		return shake("SNI with NUL")
	case 2:
		config.MaxVersion, config.MinVersion = tls.VersionTLS11, tls.VersionTLS10
		return shake("TLS 1.1")
	case 3: // 16 KiB of handshake records without content
		_, _ = conn.Write([]byte(strings.Repeat("\x16\x03\x01\x00\x00", 16<<10/5)))
		return end("empty records")
	case 4: // a ClientHello that announces more than it may have
		_, _ = conn.Write(append([]byte("\x16\x03\x01\x40\x00\x01\x00\xff\xff\x03\x03"), make([]byte, 16<<10)...))
		return end("a long ClientHello")
	case 5: // change_cipher_spec without end, which TLS 1.3 lets pass once
		secured := tls.Client(conn, config)
		if secured.Handshake() != nil {
			return "CCS flood: handshake failed"
		}
		_, _ = conn.Write([]byte(strings.Repeat("\x14\x03\x03\x00\x01\x01", 3000)))
		return end("CCS flood")
	}
	junk := make([]byte, 4096)
	for i := range junk {
		junk[i] = byte(rand.Uint32())
	}
	_, _ = conn.Write(append([]byte("\x16\x03\x01"), junk...))
	return end("junk")
}

// run floods until stop, and waits for the end of all of it.
func (f *flooder) run(kind *flooding) (attempts int) {
	var wg sync.WaitGroup
	start := func(i int) {
		wg.Go(func() {
			begun := time.Now()
			outcome := kind.one(f, i, net.IPv4(127, 50, byte(i%floodSources), 1))
			f.mu.Lock()
			defer f.mu.Unlock()
			f.outcomes[outcome]++
			if strings.HasSuffix(outcome, "closed") {
				f.longest = max(f.longest, time.Since(begun))
			}
		})
	}
	for ; attempts < kind.crowd && f.stop.Err() == nil; attempts++ {
		start(attempts)
		if attempts%64 == 63 { // as fast as this machine's own backlog takes them
			<-time.After(5 * time.Millisecond)
		}
	}
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for due := 0.0; ; {
		select {
		case <-f.stop.Done():
			wg.Wait()
			return attempts
		case <-pace.C:
			for due += float64(kind.rate) / 50; due >= 1; due-- {
				start(attempts)
				attempts++
			}
		}
	}
}

// arrivals connects a client from a network of its own five times a second.
func (f *flooder) arrivals() (took []time.Duration, failed int) {
	pace := time.NewTicker(200 * time.Millisecond)
	defer pace.Stop()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := 0; f.stop.Err() == nil; i++ {
		wg.Go(func() {
			begun := time.Now()
			in, _ := knock(f.doors[1], net.IPv4(127, 1, 2, byte(3+i%100)), fmt.Sprintf("newcomer-%d", i))
			mu.Lock()
			defer mu.Unlock()
			if took = append(took, time.Since(begun)); !in {
				failed++
			}
		})
		select {
		case <-pace.C:
		case <-f.stop.Done():
		}
	}
	wg.Wait()
	return took, failed
}

func TestChaosFloods(t *testing.T) {
	var all []figures
	for i := range floods {
		kind := &floods[i]
		t.Run(kind.name, func(t *testing.T) { all = append(all, kind.judge(t)) })
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-24s %8s  %15s  %15s %6s  %9s %7s %7s  %7s %6s %6s %5s %6s\n", "flood", "attempts", "before p50/p99", "during p50/p99", "ratio", "newcomers", "in 2 s", "worst", "mem MiB", "most", "life", "CPU", "log/s")
	for _, f := range all {
		fmt.Fprintf(&table, "%-24s %8d  %6.2f/%5.2f ms  %6.2f/%5.2f ms %6.2f  %9d %6.1f%% %5.0fms  %+7.1f %6d %5.1fs %5.2f %6.1f  %v\n", f.Flood, f.Attempts, f.BeforeP50, f.BeforeP99, f.DuringP50, f.DuringP99, f.Ratio,
			f.Newcomers, f.NewcomersInTime, f.NewcomerWorst, f.MemoryMiB, f.Strangers, f.LongestLife, f.CPU, f.LogLinesPerSecond, f.Outcomes)
	}
	t.Log(table.String())
	root, err := testkit.Root()
	if err == nil {
		err = os.MkdirAll(filepath.Join(root, "var"), 0o755)
	}
	text, _ := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "var", "chaos-floods.json"), text, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// judge plays one flood at a broker of its own.
func (kind *flooding) judge(t *testing.T) figures {
	s := besiege(t, testkit.Options{})
	p := standBy(t, s.b)
	p.roundTrips(chaosWindow / 2) // warm
	before := p.roundTrips(chaosWindow)
	rss, logged, cpu := resident(t, s.b), s.b.Stderr.Len(), s.cpu(t)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	f := &flooder{siege: s, stop: ctx, outcomes: make(map[string]int)}
	var wg sync.WaitGroup
	var attempts, failed int
	var took []time.Duration
	var most, shakes, peak atomic.Int64
	shortest := 60.0
	wg.Go(func() { attempts = f.run(kind) })
	wg.Go(func() { took, failed = f.arrivals() })
	wg.Go(func() {
		pace := time.NewTicker(250 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			now := s.counters(t)
			most.Store(max(most.Load(), int64(now["redoubt_connections_unauthenticated"])))
			shakes.Store(max(shakes.Load(), int64(now["redoubt_tls_handshakes_pending"])))
			peak.Store(max(peak.Load(), resident(t, s.b)))
			if d := now["redoubt_connect_deadline_seconds"]; d > 0 {
				shortest = min(shortest, d)
			}
			<-pace.C
		}
	})
	during := p.roundTrips(floodWindow)
	used := s.cpu(t) - cpu
	stop()
	wg.Wait()
	lines := strings.Count(s.b.Stderr.String()[logged:], "\n")

	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	in := 0
	worst := time.Duration(0)
	for _, d := range took {
		if worst = max(worst, d); d <= floodNewcomer {
			in++
		}
	}
	in = max(0, in-failed)
	r := figures{Flood: kind.name, Attempts: attempts, BeforeP50: ms(quantile(before, 0.5)), BeforeP99: ms(quantile(before, 0.99)), DuringP50: ms(quantile(during, 0.5)), DuringP99: ms(quantile(during, 0.99)),
		Newcomers: len(took), NewcomersInTime: 100 * float64(in) / float64(max(1, len(took))), NewcomerWorst: ms(worst), MemoryMiB: float64(peak.Load()-rss) / (1 << 20), Strangers: int(most.Load()),
		LongestLife: f.longest.Seconds(), CPU: used.Seconds() / floodWindow.Seconds(), LogLinesPerSecond: float64(lines) / floodWindow.Seconds(), Outcomes: f.outcomes, PatienceSeconds: shortest, HandshakesPendingWorst: int(shakes.Load())}
	r.Ratio = r.DuringP99 / r.BeforeP99

	if was := quantile(before, 0.99); quantile(during, 0.99) > max(floodFactor*was, floodFloor) {
		t.Errorf("p99 of the established %v ms, before %v ms", r.DuringP99, r.BeforeP99)
	}
	if r.NewcomersInTime < 99 {
		t.Errorf("%d newcomers, %d not let in, %.1f %% within %v, the worst %v", len(took), failed, r.NewcomersInTime, floodNewcomer, worst)
	}
	if limit := int64(floodMemory); !kind.authorized && !kind.hashes && peak.Load()-rss > limit || peak.Load()-rss > 4*limit {
		t.Errorf("the strangers cost %.1f MiB", r.MemoryMiB)
	}
	if f.longest > floodLife && !kind.authorized {
		t.Errorf("a stranger lived %v", f.longest)
	}
	if r.LogLinesPerSecond > float64(kind.logged) {
		t.Errorf("%.1f lines of the log a second", r.LogLinesPerSecond)
	}
	for outcome := range f.outcomes {
		if strings.Contains(outcome, "NOT CLOSED") {
			t.Errorf("%s: %d", outcome, f.outcomes[outcome])
		}
	}
	s.survived(t, mark{s.b.Stderr.Len(), nil, time.Now()}, kind.name, 0, nil, nil)
	return r
}

// resident is what the kernel says of the broker's memory, in bytes. These tests run
// without the race detector, which would be most of it.
func resident(t testing.TB, b *testkit.Broker) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
