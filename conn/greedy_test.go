package conn

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// What one write of a publisher causes is spread over turns once it is more than
// deliveriesPerTurn: nothing is lost, the order stays, and what comes behind it on
// the same connection waits its turn.
func TestABurstOfDeliveriesIsSpreadOverTurns(t *testing.T) {
	const subs, publishes = 50, 100 // 5,000 deliveries
	if subs*publishes <= deliveriesPerTurn {
		t.Fatal("the burst fits a turn; the test proves nothing")
	}
	play(t, func(r *rig) {
		var to []*client
		for i := range subs {
			c := r.connect(mqtt.V5, fmt.Sprintf("alice/%d", i))
			c.subscribe("open/x", 0)
			to = append(to, c)
		}
		pub := r.connect(mqtt.V5, "bob/p")
		var burst []byte
		for i := range publishes {
			p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte(fmt.Sprint(i))}
			burst = p.Append(burst, mqtt.V5)
		}
		pub.send(append(burst, 0xC0, 0))
		for _, c := range to {
			for i := range publishes {
				c.gets("open/x", fmt.Sprint(i))
			}
			c.silent()
		}
		pub.expect(mqtt.PINGRESP)
	})
}

// ticking is a clock of which each look takes time.
type ticking struct {
	clock.Clock
	looks int
}

const eachLook = packetsTime / 4

func (c *ticking) Now() time.Time {
	c.looks++
	return c.Clock.Now().Add(time.Duration(c.looks) * eachLook)
}

// TestOneConnectionIsServedForATime: what one read brought is handled for packetsTime, and the rest
// in the next turns, in order; a read that is short is handled whole, without a look at the clock (D-07).
func TestOneConnectionIsServedForATime(t *testing.T) {
	for what, packet := range map[string][]byte{
		"PINGREQ":   {0xC0, 0},
		"SUBSCRIBE": (&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "a"}}}).Append(nil, mqtt.V311, 0),
	} {
		d := newDuet(t, 1)
		l := d.server.loops[0]
		slow := &ticking{Clock: d.clock}
		l.server.clock = slow
		c, _ := heard(l)
		c.version = mqtt.V311
		taken := func() int64 { return d.metrics.Value(metrics.PacketsReceived.At(int(packet[0] >> 4))) }

		l.input(c, bytes.Repeat(packet, packetsFew/len(packet)-1))
		few := taken()
		if slow.looks != 0 || c.greedy || few != int64(packetsFew/len(packet)-1) {
			t.Errorf("%s: few packets: %d taken, %d looks at the clock, put off: %v", what, few, slow.looks, c.greedy)
		}
		const many = packetsFew
		l.input(c, bytes.Repeat(packet, many))
		most := int64(5 * packetsLook)
		if packet[0]>>4 == byte(mqtt.SUBSCRIBE) {
			most = 3
		}
		if got := taken() - few; got == 0 || got > most || !c.greedy {
			t.Errorf("%s: %d packets taken in one turn, want at most %d; put off: %v", what, got, most, c.greedy)
		}
		turns := 1
		for ; len(l.greedy) > 0 && turns < 2*many; turns++ {
			l.greedy = l.greedy[:0]
			l.goOn(c)
		}
		if got := taken() - few; got != many || c.greedy || c.half.rest() != nil || c.stage != open {
			t.Errorf("%s: %d of %d packets taken in %d turns, %d bytes left, stage %d", what, got, many, turns, len(c.half.rest()), c.stage)
		}
	}
}

// TestInCompanyEachHasLess: while others publish as well one connection has half of packetsTime, and much less if it goes on
// with more than that (D-07).
func TestInCompanyEachHasLess(t *testing.T) {
	d := newDuet(t, 1)
	l := d.server.loops[0]
	l.server.clock = &ticking{Clock: d.clock}
	a, _ := heard(l)
	b, _ := heard(l)
	a.version, b.version = mqtt.V311, mqtt.V311
	ping := []byte{0xC0, 0}
	p := mqtt.Publish{Topic: []byte("open/x")}
	publish := p.Append(nil, mqtt.V311)
	served := func(what string, want int64, do func()) {
		t.Helper()
		before := d.metrics.Value(metrics.PacketsReceived.At(int(mqtt.PINGREQ)))
		do()
		if got := d.metrics.Value(metrics.PacketsReceived.At(int(mqtt.PINGREQ))) - before; got != want*packetsLook {
			t.Errorf("%s: %d packets, want %d", what, got, want*packetsLook)
		}
	}
	next := func() {
		l.greedy = l.greedy[:0]
		l.goOn(a)
	}
	read := func() {
		a.came(readMax, readMax)
		l.input(a, bytes.Repeat(ping, packetsFew))
	}
	drop := func() {
		l.greedy, a.greedy = l.greedy[:0], false
		l.keep(a, a.half.rest(), nil)
	}
	l.now = d.clock.Now()
	l.input(a, publish)
	served("alone", 4, read)
	drop()
	l.input(b, publish)
	a.came(1, readMax)
	served("beside b", 2, read)
	served("and what is left of it", 2, next)
	drop()
	served("it goes on", 1, read)
	served("and what is left", 1, next)
	l.took = 4 * packetsTime
	served("among many, whose turns are long", 2, next)
	l.took = 0
	drop()
	a.came(readMax-1, readMax)
	served("it has said all", 2, func() { l.input(a, bytes.Repeat(ping, packetsFew)) })
	l.now = l.now.Add(companyFor)
	served("b has been silent", 4, next)
}

// TestABusyLoopAsksWhetherSomebodyWaits: before the runtime's watcher takes its place away, and not
// each turn. What it is worth is in docs/performance/profiles.md.
func TestABusyLoopAsksWhetherSomebodyWaits(t *testing.T) {
	d := newDuet(t, 1)
	l := d.server.loops[0]
	asked := 0
	for range 100 {
		l.now = d.clock.Now()
		before := l.yielded
		if l.wait(); l.yielded != before {
			asked++
		}
		d.clock.Advance(yieldEvery / 4)
	}
	if asked != 25 {
		t.Errorf("it asked %d times in %v", asked, 25*yieldEvery)
	}
}

// TestWhoIsPutOffIsNotRefused: where the accounts have no room for what waits, it is served at once (D-07, A001).
func TestWhoIsPutOffIsNotRefused(t *testing.T) {
	d := newDuet(t, 1)
	l := d.server.loops[0]
	l.server.clock = &ticking{Clock: d.clock}
	d.account.SetMax(64 << 20)
	taken := func(of mqtt.Type) int64 { return d.metrics.Value(metrics.PacketsReceived.At(int(of))) }
	serve := func() {
		for n := 0; len(l.greedy) > 0 && n < 1<<20; n++ {
			c := l.greedy[0].conn
			l.greedy = l.greedy[1:]
			l.goOn(c)
		}
	}
	t.Run("one identity has its part", func(t *testing.T) {
		const many, conns = 60, 200
		p := mqtt.Publish{Topic: []byte("open/x"), Payload: make([]byte, 1000)}
		packet := p.Append(nil, mqtt.V311)
		for range conns {
			c, _ := heard(l)
			c.version = mqtt.V311
			l.input(c, bytes.Repeat(packet, many))
		}
		if held, most := d.account.Held(), d.account.Max()/halfShare; held == 0 || held > most {
			t.Errorf("%d bytes wait, want some and at most %d", held, most)
		}
		if serve(); taken(mqtt.PUBLISH) != many*conns || d.account.Held() != 0 {
			t.Errorf("%d of %d packets were taken; %d bytes are held after them", taken(mqtt.PUBLISH), many*conns, d.account.Held())
		}
	})
	t.Run("the account is full", func(t *testing.T) {
		c, _ := heard(l)
		c.version = mqtt.V311
		const many, room = 3000, 1000
		d.account.Reserve(d.account.Max() - room)
		l.input(c, bytes.Repeat([]byte{0x40, 2, 0, 1}, many))
		if len(c.half.rest()) > bufferMin { // which is not counted
			t.Errorf("%d bytes wait, for which there is no room", len(c.half.rest()))
		}
		if serve(); taken(mqtt.PUBACK) != many {
			t.Errorf("%d of %d packets were taken", taken(mqtt.PUBACK), many)
		}
	})
}

// TestOnceInATurn: who is put off has the rest of its time in the next turn, not in this one as well.
func TestOnceInATurn(t *testing.T) {
	d := newDuet(t, 1)
	l := d.server.loops[0]
	l.server.clock = &ticking{Clock: d.clock}
	c, _ := heard(l)
	c.version = mqtt.V311
	l.inbox.post(event{kind: evInput, conn: c, buf: bytes.Repeat([]byte{0xC0, 0}, 2000)})
	for turn := range 3 {
		before := d.metrics.Value(metrics.PacketsReceived.At(int(mqtt.PINGREQ)))
		l.turn()
		if got := d.metrics.Value(metrics.PacketsReceived.At(int(mqtt.PINGREQ))) - before; got == 0 || got > 5*packetsLook {
			t.Errorf("turn %d: %d packets, want at most %d", turn, got, 5*packetsLook)
		}
	}
}

// TestAnIncompletePacketIsJudgedWhoeverWaits: who waits for others to have their message has no more room for
// a packet that he has begun than anybody else (A001, D-04).
func TestAnIncompletePacketIsJudgedWhoeverWaits(t *testing.T) {
	d := newDuet(t, 1)
	l := d.server.loops[0]
	c, _ := heard(l)
	c.version = mqtt.V311
	d.account.Reserve(d.account.Max())
	full := d.account.Held()
	p := mqtt.Publish{Topic: []byte("open/x"), Payload: make([]byte, 100<<10)}
	l.putOff(c, l.broad.listed)
	l.input(c, p.Append(nil, mqtt.V311)[:readMax])
	if held := d.account.Held() - full; held != 0 || c.half.rest() != nil {
		t.Errorf("%d bytes over what there may be, %d bytes kept", held, len(c.half.rest()))
	}
}

// tellingSocket says when it is written to.
type tellingSocket struct {
	writtenSocket
	tell func()
}

func (s tellingSocket) Write(b []byte) bool { s.tell(); return s.writtenSocket.Write(b) }

// TestWhoHasSomethingGoesAhead: what a turn has for others is written before it goes on with who was put off, and who had more
// to write than one turn allows has one portion in it (D-07).
func TestWhoHasSomethingGoesAhead(t *testing.T) {
	d := newDuet(t, 1)
	l := d.server.loops[0]
	l.server.clock = &ticking{Clock: d.clock}
	taken := func() int64 { return d.metrics.Value(metrics.PacketsReceived.At(int(mqtt.PUBACK))) }
	c, _ := heard(l)
	other, writes := heard(l)
	c.version, other.version = mqtt.V311, mqtt.V311
	var then []int64
	other.sock = tellingSocket{writtenSocket{writes: writes}, func() { then = append(then, taken()) }}
	l.input(c, bytes.Repeat([]byte{0x40, 2, 0, 1}, packetsFew))
	if !c.greedy {
		t.Fatal("nobody was put off: this test shows nothing")
	}
	for turn := range 3 {
		before := taken()
		then = nil
		l.inbox.post(event{kind: evInput, conn: other, buf: []byte{0xC0, 0}})
		l.turn()
		if len(then) != 1 || then[0] != before || taken() == before {
			t.Errorf("turn %d: written to after %d packets of who was put off, of %d in the turn", turn, then, taken()-before)
		}
	}

	then = nil
	many := mqtt.NewFrame([]byte("a"), nil, make([]byte, writeMax))
	defer many.Release()
	for range 5 {
		many.Hold()
		l.Send(other.ref, session.Out{Kind: session.OutPublish, Frame: many})
	}
	for turn := 1; turn <= 3; turn++ {
		if l.turn(); len(then) != turn {
			t.Errorf("%d writes of a large queue in %d turns", len(then), turn)
		}
	}
}
