package conn

import (
	"testing"
	"time"
	"unsafe"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// A queue that always has something left must not keep room for all it ever sent.
func TestAnOutQueueThatIsNeverEmptyStaysSmall(t *testing.T) {
	var q outQueue
	count := metrics.New().NewShard()
	ping := session.Packet([]byte{0xD0, 0})
	q.push(ping)
	for range 100_000 {
		q.push(ping)
		q.list.pop()
	}
	if q.empty() || cap(q.list.items) > 256 {
		t.Errorf("room for %d items, one of them waiting", cap(q.list.items))
	}
	if b := q.encode(nil, mqtt.V5, time.Unix(0, 0), count); len(b) != 2 || !q.empty() || q.cost() != 0 || q.answers() != 0 {
		t.Errorf("%d bytes left, cost %d, answers %d", len(b), q.cost(), q.answers())
	}
}

// What has been sent is not kept by the list it was in, which may be lent for as long as the
// process runs.
func TestAListKeepsNothingThatWasSent(t *testing.T) {
	for n := range 40 {
		var q outQueue
		for range n + 1 {
			q.push(session.Packet([]byte{0xD0, 0}))
		}
		list := q.list
		for range n {
			list.pop()
		}
		if n > 0 && list.first[0].Bytes != nil {
			t.Errorf("of %d the first is kept while the last waits", n+1)
		}
		list.pop()
		for i, o := range append(list.first[:], list.items[:cap(list.items)]...) {
			if o.Bytes != nil {
				t.Errorf("of %d one is kept, at %d", n+1, i)
			}
		}
	}
}

// What an idle connection takes is what limits how many there are. A field that few of
// them need belongs behind a pointer; the allocator's next size is 192, and that of a socket 64.
func TestConnAllocatesAsMuchAsItDid(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n > 176 {
		t.Errorf("a Conn has %d bytes", n)
	}
}

// An idle connection has no list of what waits; those who talk in turn share some.
func TestListsOfWhatWaitsAreShared(t *testing.T) {
	l := &Loop{}
	var one, two outQueue
	l.lend(&one)
	one.push(session.Packet([]byte{0xD0, 0}))
	l.takeBack(&one)
	if one.list == nil || len(l.spare.lists) != 0 {
		t.Fatal("a list with something in it was taken")
	}
	one.list.pop()
	one.writing = true
	if l.takeBack(&one); one.list == nil {
		t.Fatal("a list was taken while a write is under way, with when it began")
	}
	one.writing = false
	if l.takeBack(&one); one.list != nil || len(l.spare.lists) != 1 {
		t.Fatal("an empty list was left with its queue")
	}
	l.lend(&two)
	two.push(session.Packet([]byte{0xD0, 0}))
	if len(l.spare.lists) != 0 || two.cost() == 0 || one.list != nil {
		t.Fatal("the list was not lent to the next")
	}
	for range 2 * spareMax {
		q := outQueue{list: newOutList()}
		l.takeBack(&q)
	}
	if len(l.spare.lists) != spareMax {
		t.Errorf("%d lists are kept, at most %d may be", len(l.spare.lists), spareMax)
	}
}

// A burst of one is the room of the next; all bursts together leave no more than a loop may keep.
func TestRoomOfBurstsIsLentAgainAndHasALimit(t *testing.T) {
	l := &Loop{}
	burst := func(q *outQueue, n int) {
		l.lend(q)
		for range n {
			q.push(session.Packet([]byte{0xD0, 0}))
		}
	}
	over := func(q *outQueue) {
		for !q.empty() {
			q.list.pop()
		}
		l.takeBack(q)
	}
	var q outQueue
	burst(&q, 20)
	list, room := q.list, cap(q.list.items)
	over(&q)
	if l.spare.items != room {
		t.Errorf("room for %d items is kept, counted %d", room, l.spare.items)
	}
	if burst(&q, 20); q.list != list || cap(q.list.items) != room || l.spare.items != 0 {
		t.Errorf("the second burst has room for %d, not what the first had: %d", cap(q.list.items), room)
	}
	over(&q)
	if burst(&q, 2*itemsMax); q.list != list {
		t.Fatal("another list")
	}
	if over(&q); l.spare.items != 0 {
		t.Errorf("a burst of %d left room for %d", 2*itemsMax, l.spare.items)
	}
	crowd := make([]outQueue, 2*spareMax)
	for i := range crowd {
		burst(&crowd[i], 40)
	}
	held := 0
	for i := range crowd {
		over(&crowd[i])
	}
	for _, s := range l.spare.lists {
		held += s.more()
	}
	if held > sparesMax || held != l.spare.items || held < sparesMax/2 {
		t.Errorf("room for %d items is kept, counted %d, at most %d", held, l.spare.items, sparesMax)
	}
}

// TestLentIsWhatIsEncoded: large payloads are lent and not copied, what goes out is the same, and a
// message is neither forgotten nor given back too early.
func TestLentIsWhatIsEncoded(t *testing.T) {
	count := metrics.New().NewShard()
	now := time.Unix(1, 0)
	var copied, shared outQueue
	var frames []*mqtt.Frame
	for i, n := range []int{10, lentMin - 1, lentMin, 65_536, 65_536, 5, 70_000, 73_000, 200_000, 1, 64 << 10, 20_000, 20_000, 20_000, 20_000} {
		f := mqtt.NewFrame([]byte("a/b"), nil, []byte(filling(n, i)))
		frames = append(frames, f)
		copied.push(session.Out{Kind: session.OutPublish, Frame: f.Hold()})
		shared.push(session.Out{Kind: session.OutPublish, Frame: f.Hold()})
	}
	var want, got []byte
	for !copied.empty() {
		want = append(want, copied.encode(nil, mqtt.V5, now, count)...)
	}
	writes, most, lends := 0, 0, false
	for ; !shared.empty(); writes++ {
		b, behind := shared.list.lend(nil, mqtt.V5, now, count)
		if len(b)+len(behind.bytes) == 0 {
			t.Fatal("no progress")
		}
		if most = max(most, len(b)+len(behind.bytes)); behind.of != nil && len(behind.bytes) > 0 && len(b) > writeMax-lentMin {
			t.Errorf("%d bytes were copied for a write", len(b))
		}
		lends = lends || behind.of != nil
		got = append(append(got, b...), behind.bytes...)
		behind.done()
	}
	if string(got) != string(want) {
		t.Fatalf("%d bytes lent, %d encoded", len(got), len(want))
	}
	if !lends {
		t.Error("nothing was lent")
	}
	if most > writeMax+writeSlack || writes > 25 {
		t.Errorf("%d writes, the longest of %d bytes", writes, most)
	}
	for i, f := range frames {
		f.Release()
		if !over(f) {
			t.Errorf("message %d is still held by somebody", i)
		}
	}
}

// over tells whether nobody holds f any more.
func over(f *mqtt.Frame) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f.Hold()
	return false
}

// TestWhatIsLentCounts: a message whose write the system has not finished is still the connection's.
func TestWhatIsLentCounts(t *testing.T) {
	l := newDuet(t, 1).server.loops[0]
	s := &slowBorrower{}
	c := &Conn{sock: s, stage: open, version: mqtt.V5}
	l.adopt(c)
	f := mqtt.NewFrame([]byte("a/b"), nil, make([]byte, 65_000))
	if l.Send(c.ref, session.Out{Kind: session.OutPublish, Frame: f}) {
		t.Error("room for more behind a message of that size")
	}
	if l.flush(c); !c.out.writing || s.behind.of != f || c.out.cost() < f.Size() || c.out.room() {
		t.Fatalf("writing %v, lent %v, cost %d", c.out.writing, s.behind.of == f, c.out.cost())
	}
	s.behind.done()
	c.out.writing = false
	if l.flush(c); c.out.cost() != 0 || c.out.list != nil {
		t.Errorf("cost %d after it was written", c.out.cost())
	}
}

// slowBorrower takes what is lent to it and does not write it.
type slowBorrower struct {
	writtenSocket
	behind lent
}

func (s *slowBorrower) Borrows() bool { return true }

func (s *slowBorrower) WriteLent(b []byte, behind lent) bool {
	putBuffer(b)
	s.behind = behind
	return false
}

// What waits is written in as many writes lent as it is copied, so that who keeps up with small messages does with larger ones.
func TestWhatIsLentTakesNoMoreWrites(t *testing.T) {
	count := metrics.New().NewShard()
	for _, n := range []int{lentMin, 9000, 12_000, 16_000, 20_000, 30_000, 33_000, 40_000, 65_000} {
		f := mqtt.NewFrame([]byte("a/b"), nil, []byte(filling(n, 0)))
		var copied, shared outQueue
		for range 32 {
			copied.push(session.Out{Kind: session.OutPublish, Frame: f.Hold()})
			shared.push(session.Out{Kind: session.OutPublish, Frame: f.Hold()})
		}
		writes, lends := 0, 0
		for ; !copied.empty(); writes-- {
			copied.encode(nil, mqtt.V5, time.Unix(1, 0), count)
		}
		for ; !shared.empty(); writes++ {
			_, behind := shared.list.lend(nil, mqtt.V5, time.Unix(1, 0), count)
			if behind.of != nil {
				lends++
				behind.done()
			}
		}
		more := 0
		if 2*n > writeMax { // one is as good as one and a half
			more = 16
		}
		if writes > more || lends == 0 {
			t.Errorf("%d bytes: %+d writes where %d are lent", n, writes, lends)
		}
		f.Release()
	}
}
