package limit

import (
	"net/netip"
	"sync"

	"github.com/redoubtmq/redoubt/internal/shrink"
)

// Prefixes counts sockets per address prefix against caps. It holds one entry per
// connected address and per counted prefix of it, so the cap on connections
// bounds its memory. It is safe for concurrent use.
type Prefixes struct {
	mu     sync.Mutex // guards everything below
	widths []width
	counts map[netip.Prefix]int // per counted prefix
	live   map[netip.Addr]int   // per address, so that SetCaps can count anew

	mostCounts, mostLive shrink.Most
}

// NewPrefixes takes caps by prefix length, as {"/32": 2000, "/64": 2000}: up to
// "/32" counts IPv4, above counts IPv6. A family without a width is not capped.
func NewPrefixes(caps map[string]int) (*Prefixes, error) {
	w, err := parseWidths(caps)
	if err != nil {
		return nil, err
	}
	return &Prefixes{widths: w, counts: map[netip.Prefix]int{}, live: map[netip.Addr]int{}}, nil
}

// Acquire counts one more socket of a, unless a prefix around it is full, which
// it then names. A unix socket's zero address is not counted.
func (p *Prefixes) Acquire(a netip.Addr) (full netip.Prefix, ok bool) {
	if a = plain(a); !a.IsValid() {
		return netip.Prefix{}, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.widths {
		if at, counted := w.of(a); counted && p.counts[at] >= w.cap {
			return at, false
		}
	}
	p.add(a, 1)
	p.live[a]++
	return netip.Prefix{}, true
}

// Release gives one socket of a back that Acquire counted.
func (p *Prefixes) Release(a netip.Addr) {
	if a = plain(a); !a.IsValid() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.live[a]
	if n == 0 {
		panic("BUG: limit: a prefix was released more often than acquired")
	}
	p.add(a, -1)
	if n == 1 {
		delete(p.live, a)
		p.live = shrink.Map(p.live, &p.mostLive)
	} else {
		p.live[a] = n - 1
	}
}

// add changes every count that a is part of.
func (p *Prefixes) add(a netip.Addr, n int) {
	for _, w := range p.widths {
		at, counted := w.of(a)
		if !counted {
			continue
		}
		if p.counts[at] += n; p.counts[at] == 0 {
			delete(p.counts, at)
			p.counts = shrink.Map(p.counts, &p.mostCounts)
		}
	}
}

// InUse is how many sockets a has now.
func (p *Prefixes) InUse(a netip.Addr) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live[plain(a)]
}

// Tracked is how many addresses and prefixes are held in memory.
func (p *Prefixes) Tracked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live) + len(p.counts)
}

// SetCaps changes widths and caps; sockets that exist are counted anew and none is
// taken away. An error changes nothing.
func (p *Prefixes) SetCaps(caps map[string]int) error {
	w, err := parseWidths(caps)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.widths = w
	clear(p.counts)
	for a, n := range p.live {
		p.add(a, n)
	}
	return nil
}
