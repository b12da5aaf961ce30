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
