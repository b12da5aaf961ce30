package bans

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

// FlappingMax is how many clients may be banned for flapping at the same time: 4 MB. Beyond
// that the ban that ends first makes room: whoever has as many identities and client
// identifiers takes other limits to be stopped.
const FlappingMax = 10_000

// flapping is the bans of clients that connect over and over. They are in memory only: one
// lasts minutes, and whoever has credentials must not be able to write to the disk with
// every sixteenth connection.
type flapping struct {
	n atomic.Int64 // len(by), for those who only want to know whether there is any

	mu sync.Mutex // guards everything below
	by map[flapKey]*Ban
}

type flapKey struct {
	identity, clientID string
	from               netip.Prefix
}

// Network is the part of an address that one source has as a whole, by which flapping is
// counted: a /24, and a /56 of IPv6. The zero Prefix: there is no address.
func Network(a netip.Addr) netip.Prefix {
	a = plain(a)
	bits := 56
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (f *flapping) len() int64 { return f.n.Load() }

// judge is the ban of a client; nil: there is none.
func (f *flapping) judge(now time.Time, by *auth.Principal) *Ban {
	if f.n.Load() == 0 {
		return nil
	}
	k := flapKey{by.Identity, by.ClientID, Network(by.Addr)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if ban := f.by[k]; ban != nil && !ban.Over(now) {
		return ban
	}
	return nil
}

// Flapped bans a client that has proved who it is, by its identity, its identifier and
// where it comes from, all three: so nobody who shares less with it is out. It has no
// effect on a client without an address.
func (b *Bans) Flapped(now time.Time, by *auth.Principal, lasts time.Duration, reason string) *Ban {
	from := Network(by.Addr)
	if !from.IsValid() {
		return nil
	}
	ban := &Ban{As: ClientID, Who: by.ClientID, Identity: by.Identity, From: from, By: "flapping", Reason: reason,
		At: now.Unix(), Until: now.Add(lasts + time.Second - 1).Unix()}
	f := &b.flapping
	f.mu.Lock()
	defer f.mu.Unlock()
	k := flapKey{by.Identity, by.ClientID, from}
	if _, known := f.by[k]; !known && len(f.by) >= FlappingMax {
		f.makeRoom()
	}
	f.by[k] = ban
	f.n.Store(int64(len(f.by)))
	return ban
}

// makeRoomLook is how many bans are looked at to find one that ends soon. Where a walk
// over a map begins is random.
const makeRoomLook = 8

func (f *flapping) makeRoom() {
	var first flapKey
	var until int64
	looked := 0
	for k, ban := range f.by {
		if looked == 0 || ban.Until < until {
			first, until = k, ban.Until
		}
		if looked++; looked == makeRoomLook {
			break
		}
	}
	delete(f.by, first)
}

// active are the bans that are not over, in order.
func (f *flapping) active(now time.Time) (list []*Ban) {
	f.mu.Lock()
	for _, ban := range f.by {
		if !ban.Over(now) {
			list = append(list, ban)
		}
	}
	f.mu.Unlock()
	slices.SortFunc(list, compare)
	return list
}

func (f *flapping) remove(ban *Ban) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.by, flapKey{ban.Identity, ban.Who, ban.From})
	f.n.Store(int64(len(f.by)))
}

// purge forgets those that are over.
func (f *flapping) purge(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, ban := range f.by {
		if ban.Over(now) {
			delete(f.by, k)
		}
	}
	if len(f.by) == 0 {
		f.by = make(map[flapKey]*Ban) // a map never gives memory back
	}
	f.n.Store(int64(len(f.by)))
}
