package test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestSessionAttackRows are the rows about sessions, client identifiers and
// takeover.
func TestSessionAttackRows(t *testing.T) {
	t.Parallel() // two at a time: most of it is waiting
	s := besiege(t, testkit.Options{Config: "limits: {publish_rate: {messages: 0, bytes: 0}, client_connect_rate: {connects: 0}, sessions_total: 400}\n"})
	defer s.report(t)
	wills := s.armWills(t) // they take their time meanwhile
	t.Run("A043", func(t *testing.T) { s.foreignSession(t) })
	t.Run("A057", func(t *testing.T) { s.war(t) })
	t.Run("A058", func(t *testing.T) { s.guess(t) })
	t.Run("A059", func(t *testing.T) { s.parallel(t) })
	t.Run("A061", func(t *testing.T) { s.comeAndGo(t) })
	t.Run("A063", func(t *testing.T) { s.sequences(t) })
	t.Run("A065", func(t *testing.T) { s.twice(t) })
	t.Run("A062", func(t *testing.T) { s.judgeWills(t, wills) })
	t.Run("A066", func(t *testing.T) { s.flood(t) })
}

// foreignSession: who connects with somebody else's client identifier gets a
// session of his own, without what waits for the other, and cuts nobody off (A043,
// A046, A047).
func (s *siege) foreignSession(t *testing.T) {
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(1, d, int(v))
		id, topic := "claimed-"+d.name+v.String(), "devices/"+user+"/claimed/"+d.name+v.String()
		a := s.come(t, d, v, from, id, asUser, lasting)
		if !granted(a.ask(1, topic)) {
			t.Fatal("not granted")
		}
		thief := s.come(t, d, v, from, id, lasting) // while he is connected
		a.wantAlive()
		a.die()
		pub := s.come(t, d, v, from, "pub-"+id, asUser)
		pub.tell(topic, "private", 1)
		thief.die()
		thief = s.stranger(t, d, v, from) // and while he is away
		thief.send(connectOf(v, id, lasting))
		if p := thief.want(mqtt.CONNACK); p.Body[1] != 0 || len(pub.aside) > 0 {
			t.Errorf("CONNACK % x", p.Body)
		}
		thief.ask(1, own+"mark")
		thief.tell(own+"mark", "mark", 1)
		if got := thief.hear("mark", true); len(got) > 0 {
			t.Errorf("the thief heard %q", got)
		}
		thief.leave()
		a = s.come(t, d, v, from, id, asUser, lasting)
		if got := a.hear("private", true); len(got) > 0 {
			t.Errorf("the owner heard %q first", got)
		}
		s.forget(t, d, v, from, id, asUser)
		s.forget(t, d, v, from, id)
		pub.leave()
		s.held(t, m, fmt.Sprintf("A043, A047 another user's client id %s %s", d.name, v), 0, nil, nil)
	})
}

// forget ends a lasting session.
func (s *siege) forget(t *testing.T, d door, v mqtt.Version, from net.IP, id string, change ...func(*mqtt.Connect)) {
	t.Helper()
	s.come(t, d, v, from, id, change...).leave()
}

// war lets ten clients with one client identifier reconnect as fast as they can:
// the session changes hands about once a second, whoever has it keeps it, and the
// rest is refused (A057).
func (s *siege) war(t *testing.T) {
	m := s.mark(t)
	const lasts, most = time.Second, 20 // broker.TakeoversMax
	end := time.Now().Add(lasts)
	var wg sync.WaitGroup
	var tries atomic.Int64
	for i := range 10 {
		d := s.doors[i%2*2] // mqtt and ws: the handshakes of TLS would slow them down
		wg.Go(func() {
			for time.Now().Before(end) {
				conn, err := d.dial(source(2, d, 0))
				if err != nil {
					return
				}
				tries.Add(1)
				w := &wire{conn: conn, in: newReader(conn), v: mqtt.V5}
				_, _ = conn.Write(connectOf(mqtt.V5, "one", func(c *mqtt.Connect) {
					if i%3 > 0 { // the others' session ends with their connection
						lasting(c)
					}
				}))
				if p, err := w.next(); err == nil && p.Body[1] == 0 {
					_ = conn.SetDeadline(end.Add(time.Second))
					_, _ = w.next() // DISCONNECT 0x8E
				}
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
	const series = "redoubt_sessions_taken_over_total"
	over := s.counters(t)[series] - m.series[series]
	if over > most+5 || over < most {
		t.Errorf("%v takeovers in %v, want about %d and one a second", over, lasts, most)
	}
	if tries.Load() < 100 {
		t.Errorf("%d connections are no war", tries.Load())
	}
	if n := strings.Count(s.b.Stderr.String()[m.log:], "session taken over"); n != 1 {
		t.Errorf("said %d times", n)
	}
	s.forget(t, s.doors[0], mqtt.V311, source(3, s.doors[0], 0), "peace")
	s.held(t, m, fmt.Sprintf("A057 ten clients, one id, %v: %d connections, %v takeovers", lasts, tries.Load(), over), int(over), nil, nil)
	s.told(t, m, "CONNECT refused", "connection rate exceeded")
}

// guess connects with a known client identifier and a wrong password: its owner
// stays connected (A058).
func (s *siege) guess(t *testing.T) {
	s.rounds(t, false, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(4, d, int(v))
		n := 0
		for range 2 {
			for _, password := range []string{"", "wrong", canary} {
				w, code := s.knock(t, d, v, from, "steady", asUser, func(c *mqtt.Connect) { c.Password = []byte(password) })
				if n++; code == 0 {
					t.Fatalf("let in with %q", password)
				}
				w.die()
			}
		}
		s.held(t, m, fmt.Sprintf("A058 the bystander's client id %s %s", d.name, v), n, closedFor("connect_refused"), []string{"CONNECT refused"}, from)
	})
}

// parallel connects many at once to one session with messages on their way: one is
// left, with the session whole (A059).
func (s *siege) parallel(t *testing.T) {
	m := s.mark(t)
	const scale = 2
	d := s.door("mqtt")
	first := s.come(t, d, mqtt.V5, source(5, d, 0), "crowd", lasting)
	if !granted(first.ask(1, own+"crowd")) {
		t.Fatal("not granted")
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		pub := s.come(t, d, mqtt.V5, source(6, d, 0), "load")
		for n := 0; ; n++ {
			select {
			case <-stop:
				pub.leave()
				return
			default:
				pub.tell(own+"crowd", fmt.Sprint(n), 1)
			}
		}
	})
	var wg sync.WaitGroup
	conns := make([]net.Conn, 1000/scale)
	for i := range conns {
		wg.Go(func() {
			d := s.doors[i%2*2]
			conn, err := d.dial(source(5, d, i%16))
			if err != nil {
				t.Error(err)
				return
			}
			conns[i] = conn
			_, _ = conn.Write(connectOf(mqtt.V5, "crowd", lasting))
			_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
			_, err = io.Copy(io.Discard, conn)
			if err == nil || errors.Is(err, net.ErrClosed) {
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
	close(stop)
	load.Wait()
	open := 0.0
	if !soon(func() bool {
		open = s.counters(t)["redoubt_connections"] - m.series["redoubt_connections"]
		return open <= 1
	}) {
		t.Errorf("%v connections are left of the fight", open)
	}
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
	const resumed = "redoubt_sessions_resumed_total"
	if n := s.counters(t)[resumed] - m.series[resumed]; n < 10 {
		t.Errorf("%v resumed it: there was no fight", n)
	}
	var last *wire
	if !soon(func() bool { // the fight has to be forgiven
		w, code := s.knock(t, d, mqtt.V5, source(7, d, 0), "crowd", lasting)
		last = w
		return code == 0
	}) {
		t.Fatal("nobody gets the session any more")
	}
	last.tell(own+"crowd", "whole", 1)
	if got := last.hear("whole", true); len(got) > 2000 {
		t.Errorf("%d messages waited", len(got))
	}
	last.tell(own+"crowd", "again", 1)
	if got := last.hear("again", true); len(got) > 0 {
		t.Errorf("heard %q: the subscription is there twice", got)
	}
	s.forget(t, d, mqtt.V5, source(7, d, 0), "crowd")
	first.die()
	s.held(t, m, fmt.Sprintf("A059 parallel CONNECTs of one id, 1/%d", scale), len(conns), nil, []string{"session taken over"})
}

// comeAndGo publishes to a topic while many subscribe to it and drop (A061).
func (s *siege) comeAndGo(t *testing.T) {
	m := s.mark(t)
	end := time.Now().Add(500 * time.Millisecond)
	var wg sync.WaitGroup
	var times atomic.Int64
	for i := range 8 {
		d := s.doors[i%2*2]
		wg.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				w := s.come(t, d, mqtt.V5, source(8, d, i), fmt.Sprintf("drop-%d-%d", i, n%3))
				for range 20 {
					filters := []string{own + "busy", own + "+", "$share/g/" + own + "busy", own + "#"}
					if !granted(w.ask(mqtt.QoS(n%3), filters...)) {
						t.Error("not granted")
					}
					times.Add(int64(len(filters)))
					if n%2 == 0 {
						w.drop(filters[:n%4+1]...)
					}
				}
				w.aside = nil
				w.die() // in the middle of what it is sent
			}
		})
	}
	d := s.door("mqtts")
	pub := s.come(t, d, mqtt.V5, source(9, d, 0), "busy")
	for time.Now().Before(end) {
		if code := pub.tell(own+"busy", "x", 1); code >= 0x80 {
			t.Fatalf("PUBACK %v", code)
		}
	}
	wg.Wait()
	pub.leave()
	if left := s.counters(t)["redoubt_subscriptions"]; !soon(func() bool { return s.counters(t)["redoubt_subscriptions"] <= m.series["redoubt_subscriptions"] }) {
		t.Errorf("%v subscriptions are held, before %v", left, m.series["redoubt_subscriptions"])
	}
	s.held(t, m, "A061 subscribing and dropping under load", int(times.Load()), nil, nil)
}

// sequences plays random ones of CONNECT, DISCONNECT, SUBSCRIBE, UNSUBSCRIBE and
// PUBLISH on few client identifiers (A063, A025, A029's broker half).
func (s *siege) sequences(t *testing.T) {
	m := s.mark(t)
	end := time.Now().Add(time.Second)
	var wg sync.WaitGroup
	var steps atomic.Int64
	for i := range 6 {
		seed := rand.Uint64()
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			d := s.doors[i%2*2]
			for time.Now().Before(end) {
				conn, err := d.dial(source(10, d, i))
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				steps.Add(int64(sequence(r, conn, versions[r.IntN(3)])))
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
	if !soon(func() bool { // what lasts is taken back, also what was still being read
		for i := range 4 {
			w, code := s.knock(t, s.doors[0], mqtt.V5, source(11, s.doors[0], 0), fmt.Sprint("seq-", i))
			if code == mqtt.ServerBusy { // another CONNECT that was still being read came behind it
				return false
			}
			if code != 0 {
				t.Errorf("seq-%d: CONNACK %v", i, code)
			}
			w.leave()
		}
		return s.counters(t)["redoubt_subscriptions"] <= m.series["redoubt_subscriptions"]
	}) {
		t.Errorf("%v subscriptions are held, before %v", s.counters(t)["redoubt_subscriptions"], m.series["redoubt_subscriptions"])
	}
	pub := s.come(t, s.doors[0], mqtt.V5, source(11, s.doors[0], 0), "sweep")
	for i := range 4 {
		pub.tell(own+fmt.Sprint(i), "", 1, retained)
	}
	pub.leave()
	s.held(t, m, "A063 random sequences, a second of the list's hours", int(steps.Load()), nil, nil)
}

// sequence sends a random one and answers how many packets it had.
func sequence(r *rand.Rand, conn net.Conn, v mqtt.Version) (n int) {
	id := fmt.Sprint("seq-", r.IntN(4))
	topic := []byte(own + fmt.Sprint(r.IntN(4)))
	will := func(c *mqtt.Connect) {
		c.CleanStart, c.SessionExpiry = r.IntN(2) == 0, uint32(r.IntN(3))
		if r.IntN(2) == 0 {
			c.Will = &mqtt.Will{Topic: string(topic), Payload: []byte("w"), QoS: mqtt.QoS(r.IntN(3)), Retain: r.IntN(2) == 0, DelaySeconds: uint32(r.IntN(2))}
		}
	}
	packets := [][]byte{connectOf(v, id, will)}
	for range r.IntN(12) {
		filter := []string{string(topic), own + "+", own + "#", "$share/g/" + own + "#", "bad/#/x", own + strings.Repeat("/", 20)}[r.IntN(6)]
		pid := uint16(r.IntN(4) + 1)
		switch r.IntN(8) {
		case 0, 1:
			packets = append(packets, (&mqtt.Subscribe{PacketID: pid, Filters: []mqtt.Subscription{{Filter: filter, QoS: mqtt.QoS(r.IntN(3))}}}).Append(nil, v, 0))
		case 2:
			packets = append(packets, (&mqtt.Unsubscribe{PacketID: pid, Filters: []string{filter}}).Append(nil, v, 0))
		case 3, 4, 5:
			p := mqtt.Publish{Topic: topic, Payload: []byte("x"), QoS: mqtt.QoS(r.IntN(3)), PacketID: pid, Retain: r.IntN(3) == 0}
			packets = append(packets, p.Append(nil, v))
		case 6:
			packets = append(packets, (&mqtt.Ack{Type: mqtt.PUBACK + mqtt.Type(r.IntN(4)), PacketID: pid}).Append(nil, v, 0))
		case 7:
			packets = append(packets, (&mqtt.Disconnect{Reason: mqtt.ReasonCode(r.IntN(2) * 4)}).Append(nil, v, 0))
		}
	}
	for _, p := range packets {
		if _, err := conn.Write(p); err != nil {
			return n
		}
		n++
	}
	_, _ = conn.Write(mqtt.AppendPingreq(nil))
	return n
}

// twice sends one QoS 2 message from two connections of a session while the second
// takes it over: it is delivered at most once, and once if it was acknowledged
// (A065).
func (s *siege) twice(t *testing.T) {
	m := s.mark(t)
	watch := s.come(t, s.doors[0], mqtt.V5, source(12, s.doors[0], 0), "watch-2")
	if !granted(watch.ask(2, own+"once")) {
		t.Fatal("not granted")
	}
	const rounds = 40
	for n := range rounds {
		d := s.doors[n%4]
		id := fmt.Sprint("twice-", n)
		p := mqtt.Publish{Topic: []byte(own + "once"), QoS: 2, PacketID: 5, Payload: fmt.Appendf(nil, "%03d", n)}
		first := s.come(t, d, mqtt.V5, source(12, d, 1), id, lasting)
		conn, err := d.dial(source(12, d, 1))
		if err != nil {
			t.Fatal(err)
		}
		second := &wire{t: t, conn: conn, in: newReader(conn), v: mqtt.V5}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = first.conn.Write(p.Append(nil, mqtt.V5)) })
		p2 := p
		p2.Dup = true
		second.send(append(connectOf(mqtt.V5, id, lasting), p2.Append(nil, mqtt.V5)...))
		wg.Wait()
		if _, ok := second.skipTo(mqtt.PUBREC); !ok {
			t.Fatal("no PUBREC")
		}
		second.send(p2.Append(nil, mqtt.V5)) // once more
		if _, ok := second.skipTo(mqtt.PUBREC); !ok || second.release(5) != 0 {
			t.Fatal("no PUBREC or PUBCOMP")
		}
		second.die()
		first.die()
		s.forget(t, d, mqtt.V5, source(12, d, 1), id)
	}
	watch.tell(own+"once", "end", 1)
	got := watch.hear("end", true)
	if len(got) != rounds {
		t.Errorf("%d deliveries of %d messages: %q", len(got), rounds, got)
	}
	watch.die()
	s.held(t, m, "A065 one QoS 2 message from two connections", rounds, nil, nil)
}

// willCase is a will with delay and session expiry at the edges.
type willCase struct {
	delay, expiry uint32
	bye           *mqtt.Disconnect // nil: the connection is lost
	soon          bool             // due within three seconds
}

var willCases = map[string]willCase{
	"delay over expiry":       {delay: 5, expiry: 1, soon: true},
	"delay is expiry":         {delay: 1, expiry: 1, soon: true},
	"no expiry":               {delay: 5, expiry: 0, soon: true},
	"both never":              {delay: 0xffffffff, expiry: 0xffffffff},
	"expiry 0 by DISCONNECT":  {delay: 5, expiry: 60, bye: &mqtt.Disconnect{Reason: mqtt.DisconnectWithWill, SessionExpiry: new(uint32)}, soon: true},
	"raised by DISCONNECT":    {delay: 1, expiry: 1, bye: &mqtt.Disconnect{Reason: mqtt.DisconnectWithWill, SessionExpiry: sixty()}, soon: true},
	"never by DISCONNECT":     {delay: 1, expiry: 2, bye: &mqtt.Disconnect{Reason: mqtt.DisconnectWithWill, SessionExpiry: never()}, soon: true},
	"raised from 0, an error": {delay: 5, expiry: 0, bye: &mqtt.Disconnect{SessionExpiry: sixty()}, soon: true},
	"goodbye":                 {delay: 1, expiry: 1, bye: &mqtt.Disconnect{}},
}

func sixty() *uint32 { return new(uint32(60)) }
func never() *uint32 { return new(uint32(0xffffffff)) }

// armWills leaves the wills of willCases behind, and who listens.
func (s *siege) armWills(t *testing.T) *wire {
	t.Helper()
	watch := s.come(t, s.doors[0], mqtt.V5, source(13, s.doors[0], 0), "watch-wills")
	if !granted(watch.ask(1, own+"wills/+")) {
		t.Fatal("not granted")
	}
	i := 0
	for name, c := range willCases {
		d := s.doors[i%4]
		i++
		w := s.come(t, d, mqtt.V5, source(13, d, 0), "will "+name, func(p *mqtt.Connect) {
			p.CleanStart, p.SessionExpiry = false, c.expiry
			p.Will = &mqtt.Will{Topic: own + "wills/" + name, Payload: []byte("will"), QoS: 1, DelaySeconds: c.delay}
		})
		if c.bye != nil {
			w.send(c.bye.Append(nil, mqtt.V5, 0))
			w.drain()
		}
		w.die()
	}
	return watch
}

// judgeWills: each came exactly once, or not at all (A062, A091).
func (s *siege) judgeWills(t *testing.T, watch *wire) {
	m := s.mark(t)
	<-time.After(2 * time.Second)
	watch.tell(own+"wills/end", "end", 1)
	got := make(map[string]int)
	for _, topic := range watch.hear("end", true) {
		got[strings.TrimSuffix(strings.TrimPrefix(topic, own+"wills/"), "=will")]++
	}
	for name, c := range willCases {
		want := 0
		if c.soon {
			want = 1
		}
		if got[name] != want {
			t.Errorf("%s: %d wills, want %d", name, got[name], want)
		}
	}
	for name := range willCases { // the rest is due when the session is ended
		s.forget(t, s.doors[0], mqtt.V5, source(13, s.doors[0], 1), "will "+name)
	}
	watch.tell(own+"wills/end", "end", 1)
	if late := watch.hear("end", true); len(late) != 1 || !strings.Contains(late[0], "both never") {
		t.Errorf("at the end of the sessions: %q, want the one that was never due", late)
	}
	watch.die()
	s.held(t, m, "A062 wills at the edges of delay and expiry", len(willCases), nil, nil)
}

// flood makes sessions that are to last for ever: their number and their life are
// bounded, and who has one keeps it (A066).
func (s *siege) flood(t *testing.T) {
	m := s.mark(t)
	const scale = 2000
	refused := 0
	kept := s.come(t, s.doors[0], mqtt.V5, source(14, s.doors[0], 1), "kept", lasting)
	for n := range 1_000_000 / scale {
		d := s.doors[n%2*2]
		id := fmt.Sprint("flood-", n)
		if n%3 == 0 {
			id = ""
		}
		conn, err := d.dial(source(14, d, n%8))
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{t: t, conn: conn, in: newReader(conn), v: mqtt.V5}
		w.send(connectOf(mqtt.V5, id, func(c *mqtt.Connect) { c.CleanStart, c.SessionExpiry = false, 0xffffffff }))
		p := w.want(mqtt.CONNACK)
		var ack mqtt.Connack
		if err := mqtt.DecodeConnack(p.Body, p.Header, mqtt.V5, unlimited, &ack); err != nil {
			t.Fatal(err)
		}
		switch ack.Reason {
		case mqtt.Success:
			if ack.SessionExpiry == nil || *ack.SessionExpiry != 7*24*3600 {
				t.Fatalf("an expiry of %v is told", ack.SessionExpiry)
			}
		case mqtt.QuotaExceeded:
			refused++
		default:
			t.Fatalf("CONNACK %v", ack.Reason)
		}
		w.die()
	}
	if held := s.counters(t)["redoubt_sessions"]; held > 400 || refused < 1_000_000/scale-400 {
		t.Errorf("%v sessions are held, %d were refused", held, refused)
	}
	kept.wantAlive()
	kept.die()
	back := s.come(t, s.doors[0], mqtt.V5, source(14, s.doors[0], 1), "kept", lasting)
	back.leave()
	s.held(t, m, fmt.Sprintf("A066 sessions for ever, 1/%d", scale), refused, closedFor("connect_refused"), nil)
	s.told(t, m, "CONNECT refused", "quota")
}

// told: the log has a line of those who are one identity, wherever each came from; it has
// one a minute for a reason.
func (s *siege) told(t *testing.T, m mark, said ...string) {
	t.Helper()
	if _, ok := s.b.Stderr.WaitFor(patience, m.log, said...); !ok {
		t.Errorf("no line of the log has %q", said)
	}
}
