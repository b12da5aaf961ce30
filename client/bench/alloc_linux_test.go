//go:build !race

package bench

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A message costs no memory: a delivery is read, counted, acknowledged, and the next one is
// sent, through real sockets, with TLS and without.
func TestAMessageDoesNotAllocate(t *testing.T) {
	ca := fake.NewAuthority(t, "ca", nil)
	for _, of := range []struct {
		qos    mqtt.QoS
		secure bool
		exact  bool // as by a rate
	}{{qos: 0}, {qos: 1}, {qos: 2}, {qos: 1, secure: true}, {qos: 1, exact: true}, {qos: 1, secure: true, exact: true}} {
		q := of.qos
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		o := &Options{Client: client.DefaultOptions(), Scenario: Pair, Count: 1, QoS: q, Payload: 64}
		if o.Client.Host, o.Client.Port, o.Client.TLS = "127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port), nil; of.secure {
			overTLS(t, o, ca)
			o.Client.DialContext = wired((&net.Dialer{}).DialContext)
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("localhost", nil)}})
		}
		if err := o.complete(); err != nil {
			t.Fatal(err)
		}
		r := &run{opt: o, ctx: context.Background(), version: mqtt.V5}
		if r.opener, err = client.NewOpener(o.Client); err != nil {
			t.Fatal(err)
		}
		o.Client = r.opener.Options()
		r.origin = o.Client.Clock.Now()
		r.id, r.window, r.payload = 7, 4, make([]byte, o.Payload)
		r.hist = &r.result.hist
		r.crowd.init(r)
		if r.eng, err = newFast(r.ctx, r, 1, of.exact); err != nil {
			t.Fatal(err)
		}
		defer r.eng.end()
		r.cast()
		if q == 1 { // by an alias, and with a property
			o.TopicAlias, o.UserProperties = true, []mqtt.UserProperty{{Name: "a", Value: "b"}}
			r.pubs[0].pub.dress("bench/0", o, r.payload)
		}
		p := r.pubs[0] // one line for both directions is enough
		r.subs[0] = p
		r.eng.open(&p.line)
		broker, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer broker.Close()
		if of.secure {
			done := make(chan error, 1)
			go func() { done <- broker.(*tls.Conn).Handshake() }()
			defer func() { <-done }()
		}
		for p.state != greeting {
			if err := r.eng.turn(time.Second); err != nil {
				t.Fatal(err)
			}
		}
		p.state = ready
		buf, answer := make([]byte, 64<<10), make([]byte, 0, 1024)
		id, topic := uint16(0), []byte("bench/0")
		most := 0.0
		if of.secure {
			most = 2 // crypto/tls has one for each record, on both sides
		}
		if of.exact {
			most++ // an address for each read that has a time
		}
		if n := testing.AllocsPerRun(200, func() {
			if r.pubs[0].pub.undelivered == 0 {
				r.feed(p)
			}
			_ = r.eng.turn(0)
			if _, err := broker.Read(buf); err != nil {
				t.Fatal(err)
			}
			answer = answer[:0]
			id = id%4 + 1
			switch q {
			case 1:
				answer = append(answer, 0x40, 2, 0, byte(id))
			case 2:
				answer = append(answer, 0x50, 2, 0, byte(id), 0x70, 2, 0, byte(id), 0x62, 2, 0, 9)
			}
			m := mqtt.Publish{Topic: topic, QoS: q, PacketID: 9, Payload: r.payload}
			if q == 0 {
				m.PacketID = 0
			}
			stamp{run: r.id, seq: p.pub.seq - 1}.put(m.Payload)
			answer = m.Append(answer, mqtt.V5)
			if _, err := broker.Write(answer); err != nil {
				t.Fatal(err)
			}
			_ = r.eng.turn(time.Second)
		}); n > most {
			t.Errorf("QoS %d, TLS %t: %v allocations for a message", q, of.secure, n)
		}
		if r.total.delivered < 100 || q > 0 && r.total.acked < 100 || p.state != ready {
			t.Errorf("QoS %d: %d delivered, %d acknowledged, state %d", q, r.total.delivered, r.total.acked, p.state)
		}
	}
}
