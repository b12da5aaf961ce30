// Package retain holds the last retained message of every topic for those who
// subscribe later, and finds the ones that a filter matches. It does not know who
// subscribes, what was granted or how a message is sent, and what must survive is
// written by others.
//
// Messages are kept in topic order in one list. A walk reads it in portions that
// the caller bounds, skips the ranges in which nothing can match, and can be
// resumed however the store has changed meanwhile.
//
// A store may have Rows: the same messages on disk. While all fit into memory, all
// are there, and nobody reads the disk. When they do not, those that nobody asked for
// leave it, and a walk reads portions of the rows, in which whatever memory knows to be
// newer takes the place of what was read.
//
// Rules: MQTT 5.0 §3.3.1.3 RETAIN, §3.3.2.3.3 Message Expiry Interval, §4.7 topic
// names and topic filters.
package retain

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// ErrQuota says that a message was not retained because the store holds as many
// messages or bytes as the operator allows. The one that was retained for the
// topic before is still there.
var ErrQuota = errors.New("retained messages are at their limit of messages or bytes")

// slotBytes is what the store needs for a message besides its frame: a place in
// the list of topics and perhaps one in that of expiries, with the slack of their
// blocks.
const slotBytes = 48

// Options are the limits of a Store. 0 allows nothing and a negative value has no
// limit. There are no defaults here: package config has them.
type Options struct {
	MessagesMax int   // messages, also those that are only on disk
	BytesMax    int64 // bytes of all of them: the frames with their buffers and the store's own; of what is only on disk about that

	Rows      Rows  // nil: everything is in memory and nowhere else
	MemoryMax int64 // bytes of what is in memory; counts only with Rows
}

// Store holds retained messages. All methods are safe for concurrent use.
type Store struct {
	opt Options

	// version is written while mu is held for writing, after the change it counts.
	version atomic.Uint64
	held    atomic.Int64 // bytes of portions

	mu     sync.RWMutex   // guards everything below
	topics topicList      // what is in memory, by topic name
	expiry list[due, due] // those of it that expire, by time
	bytes  int64
	memory
}

// New makes a store without messages in memory. One with Rows has what those have;
// Refill loads it.
func New(opt Options) *Store {
	s := &Store{opt: opt, topics: newTopicList(), expiry: newExpiryList()}
	if s.complete = opt.Rows == nil; !s.complete {
		s.version.Store(opt.Rows.Reached())
	}
	return s
}

// Put makes f the retained message of its topic [MQTT-3.3.1-5], or removes the
// one there is if f has no payload [MQTT-3.3.1-6] [MQTT-3.3.1-7]. Both take the
// next version, which is written to f.Version before anybody else can find f here;
// so Put is called before f is shared in any other way. The store takes a reference
// of its own.
//
// In a store with Rows it is for what no row will have, which is of the moment: it
// stays in memory and has version 0, so that whoever subscribes just then may get it
// twice.
//
// The only error is ErrQuota; then nothing has changed and f has no version.
func (s *Store) Put(f *mqtt.Frame) (version uint64, err error) {
	next := uint64(0)
	old, err := s.put(f, func(old *mqtt.Frame) bool {
		if s.opt.Rows == nil {
			next = s.version.Load() + 1
		}
		return len(f.Payload()) == 0 || s.room(f, old)
	}, &next)
	if err != nil {
		return 0, err
	}
	if old != nil {
		old.Release()
	}
	return f.Version, nil
}

// Restore is Put for a message that was taken already, by the log: there is room for
// it, whatever the limits say now. Its version is the number of its record, which is
// greater than that of any before, and its row follows.
func (s *Store) Restore(f *mqtt.Frame, version uint64) {
	if old, _ := s.put(f, func(*mqtt.Frame) bool { return true }, &version); old != nil {
		old.Release()
	}
}

// Room tells whether Put would take f now. Where Unsure tells that this depends on the
// disk, it answers as if nothing was retained for the topic.
func (s *Store) Room(f *mqtt.Frame) bool {
	if len(f.Payload()) == 0 {
		return true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, old := s.topics.find(f.Topic(), s.topics.tagOf(f.Topic()))
	return s.room(f, old)
}

// put answers the frame that f took the place of; the store's reference to it is
// the caller's now.
func (s *Store) put(f *mqtt.Frame, may func(old *mqtt.Frame) bool, version *uint64) (old *mqtt.Frame, err error) {
	if f.Version != 0 {
		panic("BUG: retain: frame put twice")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tag := s.topics.tagOf(f.Topic())
	p, old := s.topics.find(f.Topic(), tag)
	if !may(old) {
		return nil, ErrQuota
	}
	f.Version = *version
	f.Used.Store(1)
	switch remove := len(f.Payload()) == 0; {
	case remove:
		if old != nil {
			s.removeAt(p, old)
		}
		s.bury(f.Topic(), f.Version)
	case old != nil:
		s.account(old, -1)
		s.topics.blocks[p.block].items[p.i] = entry{f.Hold(), tag}
		s.account(f, 1)
	default:
		s.insert(f, tag)
	}
	s.shed()
	if f.Version != 0 {
		// Last, so that who reads this version and then takes the lock finds f.
		s.version.Store(f.Version)
	}
	return old, nil
}

// insert adds f, of whose topic nothing is in memory.
func (s *Store) insert(f *mqtt.Frame, tag uint32) {
	delete(s.stones, string(f.Topic()))
	f.Used.Store(1)
	s.topics.insert(s.topics.seek(f.Topic()), entry{f.Hold(), tag})
	s.account(f, 1)
}

// room tells whether the limits allow f in place of old, which may be nil.
// The caller holds mu, as for all that follow.
func (s *Store) room(f, old *mqtt.Frame) bool {
	messages, bytes := s.count()
	messages, bytes = messages+1, bytes+sizeOf(f)
	if old != nil {
		messages, bytes = messages-1, bytes-sizeOf(old)
	}
	return (s.opt.MessagesMax < 0 || messages <= s.opt.MessagesMax) &&
		(s.opt.BytesMax < 0 || bytes <= s.opt.BytesMax)
}

func sizeOf(f *mqtt.Frame) int64 { return int64(f.Size()) + slotBytes }

// account adds f to, or with sign -1 takes it out of, the bytes and the expiries.
func (s *Store) account(f *mqtt.Frame, sign int64) {
	s.bytes += sign * sizeOf(f)
	if f.Version == 0 { // no row will have it
		s.momentary += int(sign)
		s.momentaryBytes += sign * sizeOf(f)
	}
	if f.ExpiresAt == 0 {
		return
	}
	d := dueOf(f)
	p := s.expiry.seek(d)
	if sign > 0 {
		s.expiry.insert(p, d)
		return
	}
	if there, _, _ := s.expiry.at(p); there != d {
		panic("BUG: retain: ExpiresAt or Version of a retained frame was changed")
	}
	s.expiry.remove(p)
}

// removeAt takes f at p out of the store; its reference is the caller's.
func (s *Store) removeAt(p place, f *mqtt.Frame) {
	s.account(f, -1)
	s.topics.remove(p)
}

// Version is the version of the last Put. Every Put up to it is visible to a Walk
// that starts afterwards.
func (s *Store) Version() uint64 { return s.version.Load() }

// Stats is how many messages are retained and how much memory they take, or would take
// if they were there, in bytes. Messages that have expired count until Sweep or a Put
// removes them, or the rows have let go of them.
func (s *Store) Stats() (messages int, bytes int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.count()
}

// Own is how many of those are the broker's: no row will have them. None in a store without
// Rows, which cannot tell.
func (s *Store) Own() (messages int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.momentary
}

// Sweep removes messages that have expired at now, at most max of them and the
// oldest first [MQTT-3.3.2-5]. If it answers max there may be more. The version
// does not change: to a subscriber they were gone already.
func (s *Store) Sweep(now time.Time, max int) (removed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shed() // what had no row when it came may have one now
	for ; removed < max; removed++ {
		d, _, ok := s.expiry.at(place{})
		if !ok || !expired(d.f, now) {
			break
		}
		name := d.f.Topic()
		p, _ := s.topics.find(name, s.topics.tagOf(name))
		s.left(d.f.Version) // the row may be an older one still
		s.removeAt(p, d.f)
		d.f.Release()
	}
	return removed
}
