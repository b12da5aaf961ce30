package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// This file is what every row of the list of attacks is tried with: the real
// program with all its doors open, an innocent client that publishes to itself all
// the while, and what is looked at when the attack is over.

// door is one way in. A row about packets is tried at every one of them: a defence
// that one path has and another lacks is how A009 came back.
type door struct {
	name string
	port int
	tls  *tls.Config // nil: plain
	web  bool        // in WebSocket frames
	quic bool        // over UDP
	no   byte        // third byte of the addresses that attack it
}

// siege is a broker under attack.
type siege struct {
	b      *testkit.Broker
	doors  []door
	steady *steady
	pid    int

	mu    sync.Mutex    // guards everything below
	calm  vitals        // when nothing had happened yet, and better since
	gap   time.Duration // the bystander's longest in the last row
	table strings.Builder
}

// besiege starts a broker with four doors and the innocent client.
func besiege(t *testing.T, o testkit.Options) *siege {
	t.Helper()
	o.WebSocket = true
	o.ListenerTCP, o.ListenerWS = testkit.FreePort(t), testkit.FreePort(t)
	b := start(t, o)
	web := trust(t, b)
	web.NextProtos = []string{"http/1.1"}
	s := &siege{b: b, pid: b.Pid(), doors: []door{
		{name: "mqtt", port: o.ListenerTCP, no: 1},
		{name: "mqtts", port: b.Port, tls: trust(t, b), no: 2},
		{name: "ws", port: o.ListenerWS, web: true, no: 3},
		{name: "wss", port: b.WebSocket, tls: web, web: true, no: 4},
	}}
	s.steady = newSteady(t, b)
	for _, d := range s.doors { // what the first connections make for good is no leak
		each := make([]*wire, 8)
		for i := range each {
			each[i] = s.enter(t, d, mqtt.V5, source(0, d, 0), fmt.Sprintf("warm-%d", i))
		}
		for _, w := range each {
			_ = w.conn.Close()
		}
	}
	s.calm = s.vitals(t)
	return s
}

// source is where row attacks door d from, in a /24 of its own, so that the log
// tells rows and doors apart: it says a thing once a minute and prefix.
func source(row int, d door, spread int) net.IP {
	return net.IPv4(127, byte(100+row), d.no<<5+byte(spread), 1)
}

// dial opens a connection from there, and the WebSocket if the door has one.
func (d door) dial(from net.IP) (net.Conn, error) {
	conn, err := d.socket(from)
	if err != nil || !d.web {
		return conn, err
	}
	w := newWebConn(conn)
	if err := w.upgrade(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return w, nil
}

// socket is dial without the WebSocket.
func (d door) socket(from net.IP) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: patience}
	conn, err := dialer.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", d.port))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	if d.tls == nil {
		return conn, nil
	}
	secured := tls.Client(conn, d.tls)
	if err := secured.Handshake(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// stranger opens a connection that has said nothing in MQTT.
func (s *siege) stranger(t testing.TB, d door, v mqtt.Version, from net.IP) *wire {
	t.Helper()
	conn, err := d.dial(from)
	if err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &wire{t: t, conn: conn, in: newReader(conn), v: v}
}

func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReader(conn) }

// enter opens a connection of the second user, who attacks.
func (s *siege) enter(t testing.TB, d door, v mqtt.Version, from net.IP, clientID string) *wire {
	t.Helper()
	w := s.stranger(t, d, v, from)
	w.send(connectOf(v, clientID, func(*mqtt.Connect) {}))
	if p := w.want(mqtt.CONNACK); p.Body[1] != 0 {
		t.Fatalf("%s: CONNACK % x", clientID, p.Body)
	}
	return w
}

// connectOf is a good CONNECT of the second user, changed.
func connectOf(v mqtt.Version, clientID string, change func(*mqtt.Connect)) []byte {
	p := &mqtt.Connect{Version: v, ClientID: clientID, CleanStart: true, KeepAlive: 120, HasUsername: true, Username: other,
		HasPassword: true, Password: []byte(otherPassword), ReceiveMaximum: 65535, RequestProblemInformation: true}
	change(p)
	return p.Append(nil, v, 0)
}

// webConn is the client's end of a WebSocket: each Write is one binary frame.
type webConn struct {
	net.Conn
	in     *bufio.Reader // of Conn: a header is many small reads
	left   int           // payload bytes of the frame that is being read
	status uint16        // of the broker's close frame
}

// newWebConn is one that has not asked for its WebSocket.
func newWebConn(conn net.Conn) *webConn { return &webConn{Conn: conn, in: newReader(conn)} }

const upgradeRequest = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"

func (w *webConn) upgrade() error {
	status, header, err := w.ask(upgradeRequest + "\r\n")
	if err == nil && (status != http.StatusSwitchingProtocols || strings.Contains(header, "Extensions")) {
		err = fmt.Errorf("the upgrade was answered %d %s", status, header)
	}
	return err
}

// ask sends a request and reads the head of the answer.
func (w *webConn) ask(request string) (status int, header string, err error) {
	if _, err := io.WriteString(w.Conn, request); err != nil {
		return 0, "", err
	}
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		line, err := w.in.ReadSlice('\n')
		head = append(head, line...)
		if err != nil {
			return 0, string(head), err
		}
	}
	_, err = fmt.Sscanf(string(head), "HTTP/1.1 %d", &status)
	return status, string(head), err
}

func (w *webConn) Write(b []byte) (int, error) {
	if _, err := w.Conn.Write(frameOf(0x82, b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (w *webConn) Read(b []byte) (int, error) {
	for w.left == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n, err := w.in.Read(b[:min(len(b), w.left)])
	w.left -= n
	return n, err
}

// next reads headers until there is data.
func (w *webConn) next() error {
	head := make([]byte, 2)
	if _, err := io.ReadFull(w.in, head); err != nil {
		return err
	}
	size := make([]byte, 8)
	n := uint64(head[1])
	if long := map[byte]int{126: 2, 127: 8}[head[1]]; long > 0 {
		if _, err := io.ReadFull(w.in, size[8-long:]); err != nil {
			return err
		}
		n = binary.BigEndian.Uint64(size)
	}
	if head[0] == 0x82 {
		w.left = int(n)
		return nil
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(w.in, payload); err != nil {
		return err
	}
	if head[0] == 0x88 && n >= 2 {
		w.status = binary.BigEndian.Uint16(payload)
		return io.EOF
	}
	return nil
}

// frameOf is one frame of a client.
func frameOf(first byte, payload []byte) []byte {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, key[:]...)
	for i, x := range payload {
		b = append(b, x^key[i%4])
	}
	return b
}

// steadyPace is how often the bystander begins a round trip, if the one before is
// over: a fortieth of the gap that is judged. What it does costs processor time of
// two programs with the race detector, all through.
const steadyPace = 50 * time.Millisecond

// steady publishes to itself at QoS 1 all through, one message at a time. Every
// message must come back exactly once, and its connection must live.
type steady struct {
	w    *wire
	stop chan struct{}
	done chan struct{}

	mu   sync.Mutex // guards everything below
	n    int        // round trips
	last time.Time  // end of the last one
	gap  time.Duration
	err  error
}

func newSteady(t *testing.T, b *testkit.Broker) *steady {
	t.Helper()
	p := &steady{w: connect(t, b, mqtt.V5, "steady"), stop: make(chan struct{}), done: make(chan struct{}), last: time.Now()}
	_ = p.w.conn.SetDeadline(time.Now().Add(10 * time.Minute))
	p.w.subscribe("devices/"+user+"/steady", 1)
	go p.run()
	t.Cleanup(func() { close(p.stop); <-p.done })
	return p
}

func (p *steady) run() {
	defer close(p.done)
	pace := time.NewTicker(steadyPace)
	defer pace.Stop()
	for n := 1; ; n++ {
		err := p.roundTrip(n)
		now := time.Now()
		p.mu.Lock()
		p.n, p.err = n, err
		p.gap, p.last = max(p.gap, now.Sub(p.last)), now
		p.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case <-p.stop:
			return
		case <-pace.C:
		}
	}
}

func (p *steady) roundTrip(n int) error {
	payload := fmt.Appendf(nil, "steady %d", n)
	m := mqtt.Publish{Topic: []byte("devices/" + user + "/steady"), QoS: 1, PacketID: uint16(n%60_000 + 1), Payload: payload}
	if _, err := p.w.conn.Write(m.Append(nil, mqtt.V5)); err != nil {
		return err
	}
	for acked, delivered := false, false; !acked || !delivered; {
		in, err := p.w.next()
		switch {
		case err != nil:
			return err
		case in.Type == mqtt.PUBACK && !acked:
			acked = true
		case in.Type == mqtt.PUBLISH && !delivered && bytes.HasSuffix(in.Body, payload):
			delivered = true
			var got mqtt.Publish
			if err := mqtt.DecodePublishClient(in.Body, in.Header, mqtt.V5, mqtt.Limits{UserProperties: -1}, &got); err != nil {
				return err
			}
			if _, err := p.w.conn.Write((&mqtt.Ack{Type: mqtt.PUBACK, PacketID: got.PacketID}).Append(nil, mqtt.V5, 0)); err != nil {
				return err
			}
		default:
			return fmt.Errorf("round trip %d (acknowledged %t, delivered %t) got %v %q", n, acked, delivered, in.Type, in.Body)
		}
	}
	return nil
}

// look answers the longest gap between two round trips since the last look.
func (p *steady) look(t *testing.T) time.Duration {
	t.Helper()
	p.mu.Lock()
	from := p.n
	p.mu.Unlock()
	if !soon(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.n > from || p.err != nil
	}) {
		t.Fatal("the bystander has no answer")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		t.Fatalf("the bystander: %v", p.err)
	}
	gap := p.gap
	p.gap = 0
	return gap
}

// soon is within patience.
func soon(ok func() bool) bool { return within(patience, ok) }

// within polls until ok, at most for limit: soon at first, and then less and less
// often, because a page of metrics costs 20 ms of processor time with the race
// detector and is no help to what is waited for.
func within(limit time.Duration, ok func() bool) bool {
	if ok() {
		return true
	}
	end := time.After(limit)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		select {
		case <-end:
			return ok()
		case <-time.After(pause):
			if ok() {
				return true
			}
		}
	}
}

// until polls every tenth of a second.
func until(limit time.Duration, ok func() bool) bool {
	end, tick := time.After(limit), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			return false
		case <-tick.C:
		}
	}
	return true
}

// vitals are what must be as before when an attack is over.
type vitals struct {
	memory                  int64 // bytes, see there
	live                    int64 // bytes of the heap that the last collection found alive
	goroutines, descriptors int
}

// What the broker may hold more than before, in bytes: a password that is being hashed,
// on as many workers as there are (hashers in cmd/redoubt), and what the store keeps once
// something was stored, 44 MiB: what waits for the disk and what is being written, 8 each
// (QueueBytes); its last writes, 4 (RingBytes); what was read for those who come after, 8
// (pickedBytesMax); rows that are not in a file yet, two tables of 4 (memTableBytes); and
// blocks of files, 8 (cacheBytes). All of it is bounded there.
const (
	hashBytes  = 19 << 20
	storeSlack = 2*8<<20 + 4<<20 + 8<<20 + 2*4<<20 + 8<<20
	countSlack = 16
)

// heldSlack is all of that.
func heldSlack() int64 { return int64(min(max(runtime.NumCPU()/2, 1), 8))*hashBytes + storeSlack }

// garbage is how many bytes a Go program may have from the system beside what it has when
// it is idle, if live were alive at its last collection: it collects when the heap is twice
// that, a password is one allocation and may go over that by its whole size, a tenth more
// is kept for the next round, and 13 MiB are for pages of metrics and what is free between
// the living. A broker that was hashing a password when it collected counts it as alive:
// with 9 MiB of its own the next collection is at 56 MiB, and 88 MiB were resident, for as
// long as a bystander's few messages take to fill that.
func garbage(live int64) int64 { return (2*live+hashBytes)*11/10 + 13<<20 }

func (s *siege) vitals(t testing.TB) vitals { return s.vitalsOf(t, s.counters(t)) }

// vitalsOf are those by a page of metrics, and by the kernel.
func (s *siege) vitalsOf(t testing.TB, page map[string]float64) vitals {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	return vitals{memory: int64(page["redoubt_memory_in_use_bytes"]), live: int64(page["redoubt_memory_live_bytes"]), goroutines: int(page["go_goroutines"]), descriptors: len(fds)}
}

// over tells whether something of now is more than what was there before allows.
func (now vitals) over(calm vitals) bool {
	return now.live > calm.live*11/10+heldSlack() || now.memory > calm.memory*11/10+garbage(now.live) || now.goroutines > calm.goroutines*11/10+countSlack || now.descriptors > calm.descriptors*11/10+countSlack
}

// counters are all series of the metrics, by name and labels.
func (s *siege) counters(t testing.TB) map[string]float64 {
	t.Helper()
	return pageOf(t, s.b)
}

// pageOf is the same of any broker.
func pageOf(t testing.TB, b *testkit.Broker) map[string]float64 {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", b.Metrics))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	series := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			series[name] = v
		}
	}
	return series
}

// closedFor is the series of connections that ended for one of these reasons.
func closedFor(reasons ...string) (names []string) {
	for _, r := range reasons {
		names = append(names, `redoubt_connections_closed_total{reason="`+r+`"}`)
	}
	return names
}

func sum(series map[string]float64, names []string) (n float64) {
	for _, name := range names {
		n += series[name]
	}
	return n
}

// mark is where the log and the counters stood before an attack.
type mark struct {
	log    int
	series map[string]float64
	begun  time.Time
}

func (s *siege) mark(t *testing.T) mark {
	t.Helper()
	s.steady.look(t)
	return mark{s.b.Stderr.Len(), s.counters(t), time.Now()}
}

// survived looks at everything an attack must not have changed. want attempts are
// counted in the sum of series, and each source of from is in a line that has
// all of said, and what is said of it is said once.
func (s *siege) survived(t *testing.T, m mark, what string, want int, series []string, said []string, from ...net.IP) {
	t.Helper()
	took := time.Since(m.begun)
	gap := s.steady.look(t)
	s.mu.Lock()
	calm := s.calm
	s.gap = gap
	s.mu.Unlock()
	if s.b.Ended() || s.b.Pid() != s.pid {
		t.Fatal("the broker has ended")
	}
	page := s.counters(t) // one is enough where nothing is waited for
	if len(series) > 0 {
		got := int(sum(page, series) - sum(m.series, series))
		if got < want {
			soon(func() bool {
				page = s.counters(t)
				got = int(sum(page, series) - sum(m.series, series))
				return got >= want
			})
		}
		if got != want {
			t.Errorf("%d counted in %v, want %d", got, series, want)
		}
	}
	for _, ip := range from {
		address := ip.String()
		if line, ok := s.b.Stderr.WaitFor(patience, m.log, append(said, address)...); !ok {
			t.Errorf("no line of the log has %q and %s:\n%s", said, address, s.b.Stderr.String()[m.log:])
		} else if twice := repeated(t, s.b.Stderr.String()[m.log:], address); twice != "" {
			t.Errorf("said more than once: %s, such as %s", twice, line)
		}
	}
	log := s.b.Log()
	for _, bad := range []string{"panic:", "goroutine ", "BUG:", "fatal error:", password, otherPassword, canary, "PRIVATE KEY"} {
		if strings.Contains(log, bad) {
			t.Errorf("the log has %q", bad)
		}
	}
	now := s.vitalsOf(t, page)
	if now.over(calm) && !within(2*patience, func() bool { // of which a part is that of rows beside this one
		now = s.vitals(t) // each page is garbage, too, and so brings a collection nearer
		return !now.over(calm)
	}) {
		t.Errorf("%s: %+v is left, before %+v", what, now, calm)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calm.memory, s.calm.live = min(s.calm.memory, now.memory), min(s.calm.live, now.live) // hashing passwords at the start took some, which has been given back
	fmt.Fprintf(&s.table, "%-62s %6d %8s %8s %+7.1f %+4d %+4d\n", what, want, took.Round(time.Millisecond), gap.Round(time.Millisecond),
		float64(now.memory-calm.memory)/(1<<20), now.goroutines-calm.goroutines, now.descriptors-calm.descriptors)
}

// repeated answers an event that has two lines about address: the same thing of the
// same source is one line a minute.
func repeated(t *testing.T, log, address string) string {
	t.Helper()
	seen := make(map[string]bool)
	for line := range strings.Lines(log) {
		if !strings.HasSuffix(line, "\n") || !strings.Contains(line, address+":") {
			continue
		}
		var event struct{ Msg, Reason, Rule, Why string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		kind := event.Msg + ", " + event.Rule
		switch event.Msg {
		case "CONNECT refused":
			kind = event.Msg + ", " + event.Reason
		case "connection closed before CONNECT":
			kind = event.Msg + ", " + event.Why
		}
		if seen[kind] {
			return kind
		}
		seen[kind] = true
	}
	return ""
}

// canary is a password that nobody has and attackers send.
const canary = "canary-password-77"

// report prints the figures.
func (s *siege) report(t *testing.T) {
	t.Helper()
	t.Logf("\n%-62s %6s %8s %8s %7s %4s %4s\n%s", "row, door", "times", "took", "gap", "MiB", "go", "fd", s.table.String())
}
