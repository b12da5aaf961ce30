package jwt

import (
	"crypto/sha256"
	"sync"
	"time"
)

// tokenHash names a token without keeping it.
type tokenHash [sha256.Size]byte

// cache has tokens whose signature was verified, for a time. What depends on the hour, on
// what was revoked and on the client is judged each time. It has two halves, of which the
// older is let go of when the newer is full: at most 2*half entries, each of some KiB at the
// worst, and nobody can make it grow who has no good token.
type cache struct {
	keep time.Duration // 0: nothing is kept
	half int

	mu         sync.Mutex // guards everything below
	newer, old map[tokenHash]cached
	epoch      uint64 // goes up when all is dropped
}

type cached struct {
	v  *verified
	at time.Time
}

func newCache(keep time.Duration, entries int) *cache {
	return &cache{keep: keep, half: max(entries/2, 1), newer: map[tokenHash]cached{}}
}

func (c *cache) find(now time.Time, h tokenHash) *verified {
	if c.keep == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.newer[h]
	if !ok {
		if e, ok = c.old[h]; !ok {
			return nil
		}
	}
	if now.Sub(e.at) >= c.keep || now.Before(e.at) {
		return nil
	}
	return e.v
}

// now is the epoch in which a token is about to be verified.
func (c *cache) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// put keeps a token that was verified in that epoch.
func (c *cache) put(now time.Time, epoch uint64, h tokenHash, v *verified) {
	if c.keep == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch { // by keys that are no more, perhaps
		return
	}
	if len(c.newer) >= c.half {
		c.old, c.newer = c.newer, make(map[tokenHash]cached, c.half)
	}
	c.newer[h] = cached{v, now}
}

// drop forgets all: a key may be gone.
func (c *cache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newer, c.old = map[tokenHash]cached{}, nil
	c.epoch++
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.newer) + len(c.old)
}
