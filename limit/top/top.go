// Package top keeps who does most of something lately, in memory that does not grow
// however many names come and go: one Room for each loop, whose lock nobody but that loop
// and now and then a reader takes, and one for strangers. It reads no clock; what to do
// about somebody is the caller's.
//
// A name is somebody's only if he has proved who he is: what is counted of strangers is
// counted by the network that they come from, and Stranger takes no name at all. So
// nobody comes upon the list because somebody else uses his name.
//
// Rules: Metwally, Agrawal, El Abbadi, Efficient Computation of Frequent and Top-k
// Elements in Data Streams (ICDT 2005), for the sketch; Agarwal et al., Mergeable
// Summaries (PODS 2012), for adding several up.
package top

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Measure is what is counted.
type Measure uint8

// The measures.
const (
	Messages  Measure = iota // published by a client
	Bytes                    // of those: topic, properties, payload
	Packets                  // of every kind, from a client that is accepted
	Out                      // messages to a client
	OutBytes                 // of those
	Connects                 // that were accepted
	Refused                  // connections, before there was a whole CONNECT
	Logins                   // CONNECTs that were refused
	Denied                   // publishes and filters that the rules refused
	Throttled                // messages and filters over a rate, because of which a client was not read
	measures  = iota
)

// Measures are all of them, in the order in which they are shown.
var Measures = [measures]string{"messages", "bytes", "packets", "out", "out-bytes", "connects", "refused", "logins", "denied", "throttled"}

func (m Measure) String() string { return Measures[m] }

// By is who is told apart.
type By uint8

// The ways.
const (
	ByClient  By = iota // identity, mountpoint and client identifier together
	ByUser              // identity and user name
	ByNetwork           // a /24, and a /56 of IPv6
	bys       = iota
)

// Bys are their names.
var Bys = [bys]string{"client", "user", "network"}

func (b By) String() string { return Bys[b] }

// Knows tells whether a measure is counted that way. What strangers do has no name.
func (b By) Knows(m Measure) bool { return b == ByNetwork || m != Refused }

// Client is one that has proved who it is.
type Client struct{ Mountpoint, Identity, ClientID, Username string }

// Who is one of those that are told apart; what does not tell it apart is empty.
type Who struct {
	Client
	Cut      bool // a name is longer than NameMax and not whole
	Network  netip.Prefix
	Addr     netip.Addr // where most came from, if more than half did from one; the zero Addr on a unix socket
	FromAddr uint64     // of the count, at least
	Several  bool       // addresses
	Listener string     // where Addr came in
}

// NameMax is how many bytes of a name are kept. A longer one is counted by all of it.
const NameMax = 256

// Counts are what a client has done.
type Counts struct {
	Bytes, OutBytes                                             uint64
	Messages, Packets, Out, Connects, Logins, Denied, Throttled uint32
}

func (c *Counts) list() [measures]uint64 {
	return [measures]uint64{
		Messages: uint64(c.Messages), Bytes: c.Bytes, Packets: uint64(c.Packets), Out: uint64(c.Out), OutBytes: c.OutBytes,
		Connects: uint64(c.Connects), Logins: uint64(c.Logins), Denied: uint64(c.Denied), Throttled: uint64(c.Throttled),
	}
}

// Span is how long one sketch counts. Shown is what the one of now and the one before
// have: the last half minute to minute.
const Span = 30 * time.Second

// Room is what one loop has counted. It is safe for concurrent use.
type Room struct {
	seed maphash.Seed
	loop int // whose it is, or AnyLoop

	mu        sync.Mutex // guards everything below
	span      int64      // the number of the one that is now, since 1970
	now, last table
}

// table has a sketch for what was counted at all.
type table [bys][measures]*sketch

// turn lets what is old go. now may be a little before that of somebody else, whose span
// has begun; a clock that was set back further begins anew.
func (r *Room) turn(now time.Time) {
	span := spanOf(now)
	switch {
	case span == r.span || span == r.span-1:
		return
	case span == r.span+1:
		r.now, r.last = r.last, r.now
		r.now.clear()
	default:
		r.now.clear()
		r.last.clear()
	}
	r.span = span
}

func spanOf(now time.Time) int64 { return now.Unix() / int64(Span/time.Second) }

func (t *table) clear() {
	for by := range t {
		for _, s := range t[by] {
			if s != nil {
				s.clear()
			}
		}
	}
}

func (t *table) add(by By, m Measure, hash uint64, who *Who, n uint64) {
	if t[by][m] == nil {
		t[by][m] = &sketch{}
	}
	t[by][m].add(hash, who, n)
}

// Add counts what a client has done that has proved who it is and came in from there.
func (r *Room) Add(now time.Time, c *Client, addr netip.Addr, listener string, n *Counts) {
	addr = addr.Unmap().WithZone("")
	whos := [bys]Who{
		ByClient:  {Client: *c, Addr: addr, Listener: listener},
		ByUser:    {Client: Client{Identity: c.Identity, Username: c.Username}, Addr: addr, Listener: listener},
		ByNetwork: from(addr, listener),
	}
	hashes := [bys]uint64{r.hash(&whos[0]), r.hash(&whos[1]), r.hash(&whos[2])}
	list := n.list()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	for m, n := range list {
		if n == 0 {
			continue
		}
		for by := range whos {
			r.now.add(By(by), Measure(m), hashes[by], &whos[by], n) //nolint:gosec // three and ten
		}
	}
}

func (r *Room) stranger(now time.Time, addr netip.Addr, listener string, m Measure) {
	who := from(addr.Unmap().WithZone(""), listener)
	hash := r.hash(&who)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	r.now.add(ByNetwork, m, hash, &who, 1)
}

// from is somebody of whom nothing counts but where he comes from.
func from(addr netip.Addr, listener string) Who {
	return Who{Network: Network(addr), Addr: addr, Listener: listener}
}

// Network is the part of an address that one source has as a whole; the zero Prefix where
// there is no address.
func Network(a netip.Addr) netip.Prefix {
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

// hash tells two apart. The seed is secret, so that nobody can look for a name that is
// taken for another's.
func (r *Room) hash(w *Who) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	if w.Network.IsValid() {
		a := w.Network.Addr().As16()
		_, _ = h.Write(a[:])
		return h.Sum64()
	}
	name := w.Listener // of a unix socket there is nothing else
	if w.Identity != "" || w.ClientID != "" || w.Username != "" {
		name = ""
	}
	for _, s := range [...]string{w.Mountpoint, w.Identity, w.ClientID, w.Username, name} {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// keep becomes who in the form in which it may stay for a minute: a name of 64 KiB may not.
func (w *Who) keep(who *Who, n uint64) {
	*w = *who
	w.FromAddr = n
	for _, s := range [...]*string{&w.Mountpoint, &w.Identity, &w.ClientID, &w.Username} {
		if len(*s) > NameMax {
			*s, w.Cut = strings.ToValidUTF8(strings.Clone((*s)[:NameMax]), ""), true
		}
	}
}

// saw notes where n of somebody known came from. It is the vote of Boyer and Moore: what comes
// from elsewhere takes as much away, so that one who comes once from the network of somebody
// loud neither hides him nor is taken for him.
func (w *Who) saw(again *Who, n uint64) {
	w.Several = w.Several || again.Several || w.Addr != again.Addr
	switch {
	case w.Addr == again.Addr:
		w.FromAddr += n
		w.Listener = again.Listener
	case w.FromAddr >= n:
		w.FromAddr -= n
	default:
		w.Addr, w.FromAddr, w.Listener = again.Addr, n-w.FromAddr, again.Listener
	}
}
