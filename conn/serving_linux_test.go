package conn

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// shortOfTime has the turn no time left for those who are not in.
func (l *Loop) shortOfTime() { l.last, l.begun, l.room = l.now, l.now.Add(-time.Hour), strangersTime }

// members is how many connections a loop has.
func (l *Loop) members() (n int) {
	for _, c := range l.conns {
		if c != nil {
			n++
		}
	}
	return n
}

// crowded is a rig with room for many strangers, who come to the first loop alone.
func crowded(t *testing.T) *rig {
	r := newRealRig(t, nil)
	r.limits(listener.DoorLimits{ConnectionsTotal: 500, UnauthenticatedTotal: 500, HandshakesTotal: 500, ConnectDeadline: 10 * time.Second})
	r.accepting(0)
	return r
}

// first runs f on the first loop.
func (r *rig) first(f func(l *Loop, p *epoller)) {
	r.onLoops(func(l *Loop) {
		if l.id == 0 {
			f(l, l.poll.(*epoller))
		}
	})
}

// While clients who are in are served, one turn accepts and closes as many as there is time for, and one
// at least; when nobody is, it takes large portions.
func TestStrangersHaveAPartOfATurn(t *testing.T) {
	r := crowded(t)
	const many = 12
	r.first(func(l *Loop, p *epoller) {
		for i := range many {
			r.knockFrom(fmt.Sprintf("127.0.3.%d", 1+i)) // the kernel has them; nobody has accepted
		}
		l.shortOfTime()
		if p.accept(p.entries[0]); l.members() != 1 {
			t.Errorf("%d were accepted in a turn that had no time", l.members())
		}
		l.last = time.Time{}
		if p.accept(p.entries[0]); l.members() != many {
			t.Errorf("%d of %d were accepted where nobody is served", l.members(), many)
		}
		l.now = l.now.Add(11 * time.Second)
		line := l.before
		l.before = strangers{} // the wheel alone
		l.shortOfTime()
		l.again = false
		if l.lookAtLate(); l.members() != many-1 || !l.again {
			t.Errorf("%d are left of %d, another turn is asked for: %t", l.members(), many, l.again)
		}
		l.before = line
		l.again = false
		if l.before.hurry(l); l.members() != many-2 || !l.again {
			t.Errorf("%d are left of %d, another turn is asked for: %t", l.members(), many-1, l.again)
		}
		l.last = time.Time{}
		if l.lookAtLate(); l.members() != many-2-overduePerTurn {
			t.Errorf("%d are left of %d where nobody is served", l.members(), many-2)
		}
	})
}

// Who is in is served before those who are not, and of those each has its turn, however short turns are and
// whatever the others send.
func TestStrangersTakeTurns(t *testing.T) {
	r := crowded(t)
	alice := r.connect(mqtt.V5, "alice/1")
	r.pass(newFor)
	const many = 4
	var crowd []net.Conn
	for i := range many {
		crowd = append(crowd, r.knockFrom(fmt.Sprintf("127.0.4.%d", 1+i)))
	}
	r.becomes("strangers", many, func() (n int64) {
		r.first(func(l *Loop, _ *epoller) { n = int64(len(l.before.waiting) - l.before.head) })
		return n
	})
	say := func(nc net.Conn, b byte) {
		if _, err := nc.Write([]byte{b}); err != nil {
			t.Error(err)
		}
	}
	heard := func(l *Loop) (n int) {
		for _, c := range l.conns {
			if c != nil && c.stranger() && c.half != nil && len(c.half.in) > 0 {
				n++
			}
		}
		return n
	}
	r.first(func(l *Loop, p *epoller) {
		for _, nc := range crowd {
			say(nc, byte(mqtt.CONNECT)<<4)
		}
		alice.send(mqtt.AppendPingreq(nil))
		for turn := 1; turn <= many; turn++ {
			l.serves = false
			p.wait(0)
			p.dispatch()
			if heard(l) != turn-1 || l.serves != (turn == 1 && alice.of(l)) {
				t.Errorf("turn %d: %d strangers were heard before others; somebody was served: %t", turn, heard(l), l.serves)
			}
			l.shortOfTime()
			if p.strangers(); heard(l) != turn {
				t.Errorf("%d of %d were heard after %d turns", heard(l), many, turn)
			}
			if turn == 1 {
				for _, nc := range crowd { // the rest of a CONNECT of 127 bytes, slowly
					say(nc, 127)
				}
			} else {
				for _, nc := range crowd {
					say(nc, 0)
				}
			}
		}
	})
	alice.expect(mqtt.PINGRESP)
}

// What others say is answered before a loop reads on from who has more to say than a turn allows (D-07).
func TestBulkyOnesComeLast(t *testing.T) {
	r := crowded(t)
	var all []*client
	for i := range 8 {
		all = append(all, r.connect(mqtt.V5, fmt.Sprintf("alice/%d", i)))
	}
	ask := func(what bulk) (answered, left int) {
		r.first(func(l *Loop, p *epoller) {
			var here []*client
			for _, c := range all {
				if c.of(l) {
					here = append(here, c)
				}
			}
			if len(here) < 2 {
				t.Fatalf("%d of %d clients are on the first loop", len(here), len(all))
			}
			for _, c := range here {
				c.send(mqtt.AppendPingreq(nil))
			}
			for _, o := range l.conns {
				if o != nil && o.stage == open && o.hasPort(here[0].nc) {
					o.bulk = what
				}
			}
			l.changed = l.now
			before := r.metrics.Value(metrics.PacketsSent.At(int(mqtt.PINGRESP)))
			p.wait(0)
			p.dispatch()
			answered, left = int(r.metrics.Value(metrics.PacketsSent.At(int(mqtt.PINGRESP)))-before), len(l.dirty)
		})
		for _, c := range all {
			if !c.of(r.server.loops[0]) {
				c.send(mqtt.AppendPingreq(nil))
			}
			c.expect(mqtt.PINGRESP)
		}
		return answered, left
	}
	if answered, left := ask(exceeds); answered != 0 || left < 2 {
		t.Errorf("%d were answered before all were read, %d have something to send", answered, left)
	}
	if answered, left := ask(bulky); answered < 1 || left != 1 {
		t.Errorf("beside a bulky one %d were answered before it was read, %d have something to send", answered, left)
	}
}

// Whose keep alive is over has a will, which goes to other loops and to the log in the turn after: the loop
// has one without being woken.
func TestTheWillOfWhoIsLateWaitsForNobody(t *testing.T) {
	r := crowded(t)
	alice := r.connect(mqtt.V5, "alice/1")
	seen := false
	r.onLoops(func(l *Loop) {
		if !alice.of(l) {
			return
		}
		seen = true
		l.now = l.now.Add(time.Hour)
		l.moment = l.server.instant(l.now)
		l.again = false
		if l.lookAtLate(); !l.again || alice.of(l) {
			t.Errorf("its connection is there: %t; another turn is asked for: %t", alice.of(l), l.again)
		}
	})
	if !seen {
		t.Error("no loop has the client")
	}
}

// of tells whether the client is at loop l.
func (c *client) of(l *Loop) bool {
	for _, o := range l.conns {
		if o != nil && o.stage == open && o.hasPort(c.nc) {
			return true
		}
	}
	return false
}

func (c *Conn) hasPort(nc net.Conn) bool {
	return int(c.port) == nc.LocalAddr().(*net.TCPAddr).Port
}

// What clients say who have been in for a while is traffic that others give way to; that somebody comes or
// goes is not, nor what a fleet says when it is back.
func TestWhoIsServed(t *testing.T) {
	r := newRealRig(t, nil)
	at := func() time.Time {
		r.pass(time.Second)
		return r.now()
	}
	if r.server.serves(at()) {
		t.Error("somebody is served before anybody came")
	}
	alice := r.connect(mqtt.V5, "alice/1")
	alice.subscribe("a", 1)
	r.turn()
	if r.server.serves(r.now()) {
		t.Error("CONNECT and SUBSCRIBE were taken for traffic")
	}
	r.pass(newFor)
	alice.send(mqtt.AppendPingreq(nil))
	alice.expect(mqtt.PINGRESP)
	r.turn() // the one with the PINGREQ has ended
	if now := r.now(); !r.server.serves(now) || r.server.serves(now.Add(servingFor+time.Millisecond)) {
		t.Error("a PINGREQ is no traffic, or for ever")
	}
	at()
	leave := mqtt.Disconnect{}
	alice.send(leave.Append(nil, mqtt.V5, 0))
	r.becomes("connections", 0, r.connections)
	r.turn()
	if r.server.serves(r.now()) {
		t.Error("a DISCONNECT was taken for traffic")
	}
}
