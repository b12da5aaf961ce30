package limit

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/internal/shrink"
)

// KnownFor is how long an address is remembered after its last client that had
// been accepted has gone: a device that is back after a restart of a router is
// known, and an address that somebody else has by the next hour is not.
const KnownFor = 10 * time.Minute

// KnownMax bounds the addresses a Known remembers: about 12 MiB.
const KnownMax = 262_144

// Known remembers the addresses of clients that were accepted. Nobody gets in by
// what he says: only a CONNECT that was accepted enters an address, so it takes
// valid credentials, used from there. It remembers IPv4 addresses, and of IPv6 the
// /64 that one network has: not the /24 and /56 that count as one source, or a
// neighbour of a device would be taken for it.
//
// Its memory is bounded by forgetting: when it is full, one of a few that have
// gone makes room, the oldest of them; addresses with clients stay. It is safe for
// concurrent use.
type Known struct {
	mu   sync.Mutex // guards everything below
	max  int
	at   map[uint64]knownOf
	most shrink.Most
}

type knownOf struct {
	inside uint32 // clients that are there now
	seen   int64  // when the last of them left, Unix seconds
}

// NewKnown remembers nobody.
func NewKnown() *Known { return &Known{max: KnownMax, at: map[uint64]knownOf{}} }

// knownKey is what is remembered of an address. IPv4 addresses stand where no
// network of IPv6 is: its first 16 bits are zero there, which is reserved.
func knownKey(a netip.Addr) (key uint64, ok bool) {
	switch a = plain(a); {
	case a.Is4():
		b := a.As4()
		return 0xFFFF<<32 | uint64(binary.BigEndian.Uint32(b[:])), true
	case a.Is6():
		b := a.As16()
		return binary.BigEndian.Uint64(b[:8]), true
	}
	return 0, false
}

// Enter remembers a, one of whose clients was accepted; Gone is to be called when
// it has left, if entered.
func (k *Known) Enter(now time.Time, a netip.Addr) (entered bool) {
	key, ok := knownKey(a)
	if !ok {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e, there := k.at[key]
	if !there && len(k.at) >= k.max && !k.forget() {
		return false
	}
	e.inside++
	e.seen = now.Unix()
	k.at[key] = e
	return true
}

// Gone says that a client that was entered has left.
func (k *Known) Gone(now time.Time, a netip.Addr) {
	key, _ := knownKey(a)
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.at[key]
	if e.inside == 0 {
		panic("BUG: limit: a known client has left twice")
	}
	e.inside--
	e.seen = now.Unix()
	k.at[key] = e
}

// Has tells whether a client of a was accepted and is there, or has left at most
// KnownFor ago.
func (k *Known) Has(now time.Time, a netip.Addr) bool {
	key, ok := knownKey(a)
	if !ok {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e, there := k.at[key]
	return there && !e.over(now)
}

func (e knownOf) over(now time.Time) bool {
	return e.inside == 0 && now.Unix()-e.seen > int64(KnownFor/time.Second)
}

// forget makes room for one. Map iteration starts at a random place, so the few
// that are looked at are others each time.
func (k *Known) forget() bool {
	var oldest uint64
	found, looked := false, 0
	for key, e := range k.at {
		if e.inside == 0 && (!found || e.seen < k.at[oldest].seen) {
			oldest, found = key, true
		}
		if looked++; looked == evictLook {
			break
		}
	}
	if found {
		delete(k.at, oldest)
	}
	return found
}

// Sweep forgets those whose time is over, looking at no more than max entries. The
// owner calls it now and then.
func (k *Known) Sweep(now time.Time, max int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.most.Note(len(k.at))
	forgotten := 0
	for key, e := range k.at {
		if max--; max < 0 {
			break
		}
		if e.over(now) {
			delete(k.at, key)
			forgotten++
		}
	}
	if forgotten > 0 {
		k.at = shrink.Map(k.at, &k.most)
	}
}

// Tracked is how many addresses are held in memory.
func (k *Known) Tracked() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int64(len(k.at))
}
