package conn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// knock is a connection without TLS to the TLS port.
func (r *rig) knock() *net.TCPConn {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.real.socket.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(3 * patience))
	return nc.(*net.TCPConn)
}

// ear hears what is written and answers nothing.
type ear struct {
	net.Conn // nil: the rest is never called
	b        []byte
}

func (e *ear) Write(b []byte) (int, error) {
	e.b = append(e.b, b...)
	return len(b), nil
}
func (e *ear) Read([]byte) (int, error) { return 0, io.EOF }

// clientHello is the first record of an honest client.
func (r *rig) clientHello() []byte {
	e := &ear{}
	_ = tls.Client(e, r.real.tls).Handshake()
	if len(e.b) < 200 {
		r.t.Fatalf("a ClientHello of %d bytes", len(e.b))
	}
	return e.b
}

// inRecords cuts a record into n of about the same size.
func inRecords(record []byte, n int) (out []byte) {
	body := record[recordHead:]
	for i := range n {
		part := body[len(body)*i/n : len(body)*(i+1)/n]
		out = append(append(out, record[0], record[1], record[2], byte(len(part)>>8), byte(len(part))), part...)
	}
	return out
}

// firstWrite changes the first thing a client writes, its ClientHello.
type firstWrite struct {
	net.Conn
	change func(nc net.Conn, hello []byte) error
}

func (f *firstWrite) Write(b []byte) (int, error) {
	if change := f.change; change != nil {
		f.change = nil
		return len(b), change(f.Conn, b)
	}
	return f.Conn.Write(b)
}

// enters shakes hands over nc, connects, and answers what went wrong.
func (r *rig) enters(nc net.Conn, id string) error {
	t := tls.Client(nc, r.real.tls)
	p := &mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: id, Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), ReceiveMaximum: 10}
	if _, err := t.Write(p.Append(nil, mqtt.V5, 0)); err != nil {
		return err
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(t, b); err != nil {
		return err
	}
	if mqtt.Type(b[0]>>4) != mqtt.CONNACK || b[3] != 0 {
		return errors.New("no CONNACK that says yes")
	}
	return nil
}

// calm expects that nothing comes at nc for a while of real time, and that no
// loop goes round meanwhile: nobody looks at the same bytes again and again.
func (r *rig) calm(nc net.Conn) {
	r.t.Helper()
	r.settle()
	turns := r.metrics.Value(metrics.LoopTurns)
	_ = nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := nc.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatalf("%d bytes and %v, want silence", n, err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(3 * patience))
	if turns = r.metrics.Value(metrics.LoopTurns) - turns; turns > 20 {
		r.t.Errorf("%d turns of the loops while nothing happened", turns)
	}
}

// cut expects that the broker closes nc, after answer if it is not empty.
func (r *rig) cut(nc net.Conn, answer []byte) {
	r.t.Helper()
	got, err := io.ReadAll(nc)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatalf("still open\n%s", r.log)
	}
	if !bytes.Equal(got, answer) {
		r.t.Errorf("got % x, want % x", got, answer)
	}
}

func (r *rig) goroutinesMoreThan(before int) func() int64 {
	return func() int64 { return int64(max(0, r.goroutines()-before)) }
}

// Half a ClientHello costs the connection and no more: no goroutine, no buffer, no
// processor; and it is closed at the deadline.
func TestHalfAClientHelloCostsNothing(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	r.settle()
	before := r.goroutines()
	hello := r.clientHello()
	parts := [][]byte{nil, hello[:1], hello[:4], hello[:5], hello[:6], hello[:9], hello[:len(hello)/2], hello[:len(hello)-1], inRecords(hello, 4)[:len(hello)]}
	var held []net.Conn
	for _, part := range parts {
		nc := r.knock()
		held = append(held, nc)
		if _, err := nc.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	r.becomes("connections, with the bystander", int64(len(parts)+1), r.connections)
	r.calm(held[len(held)-1])
	r.becomes("goroutines more than before", 0, r.goroutinesMoreThan(before))
	waiting := 0
	r.onLoops(func(l *Loop) {
		for _, c := range l.conns {
			if c == nil || c.stage != greeting {
				continue
			}
			waiting++
			if s := c.sock.(*fdSocket); s.cover != nil || s.rest != nil || c.half != nil || c.hello() != nil {
				t.Error("something was made for a client that has said nothing yet")
			}
		}
	})
	if waiting != len(parts) {
		t.Errorf("%d wait for a ClientHello, want %d", waiting, len(parts))
	}
	check()
	r.pass(8 * time.Second)
	r.becomes("connections after 8 s", int64(len(parts)+1), r.connections)
	r.pass(2 * time.Second)
	r.becomes("connections after 10 s", 1, r.connections)
	for _, nc := range held {
		r.cut(nc, nil)
	}
	r.becomes("closed for the deadline", int64(len(parts)), func() int64 { return r.metrics.Value(metrics.ConnectionsClosedConnectTimeout) })
	check()
}

// A ClientHello may come in any pieces, in up to four records.
func TestClientHelloInPieces(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	byByte := func(nc net.Conn, hello []byte) error {
		for i := range hello {
			if _, err := nc.Write(hello[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	in := func(n int) func(net.Conn, []byte) error {
		return func(nc net.Conn, hello []byte) error {
			_, err := nc.Write(inRecords(hello, n))
			return err
		}
	}
	for name, change := range map[string]func(net.Conn, []byte) error{
		"byte by byte": byByte, "2 records": in(2), "4 records": in(4),
		"4 records, byte by byte": func(nc net.Conn, hello []byte) error { return byByte(nc, inRecords(hello, 4)) },
	} {
		if err := r.enters(&firstWrite{Conn: r.knock(), change: change}, "pieces"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	failed := r.metrics.Value(metrics.HandshakesFailedNotTLS)
	nc := r.knock()
	if err := in(5)(nc, r.clientHello()); err != nil {
		t.Fatal(err)
	}
	r.cut(nc, notTLS)
	r.becomes("five records, refused", failed+1, func() int64 { return r.metrics.Value(metrics.HandshakesFailedNotTLS) })
}

// A ClientHello whose last record holds far more than the ClientHello is longer
// than what is looked at; to wait for it would be to look for ever.
func TestClientHelloWithATailIsRefused(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	b := append([]byte{22, 3, 1, 16000 >> 8, 16000 & 0xFF, 1, 0, 0x3F, 0}, make([]byte, 16000-4)...)
	b = append(append(b, 22, 3, 1, 0x40, 0), make([]byte, recordMax)...)
	nc := r.knock()
	_, _ = nc.Write(b) // refused before all of it was sent
	r.cut(nc, notTLS)
	check()
}

func TestAThousandSilentSockets(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	r.settle()
	before := r.goroutines()
	var last net.Conn
	for range 1000 {
		last = r.knock()
	}
	r.becomes("connections, with the bystander", 1001, r.connections)
	r.calm(last)
	r.becomes("goroutines more than before", 0, r.goroutinesMoreThan(before))
	check()
	r.pass(10 * time.Second)
	r.becomes("connections after the deadline", 1, r.connections)
	check()
}

// At the cap on handshakes the one that has waited longest makes room, so that
// silent sockets cannot keep a client out.
func TestHandshakeCapEvictsTheOldest(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	err := r.server.listeners[0].Door.Apply(listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 3, ConnectDeadline: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r.onLoops(func(l *Loop) { // one loop accepts, so that it is certain which is the oldest
		if l.id == 1 {
			l.poll.(*epoller).stop()
		}
	})
	var silent []net.Conn
	for i := range 3 {
		silent = append(silent, r.knock())
		r.becomes("handshakes", int64(i+1), func() int64 { return r.metrics.Value(metrics.Handshakes) })
	}
	evicted := func() int64 { return r.metrics.Value(metrics.ConnectionsClosedEvicted) }
	for i, nc := range silent[:2] {
		if err := r.enters(r.knock(), "honest"); err != nil {
			t.Fatalf("an honest client behind silent ones: %v", err)
		}
		r.cut(nc, nil)
		r.becomes("evicted", int64(i+1), evicted)
		silent = append(silent, r.knock()) // fills the place the honest one has left
		r.becomes("handshakes", 3, func() int64 { return r.metrics.Value(metrics.Handshakes) })
	}
	r.calm(silent[2]) // the youngest of the first three is still there
	check()
}

// Clients that do not speak TLS get an alert that they may understand, and the
// operator is told what they spoke.
func TestPlaintextAtTheTLSPort(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	connect := (&mqtt.Connect{Version: mqtt.V311, ClientID: "plain", CleanStart: true}).Append(nil, mqtt.V311, 0)
	refused := func() int64 { return r.metrics.Value(metrics.HandshakesFailedNotTLS) }
	for i, row := range []struct{ sent, why string }{
		{string(connect), "speaks MQTT without TLS"},
		{"GET / HTTP/1.1\r\n\r\n", "speaks HTTP without TLS"},
		{"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "the first bytes are not TLS"},
	} {
		nc := r.knock()
		if _, err := nc.Write([]byte(row.sent)); err != nil {
			t.Fatal(err)
		}
		r.cut(nc, notTLS)
		r.becomes(row.why, int64(i+1), refused)
		if !strings.Contains(r.log.String(), row.why) {
			t.Errorf("not in the log: %s\n%s", row.why, r.log)
		}
	}
	r.becomes("connections", 0, r.connections)
}

// A client that says ClientHello and then nothing has a coroutine until the
// deadline, and no processor.
func TestStalledHandshakeEndsAtTheDeadline(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	r.settle()
	before := r.goroutines()
	nc := r.knock()
	if _, err := nc.Write(r.clientHello()); err != nil {
		t.Fatal(err)
	}
	flight := make([]byte, 64<<10)
	if n, err := nc.Read(flight); err != nil || n < 100 || flight[0] != contentHandshake {
		t.Fatalf("%d bytes, %v; want the server's flight", n, err)
	}
	r.settle()
	r.onLoops(func(l *Loop) {
		for _, c := range l.conns {
			if c != nil && c.stage == shaking && l.shaking != 1 {
				t.Errorf("%d handshakes under way", l.shaking)
			}
		}
	})
	r.becomes("turns that are held while it waits", 0, r.server.listeners[0].Door.Computing)
	r.calm(nc)
	r.pass(8 * time.Second)
	r.becomes("connections", 2, r.connections)
	r.pass(2 * time.Second)
	r.becomes("connections, the bystander", 1, r.connections)
	r.becomes("goroutines more than before", 0, r.goroutinesMoreThan(before))
	r.cut(nc, nil)
	check()
}

// More handshakes than may compute: all of them have their turn.
func TestManyHandshakesWithOneSlot(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	r.settle()
	r.limits(listener.DoorLimits{ConnectionsTotal: 5000, UnauthenticatedTotal: 5000, HandshakesTotal: 1000, ConnectDeadline: 10 * time.Second, ShakeCPU: 1})
	errs := make([]error, 200)
	var wait sync.WaitGroup
	for i := range errs {
		nc := r.knock()
		wait.Go(func() { errs[i] = r.enters(nc, "many/"+string(rune('a'+i%26))+string(rune('a'+i/26))) })
	}
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("handshake %d: %v", i, err)
		}
	}
	r.becomes("connections, with the bystander", 201, r.connections)
	r.becomes("turns not given back", 0, r.server.listeners[0].Door.Computing)
	check()
}
