package auth

import (
	"bytes"
	"hash/maphash"
	"math/bits"
)

const (
	// cacheWays is how many verdicts share a set; the fifth pushes one out.
	cacheWays = 4
	// cacheSetsMax bounds NewCache: 65,536 sets of 4 are at most 80 MiB.
	cacheSetsMax = 1 << 16
	// cacheTopicMax is the longest topic kept, so that a flood of long topics does
	// not decide how much memory a loop holds. Longer ones are judged each time.
	cacheTopicMax = 256
)

// Cache keeps a loop's verdicts. It belongs to one loop: it is not safe for
// concurrent use. A new policy empties it. After a warm-up it allocates nothing.
type Cache struct {
	sets   []cacheSet
	seed   maphash.Seed // random, so that nobody can aim topics at one set
	policy *Policy      // whose verdicts are kept
	gen    uint64       // of those verdicts; others are stale
	hits   uint64
	misses uint64
	missed bool // the last verdict was not remembered
}

type cacheSet struct {
	ways [cacheWays]verdict
	next uint8 // the way to replace
}

type verdict struct {
	gen, subject uint64
	ask          uint16
	topic        []byte
	decision     Decision
}

// asked is everything of an Access but its topic, and which method was asked.
func asked(a Access, delivery bool) uint16 {
	k := uint16(a.Action) | uint16(a.QoS)<<8
	if a.Retain {
		k |= 1 << 4
	}
	if delivery {
		k |= 1 << 5
	}
	return k
}

// NewCache holds 4 verdicts in each of sets, which is rounded up to a power of two.
func NewCache(sets int) *Cache {
	sets = min(max(sets, 1), cacheSetsMax)
	return &Cache{sets: make([]cacheSet, 1<<bits.Len(uint(sets-1))), seed: maphash.MakeSeed(), gen: 1}
}

// Decide is p.Decide, remembered. subject stands for everything the rules look at
// in by: the caller never uses a number again for a principal that differs.
func (c *Cache) Decide(p *Policy, subject uint64, by *Principal, a Access) Decision {
	v, hit := c.find(p, subject, asked(a, false), a.Topic)
	if c.missed = !hit; hit {
		return v.decision
	}
	d := p.Decide(by, a)
	c.keep(v, subject, asked(a, false), a.Topic, d)
	return d
}

// DecideDelivery is p.DecideDelivery, remembered.
func (c *Cache) DecideDelivery(p *Policy, subject uint64, by *Principal, name []byte) Decision {
	ask := asked(Access{Action: Subscribe}, true)
	v, hit := c.find(p, subject, ask, name)
	if c.missed = !hit; hit {
		return v.decision
	}
	d := p.DecideDelivery(by, name)
	c.keep(v, subject, ask, name, d)
	return d
}

// Missed tells whether the last verdict had to be judged: whoever wants to know what is asked,
// and not how often, looks at those.
func (c *Cache) Missed() bool { return c.missed }

// Counts tells how often a verdict was found and how often not.
func (c *Cache) Counts() (hits, misses uint64) { return c.hits, c.misses }

// find answers the verdict, or the place for it; nil if this topic is not kept.
func (c *Cache) find(p *Policy, subject uint64, ask uint16, topic []byte) (v *verdict, hit bool) {
	if p != c.policy {
		// Holding the policy keeps its address from being used again for another.
		c.policy = p
		c.gen++
	}
	if len(topic) > cacheTopicMax {
		c.misses++
		return nil, false
	}
	h := maphash.Bytes(c.seed, topic) ^ (subject+uint64(ask)<<48)*0x9E3779B97F4A7C15
	set := &c.sets[(h^h>>32)&uint64(len(c.sets)-1)]
	for i := range set.ways {
		w := &set.ways[i]
		if w.gen == c.gen && w.subject == subject && w.ask == ask && bytes.Equal(w.topic, topic) {
			c.hits++
			return w, true
		}
	}
	c.misses++
	v = &set.ways[set.next%cacheWays]
	set.next++
	return v, false
}

func (c *Cache) keep(v *verdict, subject uint64, ask uint16, topic []byte, d Decision) {
	if v == nil {
		return
	}
	v.gen, v.subject, v.ask, v.decision = c.gen, subject, ask, d
	v.topic = append(v.topic[:0], topic...)
}
