package test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// retainedMax is limits.retained_messages_total there.
const retainedMax = 500

// TestQueueAttackRows are the rows about windows, queues and work that is asked for.
// Bounds that would take gigabytes to reach are configured lower.
func TestQueueAttackRows(t *testing.T) {
	t.Parallel() // two at a time: most of it is waiting
	s := besiege(t, testkit.Options{Config: "limits: {publish_rate: {messages: 0, bytes: 0}, subscribe_rate: {filters: 0}, mqueue_bytes: 4MiB, mqueue_bytes_total: 16MiB, " +
		fmt.Sprintf("retained_messages_total: %d, ", retainedMax) + "retained_bytes_total: 4MiB, keep_alive_max: 10s, connections_per_prefix: {\"/32\": 60}}\n"})
	defer s.report(t)
	t.Run("A067", func(t *testing.T) { s.bombs(t) })
	t.Run("A069", func(t *testing.T) { s.unreleased(t) })
	t.Run("A071", func(t *testing.T) { s.manyToOne(t) })
	t.Run("A074", func(t *testing.T) { s.slots(t) })
	t.Run("A079", func(t *testing.T) { s.hashes(t) })
	t.Run("A081", func(t *testing.T) { s.filterFlood(t) })
	t.Run("A082", func(t *testing.T) { s.resubscribe(t) })
	t.Run("A083", func(t *testing.T) { s.retainFlood(t) })
	t.Run("A087", func(t *testing.T) { s.fanOut(t) })
	t.Run("A089", func(t *testing.T) { s.identifiers(t) })
	t.Run("A090", func(t *testing.T) { s.tinyMaximum(t) })
	t.Run("rates", func(t *testing.T) { s.rateRows(t) })
}

// bombs are durable subscribers that are away while others publish: each queue and
// all of them together are bounded in bytes (A067).
func (s *siege) bombs(t *testing.T) {
	m := s.mark(t)
	const scale, sessions = 50, 20
	d := s.door("mqtt")
	for i := range sessions {
		w := s.come(t, s.doors[i%4], mqtt.V5, source(1, d, 0), fmt.Sprint("bomb-", i), lasting)
		if !granted(w.ask(1, own+"bomb/#")) {
			t.Fatal("not granted")
		}
		w.die()
	}
	pub := s.come(t, d, mqtt.V5, source(1, d, 1), "pub-bomb")
	most := 0.0
	payload := strings.Repeat("x", 64<<10)
	for n := range 1 << 30 / scale / len(payload) {
		if code := pub.tell(own+"bomb/x", payload, 1); code >= 0x80 {
			t.Fatalf("PUBACK %v, DISCONNECT %s", code, pub.why())
		}
		if n%40 == 0 {
			most = max(most, s.counters(t)["redoubt_mqueue_bytes"])
		}
	}
	if most > 17<<20 {
		t.Errorf("%v MiB are held at most, want 16", most/(1<<20))
	}
	if stored := s.counters(t)["redoubt_store_log_bytes"]; stored < 16<<20 || stored > 64<<20 {
		t.Errorf("the log has %v MiB of them, want each message once", stored/(1<<20))
	}
	back := s.come(t, d, mqtt.V5, source(1, d, 0), "bomb-0", lasting) // judged by its limits when it reads
	for until := time.Now().Add(patience); s.counters(t)[`redoubt_messages_dropped_total{reason="queue_full"}`] == 0; {
		if time.Now().After(until) {
			t.Fatal("nothing is counted as dropped")
		}
	}
	back.die()
	for i := range sessions {
		s.forget(t, d, mqtt.V5, source(1, d, 0), fmt.Sprint("bomb-", i))
	}
	if left := s.counters(t)["redoubt_mqueue_bytes"]; left > 1<<10 {
		t.Errorf("%v bytes are still held", left)
	}
	pub.leave()
	s.held(t, m, fmt.Sprintf("A067 offline queues, 1/%d, %.0f MiB at most", scale, most/(1<<20)), sessions, nil, []string{"mqueue full"})
}

// unreleased: a QoS 2 identifier that is used again and again takes one place, and
// more identifiers than Receive Maximum end the connection (A069, A070).
func (s *siege) unreleased(t *testing.T) {
	s.rounds(t, true, func(t *testing.T, d door, v mqtt.Version) {
		m, from := s.mark(t), source(2, d, int(v))
		const scale = 1000
		watch := s.come(t, d, mqtt.V5, from, "watch-rel")
		watch.ask(2, own+"rel")
		w := s.come(t, d, v, from, "rel")
		one := mqtt.Publish{Topic: []byte(own + "rel"), QoS: 2, PacketID: 1, Payload: []byte("once")}
		packet := one.Append(nil, v)
		for range 1_000_000 / scale / 100 {
			for range 100 {
				w.send(packet)
			}
			for range 100 {
				w.want(mqtt.PUBREC)
			}
		}
		w.wantAlive()
		closed := false
		for id := uint16(2); id < 1000 && !closed; id++ {
			p := one
			p.PacketID, p.Payload = id, []byte("other")
			if _, err := w.conn.Write(p.Append(nil, v)); err != nil {
				break
			}
			in, err := w.next()
			if err != nil || in.Type == mqtt.DISCONNECT {
				if v == mqtt.V5 && (err != nil || mqtt.ReasonCode(in.Body[0]) != mqtt.ReceiveMaximumExceeded) {
					t.Errorf("DISCONNECT % x, %v", in.Body, err)
				}
				if most := map[mqtt.Version]uint16{mqtt.V5: 32}[v]; most > 0 && id != most+1 || id > 101 {
					t.Errorf("closed at identifier %d", id)
				}
				closed = true
			}
		}
		if !closed {
			t.Error("999 messages are left open")
		}
		watch.tell(own+"rel", "end", 2)
		n := 0
		for _, got := range watch.hear("end", true) {
			if strings.HasSuffix(got, "=once") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("one message was delivered %d times", n)
		}
		w.die()
		watch.die()
		s.held(t, m, fmt.Sprintf("A069, A070 QoS 2 without PUBREL, 1/%d %s %s", scale, d.name, v), 1, closedFor("quota_exceeded"), []string{"closed", "receive maximum"}, from)
	})
}

// manyToOne: fast publishers and one subscriber who reads slowly. His queue is
// bounded, and they are not (A071).
func (s *siege) manyToOne(t *testing.T) {
	m := s.mark(t)
	d := s.door("mqtt")
	slow := s.come(t, d, mqtt.V5, source(3, d, 0), "slow")
	slow.ask(1, own+"many")
	if err := rawOf(slow.conn).SetReadBuffer(1 << 10); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var most atomic.Int64
	for i := range 8 {
		d := s.doors[i%4]
		wg.Go(func() {
			pub := s.come(t, d, mqtt.V5, source(3, d, i), fmt.Sprint("fast-", i))
			payload := strings.Repeat("x", 16<<10)
			for n := range 150 {
				if code := pub.tell(own+"many", payload, mqtt.QoS(n%2)); code >= 0x80 {
					t.Errorf("PUBACK %v", code)
				}
				if n%50 == 0 {
					most.Store(max(most.Load(), int64(s.counters(t)["redoubt_mqueue_bytes"])))
				}
			}
			pub.leave()
		})
	}
	wg.Wait()
	if most.Load() > 6<<20 {
		t.Errorf("%d KiB were held for one reader", most.Load()>>10)
	}
	slow.die()
	s.held(t, m, fmt.Sprintf("A071 8 fast publishers, one slow reader, %d KiB at most", most.Load()>>10), 1200, nil, []string{"mqueue full"})
}

// slots fills the places of an address with clients that ask for a keep alive of
// 65,535 s: they are told less, their address has no more than its share, and other
// addresses and the operator get in (A074). That the told one is enforced is the row
// of A075.
func (s *siege) slots(t *testing.T) {
	m := s.mark(t)
	d := s.door("mqtt")
	from := source(4, d, 0)
	var held []net.Conn
	refused := 0
	for i := range 80 {
		conn, err := d.socket(from)
		if err != nil {
			refused++
			continue
		}
		held = append(held, conn)
		w := &wire{t: t, conn: conn, in: newReader(conn), v: mqtt.V5}
		_, _ = conn.Write(connectOf(mqtt.V5, fmt.Sprint("idle-", i), func(c *mqtt.Connect) { c.KeepAlive = 65535 }))
		p, err := w.next()
		if err != nil {
			refused++
			continue
		}
		var ack mqtt.Connack
		if err := mqtt.DecodeConnack(p.Body, p.Header, mqtt.V5, unlimited, &ack); err != nil || ack.ServerKeepAlive == nil || *ack.ServerKeepAlive != 10 {
			t.Fatalf("CONNACK %v, keep alive %v, %v", ack.Reason, ack.ServerKeepAlive, err)
		}
	}
	if refused != 20 {
		t.Errorf("%d of 80 were refused, want those over 60", refused)
	}
	s.come(t, d, mqtt.V5, source(5, d, 0), "elsewhere").leave()
	if r := s.b.Redoubt("", "status"); r.Code != 0 {
		t.Errorf("the operator is kept out: %s", r.Text())
	}
	for _, c := range held {
		_ = c.Close()
	}
	s.held(t, m, "A074 idle clients with keep alive 65,535", refused, []string{`redoubt_connections_refused_total{reason="prefix_limit"}`}, []string{"refused at the door"}, from)
}

// hashes floods with wrong passwords from many networks: what is hashed at once is
// bounded, whoever is connected does not notice, and another login goes through
// (A079, D-03 in little).
func (s *siege) hashes(t *testing.T) {
	s.b.AddUser("honest", "a-long-enough-password-8") // whose password has to be hashed
	m := s.mark(t)
	const scale = 250
	end := time.Now().Add(100 * time.Millisecond)
	var wg sync.WaitGroup
	var tries atomic.Int64
	for i := range 16 {
		d := s.doors[i%2*2]
		wg.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				conn, err := d.dial(net.IPv4(127, byte(1+n%90), byte(i), 1))
				if err != nil {
					continue
				}
				_, _ = conn.Write(connectOf(mqtt.V5, "", func(c *mqtt.Connect) { c.Username, c.Password = fmt.Sprint("nobody-", n), []byte(canary) }))
				tries.Add(1)
				go func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() }()
				time.AfterFunc(4*time.Second, func() { _ = conn.Close() })
				if n%4 == 3 {
					<-time.After(40 * time.Millisecond)
				}
			}
		})
	}
	begun := time.Now()
	var took time.Duration
	for n := 0; took == 0 && time.Since(begun) < 12*time.Second; n++ { // as a device would, it tries again
		if w, code := s.knock(t, s.doors[1], mqtt.V5, source(6, s.doors[1], 0), fmt.Sprint("honest-", n), func(c *mqtt.Connect) { c.Username, c.Password = "honest", []byte("a-long-enough-password-8") }); code == 0 {
			took = time.Since(begun)
			w.leave()
		}
	}
	wg.Wait()
	if took == 0 {
		t.Error("nobody can log in while others guess")
	}
	s.held(t, m, fmt.Sprintf("A079 %d wrong passwords, 1/%d; another's login took %v", tries.Load(), scale, took.Round(time.Millisecond)), int(tries.Load()), nil,
		[]string{"CONNECT refused"})
}

// filterFlood sends packets full of filters: a packet with more than a thousand is
// refused, a client has a hundred, and nobody waits (A081).
func (s *siege) filterFlood(t *testing.T) {
	m := s.mark(t)
	const scale = 400
	var over []mqtt.Subscription
	for i := range 1001 {
		over = append(over, mqtt.Subscription{Filter: string(rune('a' + i%26))})
	}
	n := 0
	for _, d := range s.doors {
		for _, v := range versions {
			w := s.come(t, d, v, source(7, d, int(v)), "over")
			w.send((&mqtt.Subscribe{PacketID: 1, Filters: over}).Append(nil, v, 0))
			n++
			w.drain()
		}
	}
	var wg sync.WaitGroup
	var filters atomic.Int64
	for i := range 10 {
		d := s.doors[i%2*2]
		wg.Go(func() {
			w := s.come(t, d, mqtt.V5, source(8, d, i), fmt.Sprint("filters-", i))
			var packet []byte
			for range 5 {
				var names []mqtt.Subscription
				for i := range 1000 {
					names = append(names, mqtt.Subscription{Filter: fmt.Sprint(own, i)})
				}
				packet = append(packet, (&mqtt.Subscribe{PacketID: 1, Filters: names}).Append(nil, mqtt.V5, 0)...)
			}
			w.send(packet)
			for range 5 {
				p := w.want(mqtt.SUBACK)
				var ack mqtt.Suback
				if err := mqtt.DecodeSuback(p.Body, p.Header, mqtt.V5, unlimited, &ack); err != nil {
					t.Error(err)
				}
				for i, c := range ack.Reasons {
					filters.Add(1)
					if (c < 0x80) != (i < 100) {
						t.Errorf("filter %d: %v", i, c)
						return
					}
				}
			}
			w.leave()
		})
	}
	wg.Wait()
	s.held(t, m, fmt.Sprintf("A081 %d filters, 1/%d", filters.Load(), scale), n, closedFor("quota_exceeded"), nil)
}

// resubscribe asks for all retained messages again and again: they wait in the
// store and come as fast as the client reads, and nobody else waits (A082).
func (s *siege) resubscribe(t *testing.T) {
	m := s.mark(t)
	const scale, times = 500, 100
	d := s.door("mqtt")
	pub := s.come(t, d, mqtt.V5, source(9, d, 0), "pub-keep")
	pub.tellMany(100_000/scale, 1, named("keep/", strings.Repeat("x", 6000)), retained)
	var wg sync.WaitGroup
	for i := range 4 {
		d := s.doors[i]
		wg.Go(func() {
			w := s.come(t, d, mqtt.V5, source(9, d, i+1), fmt.Sprint("again-", i))
			packet := (&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: own + "keep/#"}}}).Append(nil, mqtt.V5, 0)
			go func() { _, _ = io.Copy(io.Discard, w.conn) }()
			for range times {
				if _, err := w.conn.Write(packet); err != nil {
					t.Errorf("closed: %v", err)
					return
				}
			}
			w.die()
		})
	}
	wg.Wait()
	deaf := s.come(t, d, mqtt.V5, source(9, d, 9), "deaf-again") // and one that does not read
	_ = rawOf(deaf.conn).SetReadBuffer(1 << 10)
	for range times {
		if _, err := deaf.conn.Write((&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: own + "keep/#"}}}).Append(nil, mqtt.V5, 0)); err != nil {
			break
		}
	}
	held := 0.0
	if within(time.Second, func() bool { held = s.counters(t)["redoubt_mqueue_bytes"]; return held > 1<<20 }) {
		t.Errorf("%v bytes wait in queues", held)
	}
	deaf.die()
	pub.tellMany(100_000/scale, 1, named("keep/", ""), retained)
	pub.leave()
	s.held(t, m, fmt.Sprintf("A082 %d retained, asked for %d times, 1/%d", 100_000/scale, 5*times, scale), 5*times, nil, nil)
}

// retainFlood retains without end: messages and bytes are bounded, the refusal says
// so, and what is there stays (A083).
func (s *siege) retainFlood(t *testing.T) {
	m := s.mark(t)
	const scale = 16_000
	d := s.door("mqtt")
	w := s.come(t, d, mqtt.V5, source(10, d, 0), "pub-flood")
	refused, kept := 0, 0
	for code, n := range w.tellMany(10_000_000/scale, 1, named("flood/", "1"), retained) {
		switch {
		case code == mqtt.QuotaExceeded:
			refused += n
		case code < 0x80:
			kept += n
		default:
			t.Fatalf("PUBACK %v", code)
		}
	}
	if kept > retainedMax || refused == 0 {
		t.Errorf("%d were kept and %d refused", kept, refused)
	}
	if code := w.tell(own+"flood/0", "2", 1, retained); code >= 0x80 {
		t.Errorf("what is there cannot be replaced: %v", code)
	}
	w.tellMany(10_000_000/scale, 0, named("flood/", ""), retained)
	large := strings.Repeat("x", 1<<20-200)
	for n := range 6 {
		if code := w.tell(own+fmt.Sprint("large/", n), large, 1, retained); code == mqtt.QuotaExceeded {
			refused++
		} else if n > 4 {
			t.Errorf("%d MiB are kept: %v", n, code)
		}
	}
	for n := range 6 {
		w.tell(own+fmt.Sprint("large/", n), "", 1, retained)
	}
	old := s.come(t, d, mqtt.V311, source(10, d, 1), "old") // has no word for it
	if codes := old.tellMany(retainedMax+1, 0, named("old/", "1"), retained); codes[closedCode] > 0 {
		t.Fatalf("closed: %v", codes)
	}
	const total = "redoubt_retained_refused_total"
	if !soon(func() bool { // PINGRESP does not wait for the last of them
		page := s.counters(t)
		return page["redoubt_retained_messages"]-m.series["redoubt_retained_messages"]+page[total]-m.series[total]-float64(refused) >= retainedMax+1
	}) {
		t.Error("some are neither kept nor refused")
	}
	refused += retainedMax + 1 - int(s.counters(t)["redoubt_retained_messages"]-m.series["redoubt_retained_messages"]) // and is not told
	w.tellMany(retainedMax+1, 0, named("old/", ""), retained)
	old.leave()
	w.leave()
	left := 0.0
	if !soon(func() bool {
		left = s.counters(t)["redoubt_retained_messages"] - m.series["redoubt_retained_messages"]
		return left == 0
	}) {
		t.Errorf("%v are left", left)
	}
	s.held(t, m, fmt.Sprintf("A083 retained without end, 1/%d", scale), refused, []string{"redoubt_retained_refused_total"}, nil)
}

// fanOut publishes a large message to many who do not read it: they share one copy
// (A087).
func (s *siege) fanOut(t *testing.T) {
	m := s.mark(t)
	const scale = 1000
	var deaf []*wire
	for i := range 100_000 / scale {
		d := s.doors[i%2*2]
		w := s.come(t, d, mqtt.V5, source(11, d, i%8), fmt.Sprint("fan-", i))
		w.ask(0, own+"fan")
		_ = rawOf(w.conn).SetReadBuffer(1 << 10)
		deaf = append(deaf, w)
	}
	d := s.door("mqtts")
	pub := s.come(t, d, mqtt.V5, source(12, d, 0), "pub-fan")
	before := memory(t, s.b)
	large := strings.Repeat("x", 900<<10)
	for range 3 {
		pub.tell(own+"fan", large, 1)
	}
	grown := memory(t, s.b) - before
	if grown > 28<<20 { // copies would be 270 MB; 8 MiB are the log's buffers, which take the first of them
		t.Errorf("three messages of 900 KiB to %d readers took %d MiB", len(deaf), grown>>20)
	}
	for _, w := range deaf {
		w.die()
	}
	pub.leave()
	s.held(t, m, fmt.Sprintf("A087 fan-out of 900 KiB, 1/%d, %d MiB", scale, grown>>20), len(deaf), nil, nil)
}

// identifiers puts one on each of many overlapping filters: their number is bounded
// with the filters, and a client's Maximum Packet Size holds with them (A089).
func (s *siege) identifiers(t *testing.T) {
	m := s.mark(t)
	const scale = 10
	d := s.door("ws")
	for _, small := range []uint32{0, 200, 100} {
		w := s.come(t, d, mqtt.V5, source(13, d, 0), fmt.Sprint("ids-", small), func(c *mqtt.Connect) { c.MaximumPacketSize = small })
		n := 0
		for i := range 10_000 / scale {
			w.send((&mqtt.Subscribe{PacketID: 1, SubscriptionID: uint32(200_000_000 + i), Filters: []mqtt.Subscription{{Filter: overlapping(i)}}}).Append(nil, mqtt.V5, 0))
			if p := w.want(mqtt.SUBACK); p.Body[len(p.Body)-1] < 0x80 {
				n++
			}
		}
		if n != 20 {
			t.Errorf("%d filters are granted", n)
		}
		pub := s.come(t, d, mqtt.V5, source(13, d, 1), "pub-ids")
		pub.tell(own+"a/a/a/a/a/a/a", "with identifiers", 1)
		pub.tell(own+"0/x", "end", 0) // one filter
		var sizes []int
		ids := 0
		for {
			p, err := w.publish()
			if err != nil {
				t.Fatal(err)
			}
			var got mqtt.Publish
			if err := mqtt.DecodePublishClient(p.Body, p.Header, mqtt.V5, unlimited, &got); err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(p.Body)+2)
			ids = max(ids, len(got.SubscriptionIDs))
			if string(got.Payload) == "end" {
				break
			}
			if small > 0 && len(p.Body)+2 > int(small) {
				t.Errorf("a packet of %d bytes, the client takes %d", len(p.Body)+2, small)
			}
		}
		if want := map[uint32]int{0: 2, 200: 2, 100: 1}[small]; len(sizes) != want {
			t.Errorf("Maximum Packet Size %d: %d packets came, want %d, of %v bytes with up to %d identifiers", small, len(sizes), want, sizes, ids)
		}
		w.leave()
		pub.leave()
	}
	s.held(t, m, fmt.Sprintf("A089 identifiers on overlapping filters, 1/%d", scale), 1, []string{`redoubt_messages_dropped_total{reason="too_large"}`}, nil)
}

// tinyMaximum: a client that takes packets of a few bytes is not sent more, not even
// CONNACK, and nothing loops (A090).
func (s *siege) tinyMaximum(t *testing.T) {
	for _, d := range s.doors {
		m := s.mark(t)
		spent := s.cpu(t)
		for _, size := range []uint32{1, 2, 3, 4, 5, 10, 20} {
			w := s.stranger(t, d, mqtt.V5, source(14, d, 0))
			w.send(connectOf(mqtt.V5, "tiny", func(c *mqtt.Connect) { c.MaximumPacketSize = size }))
			for {
				p, err := w.next()
				if err != nil {
					break
				}
				if n := len(p.Body) + 2; n > int(size) {
					t.Errorf("%v of %d bytes to a client that takes %d", p.Type, n, size)
				}
				if p.Type == mqtt.CONNACK && p.Body[1] == 0 {
					w.ask(0, own+"tiny")
					w.tell(own+"tiny", strings.Repeat("x", 30), 0)
					w.die()
				}
			}
		}
		if used := s.cpu(t) - spent; used > 2*time.Second {
			t.Errorf("%v of processor", used)
		}
		s.held(t, m, "A090 Maximum Packet Size 1 to 20 "+d.name, 7, nil, nil)
	}
}
