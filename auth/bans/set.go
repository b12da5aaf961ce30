package bans

import (
	"net/netip"
	"time"

	"github.com/gaissmai/bart"

	"github.com/redoubtmq/redoubt/auth"
)

// Set is bans that are found without looking at all of them. A lookup allocates nothing
// and costs the same with ten of them as with 100,000; only patterns are tried one by one.
type Set struct {
	byKey    map[key]*Ban // of names: clientid and username are looked up here
	hosts    map[netip.Addr]*Ban
	nets     *bart.Table[*Ban]
	patterns []*Ban
	size     int // instructions of patterns
	scoped   int // bans of a client identifier within one identity
}

func newSet() *Set {
	return &Set{byKey: make(map[key]*Ban), hosts: make(map[netip.Addr]*Ban), nets: &bart.Table[*Ban]{}}
}

// SetOf is the set of some bans, which were checked.
func SetOf(list []*Ban) *Set {
	s := newSet()
	for _, b := range list {
		s.put(b)
	}
	return s
}

// Len is how many there are, those that are over included.
func (s *Set) Len() int { return len(s.byKey) }

// Effort is what it costs to judge one client, in lookups of about the time that a pattern
// takes.
func (s *Set) Effort() int { return 1 + len(s.patterns) }

// put adds a ban, and answers the one that it replaces; nil: there was none.
func (s *Set) put(b *Ban) (old *Ban) {
	if old = s.byKey[b.key()]; old != nil {
		s.remove(old)
	}
	s.byKey[b.key()] = b
	switch b.As {
	case ClientID:
		if b.Identity != "" {
			s.scoped++
		}
	case Peerhost:
		s.hosts[netip.MustParseAddr(b.Who)] = b
	case PeerhostNet:
		s.nets.Insert(netip.MustParsePrefix(b.Who), b)
	case ClientIDRe, UsernameRe:
		s.patterns = append(s.patterns[:len(s.patterns):len(s.patterns)], b)
		s.size += b.size
	}
	return old
}

// remove takes out a ban that is in the set.
func (s *Set) remove(b *Ban) {
	delete(s.byKey, b.key())
	switch b.As {
	case ClientID:
		if b.Identity != "" {
			s.scoped--
		}
	case Peerhost:
		delete(s.hosts, netip.MustParseAddr(b.Who))
	case PeerhostNet:
		s.nets.Delete(netip.MustParsePrefix(b.Who))
	case ClientIDRe, UsernameRe:
		left := make([]*Ban, 0, len(s.patterns))
		for _, p := range s.patterns {
			if p != b {
				left = append(left, p)
			}
		}
		s.patterns = left
		s.size -= b.size
	}
}

// Address is the ban of an address, or of a network around it; nil: there is none.
func (s *Set) Address(now time.Time, a netip.Addr) *Ban {
	if !a.IsValid() { // a unix socket, which its file permissions guard
		return nil
	}
	a = plain(a)
	if b := s.hosts[a]; b != nil && !b.Over(now) {
		return b
	}
	for at := netip.PrefixFrom(a, a.BitLen()); ; {
		p, b, found := s.nets.LookupPrefixLPM(at)
		if !found || !b.Over(now) {
			return b
		}
		if p.Bits() == 0 { // one that is over hides none that is wider
			return nil
		}
		at = netip.PrefixFrom(a, p.Bits()-1)
	}
}

// Judge is a ban of a client that has proved who it is; nil: there is none.
func (s *Set) Judge(now time.Time, by *auth.Principal) *Ban {
	if len(s.byKey) == 0 {
		return nil
	}
	for _, k := range [...]key{{ClientID, by.ClientID, ""}, {Username, by.Username, ""}, {ClientID, by.ClientID, by.Identity}} {
		if k.who == "" || k.identity != "" && s.scoped == 0 {
			continue
		}
		if b := s.byKey[k]; b != nil && !b.Over(now) {
			return b
		}
	}
	if b := s.Address(now, by.Addr); b != nil {
		return b
	}
	for _, b := range s.patterns {
		name := by.ClientID
		if b.As == UsernameRe {
			name = by.Username
		}
		if name != "" && !b.Over(now) && b.re.MatchString(name) {
			return b
		}
	}
	return nil
}
