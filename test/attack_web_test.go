package test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestWebSocketAttackRows are the rows about frames and about the request that
// opens a WebSocket, with TLS and without.
func TestWebSocketAttackRows(t *testing.T) {
	t.Parallel()
	s := besiege(t, testkit.Options{})
	defer s.report(t)
	rows := []struct {
		id     string
		frame  []byte
		status uint16 // of the close frame
	}{
		{"A143 a frame of 2^63 - 1 bytes", []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04"), 1009},
		{"A143 a frame of 2^64 - 1 bytes", []byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04"), 1002},
		{"A147 unmasked", []byte("\x82\x02\xc0\x00"), 1002},
		{"A147 text", frameOf(0x81, []byte("hello")), 1003},
		{"A147 RSV2", frameOf(0xa2, []byte("\xc0\x00")), 1002},
		{"A147 a reserved opcode", frameOf(0x83, nil), 1002},
		{"A147 a fragmented ping", frameOf(0x09, nil), 1002},
		{"A147 a ping of 126 bytes", frameOf(0x89, make([]byte, 126)), 1002},
		{"A093 a compressed frame", frameOf(0xc2, []byte("\x62\x60\x18\x05\xa3\x60\x14\x8c\x54\x00\x00")), 1002},
	}
	for row, r := range rows {
		for _, d := range s.doors[2:] {
			t.Run(r.id+" "+d.name, func(t *testing.T) {
				const times = 4
				m := s.mark(t)
				for i := range times {
					from := source(row, d, 0)
					w := s.stranger(t, d, mqtt.V5, from)
					if i%2 == 1 {
						w = s.enter(t, d, mqtt.V5, from, "framer")
					}
					web := w.conn.(*webConn)
					if _, err := web.Conn.Write(r.frame); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadAll(w.in); err != nil || web.status != r.status {
						t.Fatalf("close frame %d, want %d; %v", web.status, r.status, err)
					}
					_ = w.conn.Close()
				}
				s.survived(t, m, r.id+" "+d.name, times, closedFor("malformed_packet", "protocol_error", "packet_too_large"), []string{"reason"}, source(row, d, 0))
			})
		}
	}
	for _, d := range s.doors[2:] {
		t.Run("A011 a packet longer than its frame "+d.name, func(t *testing.T) { s.longerThanItsFrame(t, d) })
		t.Run("A146, A093 requests "+d.name, func(t *testing.T) { s.requests(t, d) })
		t.Run("A147 a flood of pings "+d.name, func(t *testing.T) { s.pings(t, d) })
	}
}

// longerThanItsFrame begins a packet in one frame and ends it in another. What is
// announced is waited for and not read from anywhere.
func (s *siege) longerThanItsFrame(t *testing.T, d door) {
	m := s.mark(t)
	begun := s.enter(t, d, mqtt.V311, source(20, d, 0), "begun") // and never ended
	begun.send([]byte("\x30\x80\x20abc"))
	w := s.enter(t, d, mqtt.V311, source(20, d, 0), "whole")
	w.subscribe("devices/"+other+"/frame", 0)
	sent := mqtt.Publish{Topic: []byte("devices/" + other + "/frame"), Payload: bytes.Repeat([]byte("x"), 4096)}
	b := sent.Append(nil, mqtt.V311)
	w.send(b[:6])
	w.send(b[6:])
	if p := w.want(mqtt.PUBLISH); !bytes.Contains(p.Body, sent.Payload) {
		t.Errorf("it came as %d bytes", len(p.Body))
	}
	_, _ = begun.conn.Close(), w.conn.Close()
	s.survived(t, m, "A011 a packet longer than its frame "+d.name, 2, nil, nil)
}

// requests are upgrades of other sites' pages, and one that asks for compression,
// which is not offered.
func (s *siege) requests(t *testing.T, d door) {
	m := s.mark(t)
	for _, r := range []struct {
		header string
		status int
	}{
		{"Origin: https://evil.example\r\n", 403},
		{"Origin: null\r\n", 403},
		{"Origin: https://localhost.evil.example\r\n", 403},
		{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", 101},
	} {
		conn, err := d.socket(source(21, d, 0))
		if err != nil {
			t.Fatal(err)
		}
		w := newWebConn(conn)
		status, header, err := w.ask(upgradeRequest + r.header + "\r\n")
		if err != nil || status != r.status || strings.Contains(header, "permessage-deflate") {
			t.Errorf("%q is answered %d %q, %v", r.header, status, header, err)
		}
		_ = conn.Close()
	}
	s.survived(t, m, "A146, A093 requests "+d.name, 3, nil, []string{"Origin"}, source(21, d, 0))
}

// pings sends many and proves that the connection and the broker are as they were.
func (s *siege) pings(t *testing.T, d door) {
	m := s.mark(t)
	const many = 20_000
	w := s.enter(t, d, mqtt.V5, source(22, d, 0), "pinger")
	web := w.conn.(*webConn)
	flood := bytes.Repeat(frameOf(0x89, []byte("still there?")), 100)
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < many/100 && err == nil; i++ {
			_, err = web.Conn.Write(flood)
		}
		if err == nil {
			_, err = web.Write([]byte("\xc0\x00"))
		}
		sent <- err
	}()
	w.want(mqtt.PINGRESP)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	_ = w.conn.Close()
	s.survived(t, m, "A147 pings "+d.name, many, nil, nil)
}

// TestConnectWhileStartingAndReloading hammers two doors while the broker opens
// them, and while it reloads: who gets in is served, nobody is answered anything
// else, and a reload turns nobody away (A145).
func TestConnectWhileStartingAndReloading(t *testing.T) {
	first := start(t, testkit.Options{})
	first.Stop()
	o := testkit.Options{DataDir: first.DataDir, ListenerTCP: testkit.FreePort(t), ListenerWS: testkit.FreePort(t)}
	doors := []door{{name: "mqtt", port: o.ListenerTCP, no: 1}, {name: "ws", port: o.ListenerWS, web: true, no: 3}}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var ready atomic.Bool
	var served atomic.Int64
	for i := range 4 {
		d := doors[i%2]
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				certain := ready.Load()
				in, err := knock(d, source(0, d, n%8), fmt.Sprintf("early-%d", i))
				if in {
					served.Add(1)
				}
				if err != nil || certain && !in {
					t.Errorf("%s: in %v, ready %v: %v", d.name, in, certain, err)
					return
				}
				if !in { // a port that refuses takes no time
					<-time.After(time.Millisecond)
				}
			}
		})
	}
	b := testkit.Start(t, o)
	ready.Store(true)
	for range 5 {
		logged := b.Stderr.Len()
		b.Signal(syscall.SIGHUP)
		if _, ok := b.Stderr.WaitFor(patience, logged, "reload"); !ok {
			t.Errorf("no word of the reload:\n%s", b.Log())
		}
	}
	before := served.Load()
	if !soon(func() bool { return served.Load() > before+10 || t.Failed() }) {
		t.Error("nobody is served any more")
	}
	close(stop)
	wg.Wait()
	t.Logf("%d connections served", served.Load())
}

// knock connects once. Before the broker is ready it may be refused or closed, but
// what is answered is MQTT.
func knock(d door, from net.IP, clientID string) (in bool, err error) {
	conn, err := d.dial(from)
	if err != nil {
		return false, nil // judged by whether anybody must get in by now
	}
	defer conn.Close()
	w := &wire{conn: conn, in: newReader(conn), v: mqtt.V5}
	if _, err := conn.Write(connectOf(mqtt.V5, clientID, func(*mqtt.Connect) {})); err != nil {
		return false, nil
	}
	p, err := w.next()
	if err != nil {
		return false, nil
	}
	if p.Type != mqtt.CONNACK || len(p.Body) < 2 {
		return false, fmt.Errorf("answered with %v % x", p.Type, p.Body)
	}
	return p.Body[1] == 0, nil
}

// TestPacketsInAnyOrder sends good packets of every type in random order, before
// CONNECT and after it, at every door (A025). Whatever becomes of the connection,
// the broker serves on.
func TestPacketsInAnyOrder(t *testing.T) {
	t.Parallel()
	s := besiege(t, testkit.Options{})
	defer s.report(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, d := range s.doors {
		m := s.mark(t)
		const times = 60
		for i := range times {
			v := []mqtt.Version{mqtt.V311, mqtt.V5}[random.IntN(2)]
			w := s.stranger(t, d, v, source(0, d, 0))
			var b []byte
			if i%4 > 0 {
				b = connectOf(v, "any", func(*mqtt.Connect) {})
			}
			for range 1 + random.IntN(12) {
				b = append(b, anyPacket(random, v)...)
			}
			_, _ = w.conn.Write(append(b, mqtt.AppendPingreq(nil)...))
			for {
				p, err := w.next()
				if err != nil || p.Type == mqtt.PINGRESP {
					break
				}
			}
			_ = w.conn.Close()
		}
		s.survived(t, m, "A025 packets in any order "+d.name, times, nil, nil)
	}
}

// anyPacket is a good packet of any type but PINGREQ.
func anyPacket(random *rand.Rand, v mqtt.Version) []byte {
	id := uint16(1 + random.IntN(3))
	topic := "devices/" + other + "/any"
	switch n := random.IntN(12); n {
	case 0:
		return connectOf(v, "any", func(*mqtt.Connect) {})
	case 1, 2, 3:
		return (&mqtt.Publish{Topic: []byte(topic), QoS: mqtt.QoS(n - 1), PacketID: id * uint16(min(n-1, 1)), Payload: []byte("x")}).Append(nil, v)
	case 4, 5, 6, 7:
		return (&mqtt.Ack{Type: mqtt.PUBACK + mqtt.Type(n-4), PacketID: id}).Append(nil, v, 0)
	case 8:
		return (&mqtt.Subscribe{PacketID: id, Filters: filters(topic)}).Append(nil, v, 0)
	case 9:
		return (&mqtt.Unsubscribe{PacketID: id, Filters: []string{topic}}).Append(nil, v, 0)
	case 10:
		return []byte{0xe0, 0}
	}
	return []byte{0xf0, 0}
}
