package limit

import (
	"net/netip"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/internal/shrink"
)

// ConnectsTrackedMax bounds the prefixes a Connects remembers: about 8 MiB. An
// IPv6 attacker has more prefixes than any memory.
const ConnectsTrackedMax = 65_536

// evictLook is how many entries are looked at to make room for one.
const evictLook = 8

// Connects limits new connections per second per address prefix, with a burst of
// one second's worth. It is safe for concurrent use.
//
// Its memory is bounded by forgetting: when it is full, the entry among a few that
// has the least to remember makes room. The worst an attacker with very many
// prefixes gains is a fresh burst for some of them, which the total caps still
// bound; the table never becomes a reason to refuse somebody else.
type Connects struct {
	each int64 // tokens that one connection takes

	mu     sync.Mutex // guards everything below
	widths []width
	max    int
	at     map[netip.Prefix]Bucket
	most   shrink.Most
}

// NewConnects takes connections per second by prefix length, as {"/24": 500,
// "/56": 500}, read like those of NewPrefixes.
func NewConnects(perSecond map[string]int) (*Connects, error) {
	w, err := parseWidths(perSecond)
	if err != nil {
		return nil, err
	}
	return &Connects{each: 1, widths: w, max: ConnectsTrackedMax, at: map[netip.Prefix]Bucket{}}, nil
}

// Allow counts one new connection of a, unless a prefix around it is over its
// rate, which it then names. A refused attempt counts nothing: who slows down is
// let in again at once. A unix socket's zero address is not limited.
func (c *Connects) Allow(now time.Time, a netip.Addr) (over netip.Prefix, ok bool) {
	a = plain(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.widths {
		p, counted := w.of(a)
		if !counted {
			continue
		}
		b := c.bucket(w, p)
		if !b.Take(now, c.each) {
			return p, false
		}
	}
	c.charge(now, a, c.each)
	return netip.Prefix{}, true
}

// charge spends n tokens of every prefix around a, which is plain. It is called
// with mu held.
func (c *Connects) charge(now time.Time, a netip.Addr, n int64) {
	for _, w := range c.widths {
		p, counted := w.of(a)
		if !counted {
			continue
		}
		b := c.bucket(w, p)
		b.Charge(now, n)
		if _, known := c.at[p]; !known && len(c.at) >= c.max {
			c.evict(now)
		}
		c.at[p] = b
	}
}

// bucket is a copy: nothing is spent until every width has said yes.
func (c *Connects) bucket(w width, p netip.Prefix) Bucket {
	b := c.at[p]
	b.PerSecond, b.Burst = int64(w.cap)*c.each, int64(w.cap)*c.each // as configured now
	return b
}

// evict makes room for one entry. Map iteration starts at a random place, so
// the few entries looked at are others each time.
func (c *Connects) evict(now time.Time) {
	var least netip.Prefix
	var wait int64
	looked := 0
	for p, b := range c.at {
		if b.Full(now) {
			delete(c.at, p)
			return
		}
		if looked == 0 || b.empty < wait {
			least, wait = p, b.empty
		}
		if looked++; looked == evictLook {
			break
		}
	}
	delete(c.at, least)
}

// Sweep forgets prefixes that are back to a full burst, looking at no more than
// max entries, and answers how many it forgot. The owner calls it now and then.
func (c *Connects) Sweep(now time.Time, max int) (forgotten int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most.Note(len(c.at))
	for p, b := range c.at {
		if max--; max < 0 {
			return forgotten
		}
		if b.Full(now) {
			delete(c.at, p)
			forgotten++
		}
	}
	if forgotten > 0 { // not in the loop: it goes over this map
		c.at = shrink.Map(c.at, &c.most)
	}
	return forgotten
}

// Tracked is how many prefixes are held in memory.
func (c *Connects) Tracked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at)
}

// SetRates changes widths and rates; what was spent per prefix stays spent. An
// error changes nothing.
func (c *Connects) SetRates(perSecond map[string]int) error {
	w, err := parseWidths(perSecond)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.widths = w
	return nil
}
