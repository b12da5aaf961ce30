package backend

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// CacheOptions are the limits of a Cache. A zero Positive or Negative keeps nothing of
// the kind.
type CacheOptions struct {
	Entries            int           // of both kinds together
	Positive, Negative time.Duration // how long an answer with rows, or without, is believed
}

// Key names a question. It is an HMAC under a key of this process, so that a dump of
// memory says nothing about who asked.
type Key [sha256.Size]byte

// Cache remembers answers for a short time. Nobody tells it that somebody was changed
// or deleted: what it holds may be wrong for as long as it is kept, which is what it
// is for. It is safe for concurrent use.
type Cache struct {
	opt CacheOptions
	key [sha256.Size]byte
	// era counts what Clear has done. It is part of each key, so that an answer that was
	// under way then is put where nobody looks any more.
	era atomic.Uint64

	mu      sync.Mutex // guards everything below
	entries map[Key]cached
	ring    []Key // the oldest at next once it is full
	next    int
	hits    uint64
}

type cached struct {
	rows  []Row
	until time.Time
	slot  int // in ring
}

// NewCache has nothing yet.
func NewCache(opt CacheOptions) *Cache {
	c := &Cache{opt: opt, entries: map[Key]cached{}}
	if _, err := io.ReadFull(rand.Reader, c.key[:]); err != nil {
		panic("BUG: no random bytes: " + err.Error()) // crypto/rand does not fail
	}
	return c
}

// KeyOf names the question. Lengths in front keep arguments apart that have the same
// bytes together.
func (c *Cache) KeyOf(q Question) (k Key) {
	h := hmac.New(sha256.New, c.key[:])
	var n [8]byte
	add := func(s string) {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		io.WriteString(h, s)
	}
	binary.BigEndian.PutUint64(n[:], c.era.Load())
	h.Write(n[:])
	add(q.Text)
	for _, a := range q.Args {
		add(a)
	}
	if !q.Secret.Empty() {
		add("secret")
		h.Write(q.Secret.Reveal())
	}
	h.Sum(k[:0])
	return k
}

// Get answers what is remembered; the rows are shared and only read.
func (c *Cache) Get(now time.Time, k Key) (rows []Row, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[k]
	if !ok {
		return nil, false
	}
	if !now.Before(e.until) {
		delete(c.entries, k)
		return nil, false
	}
	c.hits++
	return e.rows, true
}

// Put remembers an answer; the oldest makes room.
func (c *Cache) Put(now time.Time, k Key, rows []Row) {
	keep := c.opt.Positive
	if len(rows) == 0 {
		keep = c.opt.Negative
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, known := c.entries[k]
	switch {
	case keep <= 0 || c.opt.Entries <= 0:
		delete(c.entries, k)
		return
	case known:
		c.entries[k] = cached{rows, now.Add(keep), old.slot}
		return
	}
	slot := c.next
	if len(c.ring) < c.opt.Entries {
		c.ring = append(c.ring, k)
	} else {
		// What the slot had may have been forgotten and come again elsewhere.
		if old, ok := c.entries[c.ring[slot]]; ok && old.slot == slot {
			delete(c.entries, c.ring[slot])
		}
		c.ring[slot] = k
	}
	c.next = (slot + 1) % c.opt.Entries
	c.entries[k] = cached{rows, now.Add(keep), slot}
}

// Drop forgets one answer.
func (c *Cache) Drop(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, k)
}

// Clear forgets everything, and what is put under a key that was made before.
func (c *Cache) Clear() {
	c.era.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.ring, c.next = nil, 0
}

// Stats is how many answers are remembered, and how many questions that has saved.
func (c *Cache) Stats() (entries int, hits uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries), c.hits
}
