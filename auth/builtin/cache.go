package builtin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// cache remembers which (user, password) pairs were verified, as HMACs under a key
// that exists only in this process: a dump of its memory gives no password to
// guess at without the key beside it, and nothing of it is ever on disk.
//
// An entry holds the record it was verified against and counts only while the
// store still holds that credential. A change of password therefore kills it
// even when the check that made it was in flight during the change.
type cache struct {
	key  [sha256.Size]byte
	max  int
	keep time.Duration

	mu      sync.Mutex // guards everything below
	entries map[[sha256.Size]byte]verified
	order   [][sha256.Size]byte // ring of the keys, oldest at next once it is full
	next    int
}

type verified struct {
	user  *record
	until time.Time
	slot  int // in order
}

func newCache(random io.Reader, max int, keep time.Duration) (*cache, error) {
	c := &cache{max: max, keep: keep, entries: map[[sha256.Size]byte]verified{}}
	if _, err := io.ReadFull(random, c.key[:]); err != nil {
		return nil, fmt.Errorf("read random bytes for the credential cache: %w", err)
	}
	return c, nil
}

// pair is the HMAC of a user name and a password. The length in front keeps two
// pairs with the same bytes in all apart.
func (c *cache) pair(name string, password secret.Value) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, c.key[:])
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(name)))
	h.Write(n[:])
	io.WriteString(h, name)
	h.Write(password.Reveal())
	h.Sum(sum[:0])
	return sum
}

// has tells whether this password was verified for the record in force. The HMAC
// is computed for every name, known or not.
func (c *cache) has(now time.Time, user *record, name string, password secret.Value) bool {
	key := c.pair(name, password)
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.entries[key]
	if !ok {
		return false
	}
	if !user.sameAs(v.user) || !now.Before(v.until) {
		delete(c.entries, key)
		return false
	}
	return true
}

// add remembers a pair; the oldest makes room.
func (c *cache) add(now time.Time, user *record, password secret.Value) {
	key := c.pair(user.name, password)
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.entries[key]; ok {
		c.entries[key] = verified{user, now.Add(c.keep), old.slot}
		return
	}
	slot := c.next
	if len(c.order) < c.max {
		c.order = append(c.order, key)
	} else {
		// The slot's former pair may have been dropped and added again elsewhere.
		if old, ok := c.entries[c.order[slot]]; ok && old.slot == slot {
			delete(c.entries, c.order[slot])
		}
		c.order[slot] = key
	}
	c.next = (slot + 1) % c.max
	c.entries[key] = verified{user, now.Add(c.keep), slot}
}

// drop forgets everything of these users. The entries are dead already; this gives
// their memory back and lets go of the old records.
func (c *cache) drop(names []string) {
	gone := make(map[string]bool, len(names))
	for _, n := range names {
		gone[n] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, v := range c.entries {
		if gone[v.user.name] {
			delete(c.entries, key)
		}
	}
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}
