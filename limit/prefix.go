package limit

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// An attacker owns addresses by the prefix: a household has a /64 or a /56 of
// IPv6, a small provider a /24 of IPv4. Counting single IPv6 addresses would count
// nothing.

// width is one prefix length that is counted.
type width struct {
	bits int // up to 32: IPv4; more: IPv6
	cap  int
}

// parseWidths reads {"/24": 500, "/56": 500}. Up to /32 is IPv4, above is IPv6:
// nobody sensibly counts connections per IPv6 /32.
func parseWidths(caps map[string]int) ([]width, error) {
	var out []width
	for key, n := range caps {
		digits, ok := strings.CutPrefix(key, "/")
		bits, err := strconv.Atoi(digits)
		if !ok || err != nil || bits < 1 || bits > 128 || strconv.Itoa(bits) != digits {
			return nil, fmt.Errorf("%q is not a prefix length; write /1 to /32 for IPv4 or /33 to /128 for IPv6", key)
		}
		if n < 1 {
			return nil, fmt.Errorf("%q: %d is out of range; write 1 or more, or leave the prefix out", key, n)
		}
		out = append(out, width{bits, n})
	}
	// The narrowest first, so that a refusal names the smallest prefix at fault.
	slices.SortFunc(out, func(a, b width) int { return b.bits - a.bits })
	return out, nil
}

// plain is the form in which addresses are counted: IPv4 inside IPv6 is IPv4 (a
// dual-stack socket must not give everybody a second allowance), and a zone is
// not part of an address.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// of is the prefix of this width around a; ok is false if the width is for the
// other family or there is no address, as on a unix socket, which its file
// permissions guard.
func (w width) of(a netip.Addr) (p netip.Prefix, ok bool) {
	if !a.IsValid() || a.Is4() != (w.bits <= 32) {
		return netip.Prefix{}, false
	}
	p, err := a.Prefix(w.bits)
	return p, err == nil
}
