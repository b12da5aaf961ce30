package bans

import (
	"fmt"
	"net/netip"
)

// Own is where this node or what stands in front of it has an address: a ban of it would
// hit more than whoever made it means.
type Own struct {
	Net  netip.Prefix // of one address, or of the proxies of a listener
	What string       // for the sentence "it is ...", or "it holds ..."
}

// OwnAddress is an address of this machine.
func OwnAddress(a netip.Addr) Own {
	a = plain(a)
	return Own{netip.PrefixFrom(a, a.BitLen()), "this machine's own address " + a.String()}
}

// OwnProxies are the proxies of a listener, through which all of its clients come.
func OwnProxies(listener string, from netip.Prefix) Own {
	return Own{from, fmt.Sprintf("an address of %s, from where proxies bring the clients of listener %s (proxy_sources)", from, listener)}
}

// Reaches says which of these a ban of an address or a network would hit; empty: none. b
// was checked.
func (b *Ban) Reaches(own []Own) string {
	var banned netip.Prefix
	verb := "it is "
	switch b.As {
	case Peerhost:
		a := netip.MustParseAddr(b.Who)
		banned = netip.PrefixFrom(a, a.BitLen())
	case PeerhostNet:
		banned = netip.MustParsePrefix(b.Who)
		verb = "it holds "
	default:
		return ""
	}
	for _, o := range own {
		if banned.Overlaps(o.Net) {
			return verb + o.What
		}
	}
	return ""
}
