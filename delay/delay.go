// Package delay holds messages that are to be published later, until their time
// comes. It does not publish: it knows neither topics nor who may do what, starts
// no timer and reads no clock. Each loop has a Store, which only it touches; what
// they hold together is counted by one Account.
//
// Messages are in memory. Whoever has them in a log, too, gives them back after a crash
// with Restore, and keeps them here with no due time (Never) while it waits for the log.
//
// Rules: none of MQTT; $delayed/ is EMQX's, and package topic reads it.
package delay

import (
	"container/heap"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// What a message is refused for. The publisher is answered 0x97, Quota exceeded.
var (
	ErrTotal = errors.New("delayed messages are at their limit of messages or bytes for the node")
	ErrOwner = errors.New("delayed messages are at their limit of messages or bytes for one identity")
)

// slotBytes is what a message takes besides its frame and the name of its owner: an
// item, its places in two slices with their slack, and a part of an account's entry.
const slotBytes = 192

// Never is the due time of a message that waits for something else first; see Set.
const Never = math.MaxInt64

// Message is a message that waits. P is whatever the caller wants back with it: who
// published, as they are to be judged when it is due.
type Message[P any] struct {
	ID    uint64 // in its Store; greater than those of messages that came before
	Due   int64  // unix milliseconds, or Never
	Owner string // whose limits it counts against
	By    P
	Frame *mqtt.Frame
}

// Store holds the delayed messages of one loop. It is not safe for concurrent use.
// The zero Store is of no use: New makes one.
type Store[P any] struct {
	account *Account
	last    uint64
	byDue   dueHeap[P]
	arrived []*item[P] // by ID; those that have gone stay until half of them have
	gone    int        // of arrived
}

type item[P any] struct {
	Message[P]
	at int // in byDue; -1: gone
}

// New makes an empty store whose messages count in account.
func New[P any](account *Account) *Store[P] { return &Store[P]{account: account} }

// Put keeps f until due, in unix milliseconds. The store takes a reference of its
// own. The error is ErrTotal or ErrOwner; then nothing has changed.
func (s *Store[P]) Put(f *mqtt.Frame, due int64, owner string, by P) (id uint64, err error) {
	if err := s.account.take(owner, sizeOf(f, owner), false); err != nil {
		return 0, err
	}
	return s.add(f, due, owner, by), nil
}

// Restore is Put for a message that was taken already, by the log: it counts and is not
// refused.
func (s *Store[P]) Restore(f *mqtt.Frame, due int64, owner string, by P) (id uint64) {
	_ = s.account.take(owner, sizeOf(f, owner), true) // it says nothing then
	return s.add(f, due, owner, by)
}

func (s *Store[P]) add(f *mqtt.Frame, due int64, owner string, by P) (id uint64) {
	s.last++
	i := &item[P]{Message: Message[P]{s.last, due, owner, by, f.Hold()}}
	s.arrived = append(s.arrived, i)
	heap.Push(&s.byDue, i)
	return i.ID
}

// Set gives a message another due time, and tells whether it was waiting.
func (s *Store[P]) Set(id uint64, due int64) bool {
	at, found := s.find(id)
	if !found || s.arrived[at].at < 0 {
		return false
	}
	i := s.arrived[at]
	i.Due = due
	heap.Fix(&s.byDue, i.at)
	return true
}

func sizeOf(f *mqtt.Frame, owner string) int64 { return int64(f.Size()+len(owner)) + slotBytes }

// Due takes out what is due at now, at most max messages, and appends it to out: the
// earliest first, and of one moment the one that came first. The references to the
// frames are the caller's then. If it answers max there may be more.
func (s *Store[P]) Due(now time.Time, max int, out []Message[P]) []Message[P] {
	for n := 0; n < max && len(s.byDue) > 0 && s.byDue[0].Due <= now.UnixMilli(); n++ {
		out = append(out, s.take(s.byDue[0]))
	}
	return out
}

// Next is when Due next has something to do; the zero time if nothing waits for its time.
func (s *Store[P]) Next() time.Time {
	if len(s.byDue) == 0 || s.byDue[0].Due == Never {
		return time.Time{}
	}
	return time.UnixMilli(s.byDue[0].Due)
}

// Len is how many messages wait.
func (s *Store[P]) Len() int { return len(s.byDue) }

// List appends to out the messages with an ID greater than after, in the order of
// their ID and at most max. The frames are the store's: who keeps one holds it.
func (s *Store[P]) List(after uint64, max int, out []Message[P]) []Message[P] {
	from, found := s.find(after)
	if found {
		from++
	}
	for _, i := range s.arrived[from:] {
		if max <= 0 {
			break
		}
		if i.at >= 0 {
			out = append(out, i.Message)
			max--
		}
	}
	return out
}

// Delete drops a message and tells whether it was waiting.
func (s *Store[P]) Delete(id uint64) bool {
	at, found := s.find(id)
	if !found || s.arrived[at].at < 0 {
		return false
	}
	m := s.take(s.arrived[at])
	m.Frame.Release()
	return true
}

// Clear drops every message, and answers how many there were.
func (s *Store[P]) Clear() int {
	n := len(s.byDue)
	for len(s.byDue) > 0 {
		m := s.take(s.byDue[len(s.byDue)-1])
		m.Frame.Release()
	}
	return n
}

// find is where in arrived an ID is, or would be.
func (s *Store[P]) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(s.arrived, id, func(i *item[P], id uint64) int {
		switch {
		case i.ID < id:
			return -1
		case i.ID > id:
			return 1
		}
		return 0
	})
}

// take takes an item out; its reference to the frame is the caller's.
func (s *Store[P]) take(i *item[P]) Message[P] {
	m := i.Message
	heap.Remove(&s.byDue, i.at)
	i.at = -1
	i.Message = Message[P]{ID: m.ID} // which find needs; all else may be large
	s.account.give(m.Owner, sizeOf(m.Frame, m.Owner))
	if s.gone++; s.gone > len(s.arrived)/2 {
		s.compact()
	}
	return m
}

// compact forgets what has gone, so that a store that was full once is small again.
func (s *Store[P]) compact() {
	live := make([]*item[P], 0, len(s.arrived)-s.gone)
	for _, i := range s.arrived {
		if i.at >= 0 {
			live = append(live, i)
		}
	}
	s.arrived, s.gone = live, 0
	if cap(s.byDue) > 4*len(s.byDue) {
		s.byDue = append(make(dueHeap[P], 0, len(s.byDue)), s.byDue...)
	}
}

// dueHeap has the message that is due first in front.
type dueHeap[P any] []*item[P]

func (h dueHeap[P]) Len() int { return len(h) }

func (h dueHeap[P]) Less(i, j int) bool {
	if h[i].Due != h[j].Due {
		return h[i].Due < h[j].Due
	}
	return h[i].ID < h[j].ID
}

func (h dueHeap[P]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push and Pop are heap.Interface's.
func (h *dueHeap[P]) Push(x any) {
	i := x.(*item[P])
	i.at = len(*h)
	*h = append(*h, i)
}

// Pop takes the last one off.
func (h *dueHeap[P]) Pop() any {
	old := *h
	i := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return i
}
