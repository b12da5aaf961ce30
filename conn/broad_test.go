package conn

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
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
	const subs, publishes = 96, 3 // more from the other loop than a turn delivers
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

// slowSocket takes its time for what it is given.
type slowSocket struct {
	socket
	d *duet
}

func (s slowSocket) Write(b []byte) bool {
	s.d.clock.Advance(broadTime / 2)
	return s.socket.Write(b)
}

// reader takes everything and remembers it.
type reader struct {
	socket
	got []byte
}

func (r *reader) Read()               {}
func (r *reader) Write(b []byte) bool { r.got = append(r.got, b...); return true }

func (r *reader) Close(bool, listener.Admission) {}

// seated is a client of l with a session.
func seated(t *testing.T, l *Loop, id string) (*Conn, *reader) {
	t.Helper()
	r := &reader{}
	c := &Conn{sock: r, stage: open, version: mqtt.V5}
	l.adopt(c)
	o, refusal := l.home.Open(l.now, &broker.Arrival{
		Conn: c.ref, Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: id, CleanStart: true, ReceiveMaximum: 65535}, By: auth.Principal{Identity: id, Username: id, ClientID: id},
	})
	if refusal != nil {
		t.Fatal(refusal)
	}
	c.session = o.Ref
	return c, r
}

// TestAMessageForManyIsReceivedInTurns: of what another loop has sent for many a turn takes a
// part, and the next turn goes on with it. What is for few does not wait behind it, each session
// gets what it gets in order, and who has gone gets nothing.
func TestAMessageForManyIsReceivedInTurns(t *testing.T) {
	const many, few, perTurn = 133, 3, 32 // broker.behindPerTurn
	d := newDuet(t, 1)
	set := *d.server.broker.Settings()
	set.SessionsTotal = 10 * many
	d.server.broker.Apply(&set)
	for _, l := range d.server.loops {
		l.home, l.inbox.dataMax, l.now = d.server.broker.NewHome(l.id, l, l.count, d.clock.Now()), 1<<20, d.clock.Now()
	}
	from, to := d.server.loops[0], d.server.loops[1]
	author, _ := seated(t, from, "author")
	var crowd []*Conn
	var read, alone []*reader
	for i := range many {
		c, r := seated(t, to, fmt.Sprint(i))
		to.home.Subscribe(to.now, c.session, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "all/x"}, {Filter: fmt.Sprintf("own/%d", i)}}})
		crowd, read = append(crowd, c), append(read, r)
	}
	for i := range few {
		c, r := seated(t, to, fmt.Sprint("few", i))
		to.home.Subscribe(to.now, c.session, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: fmt.Sprintf("some/%d", i)}}})
		alone = append(alone, r)
	}
	for range 2 {
		to.turn()
	}
	say := func(topic, what string) {
		from.home.Publish(from.now, author.session, &mqtt.Publish{Topic: []byte(topic), Payload: []byte(what)})
		from.home.Turn(from.now)
	}
	has := func(what string) (n int) {
		for _, r := range append(slices.Clone(read), alone...) {
			n += bytes.Count(r.got, []byte(what))
		}
		return n
	}
	say("all/x", "first")
	say("all/x", "second")
	for i := range few {
		say(fmt.Sprintf("some/%d", i), "alone")
	}
	say(fmt.Sprintf("own/%d", many-2), "fourth") // for who waits itself
	listed := to.broad.listed
	to.turn()
	if n := to.broad.listed - listed; n != perTurn {
		t.Errorf("a turn has taken %d deliveries for many from another loop, want %d", n, perTurn)
	}
	if !to.again {
		t.Error("the loop sleeps while something is left")
	}
	if n := has("alone"); n != few {
		t.Errorf("what is for few has come %d times, want %d: it waits for what is for many", n, few)
	}
	last := many - 1
	to.home.Disconnect(to.now, crowd[last].session, &mqtt.Disconnect{}) // before its turn has come
	say("all/x", "third")
	for n := 0; to.again || n == 0; n++ {
		if to.again = false; n > 100 {
			t.Fatal("it does not end")
		}
		if to.turn(); (!to.broad.empty() || to.home.Later() > 0) && !to.again {
			t.Fatal("the loop sleeps while something is left")
		}
	}
	for what, want := range map[string]int{"first": many - 1, "second": many - 1, "third": many - 1, "alone": few, "fourth": 1} {
		if n := has(what); n != want {
			t.Errorf("%q has come %d times, want %d", what, n, want)
		}
	}
	for i, r := range read[:last] {
		one, two, three := bytes.Index(r.got, []byte("first")), bytes.Index(r.got, []byte("second")), bytes.Index(r.got, []byte("third"))
		if one > two || two > three {
			t.Errorf("%d has got them in another order: %q", i, r.got)
		}
	}
	if four := bytes.Index(read[last-1].got, []byte("fourth")); four < bytes.Index(read[last-1].got, []byte("second")) {
		t.Errorf("what is for few has overtaken what came before for the same session: %q", read[last-1].got)
	}
	if to.home.Later() != 0 || len(to.broad.conns) != 0 {
		t.Errorf("%d bytes and %d connections stay listed", to.home.Later(), len(to.broad.conns))
	}
}

// TestWhatIsForManyIsTheirTime: a turn in which much was done for many has no more of it at
// its end than another.
func TestWhatIsForManyIsTheirTime(t *testing.T) {
	const many = 4 * broadPerTurn
	d := newDuet(t, 1)
	l := d.server.loops[0]
	var writes []*int
	for range many {
		_, n := heard(l)
		writes = append(writes, n)
	}
	written := func() (n int) {
		for _, w := range writes {
			n += *w
		}
		return n
	}
	toMany := func(takes time.Duration) {
		l.Broad(true)
		for _, c := range l.conns[:many] {
			l.Send(c.ref, session.Packet(mqtt.AppendPingresp(nil)))
		}
		d.clock.Advance(takes)
		l.Broad(false)
	}
	l.now = d.clock.Now()
	toMany(time.Second)
	if l.flushBroad(); written() != broadPerTurn {
		t.Errorf("%d were written to after a second that was theirs, want %d", written(), broadPerTurn)
	}
	l.now = d.clock.Now()
	d.clock.Advance(time.Second) // which was others'
	if l.flushBroad(); written() != many {
		t.Errorf("%d were written to, want all %d: the clock stands still", written(), many)
	}
	if l.flushBroad(); l.broad.spent != 0 {
		t.Error("time that is over counts for the next turn")
	}
	before := written()
	for _, c := range l.conns[:many] {
		c.sock = slowSocket{c.sock, d}
	}
	l.now = d.clock.Now()
	toMany(0)
	if l.flushBroad(); written()-before != broadLook {
		t.Errorf("%d were written to in a turn with nothing else, each of whom takes half of broadTime; want %d", written()-before, broadLook)
	}
}

// TestWhoIsClosedWhileManyWaitIsTold: who is listed for a message that many have, and is closed
// before his turn, gets the reason in this turn and not never.
func TestWhoIsClosedWhileManyWaitIsTold(t *testing.T) {
	const many = 3 * broadPerTurn
	l := newDuet(t, 1).server.loops[0]
	for range many {
		heard(l)
	}
	last, r := l.conns[many-1], &reader{}
	last.sock, last.version = r, mqtt.V5
	l.Broad(true)
	for _, c := range l.conns[:many] {
		l.Send(c.ref, session.Packet(mqtt.AppendPingresp(nil)))
	}
	l.Broad(false)
	l.part(last, &mqtt.Disconnect{Reason: mqtt.SessionTakenOver}, broker.CauseTakenOver)
	l.turn()
	if want := (&mqtt.Disconnect{Reason: mqtt.SessionTakenOver}).Append(nil, mqtt.V5, 0); !bytes.HasSuffix(r.got, want) {
		t.Errorf("it has got %x, want %x at the end", r.got, want)
	}
}

// TestWhatIsForManyHasAsLongAsOthers: however long a turn is, what others have sent for many is
// delivered for as long.
func TestWhatIsForManyHasAsLongAsOthers(t *testing.T) {
	d := newDuet(t, 1)
	set := *d.server.broker.Settings()
	set.SessionsTotal = 1000
	d.server.broker.Apply(&set)
	for _, l := range d.server.loops {
		l.home, l.inbox.dataMax, l.now = d.server.broker.NewHome(l.id, l, l.count, d.clock.Now()), 1<<20, d.clock.Now()
	}
	from, to := d.server.loops[0], d.server.loops[1]
	author, _ := seated(t, from, "author")
	for i := range 300 {
		c, _ := seated(t, to, fmt.Sprint(i))
		to.home.Subscribe(to.now, c.session, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "all/x"}}})
	}
	for range 2 {
		to.turn()
	}
	from.home.Publish(from.now, author.session, &mqtt.Publish{Topic: []byte("all/x"), Payload: []byte("first")})
	from.home.Turn(from.now)
	to.turn()
	waits := to.home.Later()
	if waits == 0 {
		t.Fatal("nothing waits: the test proves nothing")
	}
	to.broad.others = 0
	to.now = d.clock.Now()
	if to.catchUp(); to.home.Later() == 0 || to.home.Later() == waits {
		t.Errorf("%d bytes wait of %d after a turn in which others had no time", to.home.Later(), waits)
	}
	to.broad.others = time.Millisecond // the clock stands still: nothing takes longer
	if to.catchUp(); to.home.Later() != 0 {
		t.Errorf("%d bytes wait although others had a millisecond", to.home.Later())
	}
	to.flushBroad()
	to.now = d.clock.Now()
	from.home.Publish(from.now, author.session, &mqtt.Publish{Topic: []byte("all/x"), Payload: []byte("second")})
	from.home.Turn(from.now)
	to.turn()
	d.clock.Advance(time.Second) // of others, in this turn
	if to.flushBroad(); to.broad.others != time.Second {
		t.Errorf("others have had %v, want a second", to.broad.others)
	}
}
