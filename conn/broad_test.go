package conn

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// writtenSocket takes everything and counts how often it was given something.
type writtenSocket struct {
	socket
	writes *int
}

func (s writtenSocket) Read()             {}
func (s writtenSocket) Write([]byte) bool { *s.writes++; return true }

// heard is a connection of l that is open, and how often it was written to.
func heard(l *Loop) (*Conn, *int) {
	n := new(int)
	c := &Conn{sock: writtenSocket{writes: n}, stage: open}
	l.adopt(c)
	return c, n
}

// TestAMessageForManyLeavesTheOthersTheirTurns: what is for many is written to so many of
// them a turn; who has something else to send does not wait for them; who sent it goes on
// when all of those have it, and not when others have had more since (D-07).
func TestAMessageForManyLeavesTheOthersTheirTurns(t *testing.T) {
	const many = 10*broadPerTurn + 7
	l := newDuet(t, 1).server.loops[0]
	say := func(c *Conn) { l.Send(c.ref, session.Packet(mqtt.AppendPingresp(nil))) }
	var crowd []*int
	all := func() (n int) {
		for _, w := range crowd {
			n += *w
		}
		return n
	}
	toMany := func() {
		l.Broad(true)
		for _, c := range l.conns[:many] {
			say(c)
		}
		l.Broad(false)
	}
	for range many {
		_, n := heard(l)
		crowd = append(crowd, n)
	}
	author, _ := heard(l)
	author.greedy = true
	toMany()
	l.greedy = []deferred{{author, l.broad.listed}}
	quiet, quietly := heard(l)
	for turn := 1; all() < many; turn++ {
		say(quiet)
		before := all()
		l.turn()
		if *quietly != turn {
			t.Fatalf("turn %d: who has something else to send has been written to %d times", turn, *quietly)
		}
		if n := all() - before; n == 0 || n > broadPerTurn {
			t.Fatalf("turn %d: %d of the many were written to", turn, n)
		}
		if !l.again && all() < many {
			t.Fatalf("turn %d: the loop sleeps while %d of %d wait", turn, many-all(), many)
		}
		if !author.greedy && all() < many {
			t.Fatalf("turn %d: the author goes on when %d of %d have it", turn, all(), many)
		}
		if turn == 2 { // some have it for the second time meanwhile
			toMany()
		}
		if last := l.conns[many-1]; turn == 3 { // it has something for it alone
			if *crowd[many-1] != 0 {
				t.Fatal("the last of many has been written to; the test proves nothing")
			}
			say(last)
			l.turn()
			quietly, turn = new(int), turn+1
			quiet, quietly = heard(l)
			*quietly = turn
			if *crowd[many-1] != 1 {
				t.Fatal("what is for one alone waits behind a message for many")
			}
		}
	}
	l.turn()
	if author.greedy {
		t.Error("the author waits for those who had more since")
	}
	for range 3 * many / broadPerTurn {
		l.turn()
	}
	if all() < many+2*broadPerTurn || len(l.broad.conns) != 0 {
		t.Errorf("%d writes to the many, %d still listed", all(), len(l.broad.conns))
	}
}

// TestPublishersElsewhereWait: however many turns a message for many takes, no more is taken
// from other loops meanwhile than in one turn; what they are told of waits with them.
func TestPublishersElsewhereWait(t *testing.T) {
	b := &broad{}
	if !b.takes(100) {
		t.Fatal("nothing is under way")
	}
	for range 10 {
		b.add(&Conn{})
	}
	if !b.takes(100) {
		t.Fatal("nothing was taken in this round")
	}
	b.head, b.written, b.taken = 3, 3, 99
	if !b.takes(100) {
		t.Error("there is room")
	}
	b.taken = 100
	b.add(&Conn{})
	if b.takes(100) {
		t.Error("more was taken in one round than in a turn")
	}
	b.head, b.written = 10, 10
	if !b.takes(100) {
		t.Error("the round is over")
	}
	in := &inbox{dataMax: 1000}
	in.wake = func() {}
	sender := &Loop{}
	if !in.offer(&broker.Batch{}, sender) {
		t.Fatal("an empty lane takes any batch")
	}
	if _, data := in.drain(nil, nil, false); len(data) != 0 {
		t.Error("the data lane was drained")
	}
	if in.rest() {
		t.Error("the loop sleeps with a batch in its lane")
	}
	if _, data := in.drain(nil, nil, true); len(data) != 1 {
		t.Error("the batch is gone")
	}
}

// TestABugInAMessageForManyEndsWithIt: what is sent after a bug in the middle of one is not
// taken for a part of it.
func TestABugInAMessageForManyEndsWithIt(t *testing.T) {
	l := newDuet(t, 1).server.loops[0]
	l.guard(nil, func() { l.Broad(true); panic("a bug") })
	c, n := heard(l)
	l.Send(c.ref, session.Packet(mqtt.AppendPingresp(nil)))
	if l.turn(); *n != 1 || !l.broad.empty() || l.broad.listed != 0 {
		t.Errorf("%d writes, %d listed", *n, l.broad.listed)
	}
}

// TestOneToManyInOrder: with more subscribers than a turn writes to, on both loops, everybody
// has every message in order, and so has a neighbour what comes between.
func TestOneToManyInOrder(t *testing.T) {
	const subs, publishes = broadPerTurn + 5, 3
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
		pub.expect(mqtt.PINGRESP)
		for _, c := range to {
			for i := range publishes {
				c.gets("open/x", fmt.Sprint(i))
			}
			c.silent()
		}
	})
}
