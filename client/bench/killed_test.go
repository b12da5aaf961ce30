package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

// mortal is a broker that ends after so many messages, is away for two connects, and comes back
// with all it has acknowledged but the first.
type mortal struct {
	mu    sync.Mutex // guards all below
	after int
	kept  []mqtt.Publish
	conns []*fake.Conn
	back  bool
	away  int
}

func (b *mortal) serve(c *fake.Conn) {
	b.mu.Lock()
	b.conns = append(b.conns, c)
	if b.away > 0 {
		b.away--
		b.mu.Unlock()
		return
	}
	back := b.back
	b.mu.Unlock()
	if !c.Greet(mqtt.Connack{SessionPresent: back}) {
		return
	}
	if back {
		b.give(c)
	}
	for {
		p, err := c.Next()
		if err != nil || p.Type == mqtt.DISCONNECT || !b.handle(c, p) {
			return
		}
	}
}

func (b *mortal) handle(c *fake.Conn, p fake.Packet) bool {
	switch p.Type {
	case mqtt.SUBSCRIBE:
		a := mqtt.Suback{PacketID: uint16(p.Body[0])<<8 | uint16(p.Body[1]), Reasons: []mqtt.ReasonCode{1}}
		c.Send(a.Append(nil, c.Version, 0))
	case mqtt.PUBLISH:
		m := c.DecodePublish(p)
		m.Payload, m.Topic = append([]byte(nil), m.Payload...), append([]byte(nil), m.Topic...)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.back {
			return false
		}
		b.kept = append(b.kept, m)
		c.SendAck(mqtt.PUBACK, m.PacketID, mqtt.Success, "")
		if len(b.kept) == b.after {
			b.back, b.away = true, 2
			for _, c := range b.conns {
				_ = c.Close()
			}
			return false
		}
	}
	return true
}

// give hands a session what waits for it. The last of its name is its number.
func (b *mortal) give(c *fake.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, m := range b.kept {
		if _, n, _ := strings.Cut(string(m.Topic), "/"); i > 0 && strings.HasSuffix(c.Connect.ClientID, "-s"+n) {
			m.PacketID = uint16(i)
			c.SendPublish(m)
		}
	}
}

// A broker that is killed while messages are published is waited for, and what it acknowledged and
// does not have any more is counted.
func TestABrokerThatIsKilled(t *testing.T) {
	for _, portable := range []bool{false, true} {
		b := &mortal{after: 200}
		s := fake.Start(t, nil, b.serve)
		o := to(s, Offline)
		o.Portable, o.QoS, o.Offline = portable, 1, OfflineShape{Messages: 1000, Publishers: 2, Killed: true}
		rep, err := Run(context.Background(), o)
		var e *client.Error
		if !errors.As(err, &e) || !strings.Contains(e.What, "lost") || rep == nil {
			t.Fatalf("a broker that loses a message: %+v, %v", rep, err)
		}
		// Acknowledgements may have been under way when the connections ended.
		r := rep.Offline
		if acked := rep.Sent.Acknowledged; r.Lost != 1 || acked < 100 || acked > 200 || r.Unacknowledged != 200-acked || r.Present != 3 {
			t.Errorf("portable %t: %+v, %d acknowledged", portable, r, rep.Sent.Acknowledged)
		}
	}
}

// Where nobody kills it nothing was tried.
func TestABrokerThatIsNotKilled(t *testing.T) {
	b := fake.NewBroker(t, nil)
	o := to(b.Server, Offline)
	o.QoS, o.Offline = 1, OfflineShape{Messages: 2, Publishers: 1, Killed: true}
	_, err := Run(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "nothing was tried") {
		t.Errorf("%v", err)
	}
}

// What is left undrained is not lost.
func TestUndrained(t *testing.T) {
	b := fake.NewBroker(t, nil)
	o := to(b.Server, Offline)
	o.QoS, o.Offline = 1, OfflineShape{Messages: 5, Publishers: 1, Undrained: true}
	rep, err := Run(context.Background(), o)
	if err != nil || rep.Delivered != nil || rep.Sent.Acknowledged != 15 || len(b.Connects()) != 1+3+1 { // the probe, sessions, and who publishes
		t.Errorf("%+v, %v, %d connects", rep, err, len(b.Connects()))
	}
}

// There may be more sessions than connections.
func TestSessionsComeInWaves(t *testing.T) {
	for _, o := range []Options{
		{Scenario: Offline, Count: 100000, Offline: OfflineShape{Publishers: 20, Undrained: true}},
		{Scenario: Memory, Count: 100000, Memory: MemoryShape{Kind: OfSession, Visitors: 20}},
	} {
		if got := o.connections(); got != sessionsOfWave+20 {
			t.Errorf("%s: %d connections", o.Scenario, got)
		}
	}
	b := fake.NewBroker(t, nil)
	o := to(b.Server, Offline)
	o.Count, o.QoS, o.Offline = sessionsOfWave+1, 1, OfflineShape{Messages: 1, Publishers: 1, Undrained: true}
	rep, err := Run(context.Background(), o)
	if err != nil || rep.Sent.Acknowledged != uint64(o.Count) || rep.Connections.Connected != o.Count+1 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// Who resumes does so with all but the first, and without it nobody does.
func TestResumedSessions(t *testing.T) {
	ca := fake.NewAuthority(t, "ca", nil)
	for _, resume := range []bool{false, true} {
		b := fake.NewBroker(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("localhost", nil)}})
		o := to(b.Server, Conn)
		o.Count, o.Client.TLS = 9, &client.TLS{CAFile: ca.File(t.TempDir(), "ca.pem"), Resume: resume, Now: func() time.Time { return fake.Noon }}
		rep, err := Run(context.Background(), o)
		want := map[bool]int{true: 8}[resume]
		if err != nil || rep.Connections.Connected != 9 || rep.Connections.Resumed != want {
			t.Errorf("resume %t: %+v, %v", resume, rep, err)
		}
	}
}

// The oldest stranger is the one that came first and is still there.
func TestTheOldestStranger(t *testing.T) {
	at := time.Unix(0, 0)
	s := &strangers{now: func() time.Time { return at }}
	ends := make([]*fake.Conn, 3)
	for i := range ends {
		ends[i] = fake.NewConn(t, nil)
		s.mark(ends[i], at)
		at = at.Add(time.Second)
	}
	s.unmark(ends[0])
	if got := s.oldest(); got != 2*time.Second {
		t.Errorf("%v", got)
	}
	if len(s.begun) != 2 {
		t.Errorf("%d are there", len(s.begun))
	}
}
