package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Names are what a server certificate is valid for.
type Names struct {
	Hosts     []string     // DNS names
	Addresses []netip.Addr // IP addresses
}

// addressesMax bounds the addresses in a certificate, because every handshake
// carries them. A host with more (a container bridge each) lists names itself.
const addressesMax = 64

// LocalNames are the names of this machine: localhost and both loopback
// addresses, the host name and the addresses of its interfaces as the caller
// found them. What cannot stand in a certificate is left out: host names with
// characters DNS does not have, link-local addresses (they mean nothing without
// an interface), unspecified and multicast addresses, and all beyond 64.
func LocalNames(hostName string, addresses []netip.Addr) Names {
	hosts := []string{"localhost"}
	if h := strings.ToLower(strings.TrimSuffix(hostName, ".")); validHost(h) {
		hosts = append(hosts, h)
	}
	addrs := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	for _, a := range addresses {
		if len(addrs) == addressesMax {
			break
		}
		a = a.Unmap().WithZone("")
		if a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast() {
			addrs = append(addrs, a)
		}
	}
	return Names{hosts, addrs}.normal()
}

// normal sorts and removes duplicates, so that names compare.
func (n Names) normal() Names {
	hosts := slices.Clone(n.Hosts)
	slices.Sort(hosts)
	addrs := slices.Clone(n.Addresses)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap().WithZone("")
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return Names{slices.Compact(hosts), slices.Compact(addrs)}
}

// equal compares normalised names.
func (n Names) equal(o Names) bool {
	return slices.Equal(n.Hosts, o.Hosts) && slices.Equal(n.Addresses, o.Addresses)
}

// ips is the form package x509 wants.
func (n Names) ips() []net.IP {
	var out []net.IP
	for _, a := range n.Addresses {
		out = append(out, a.AsSlice())
	}
	return out
}

// ParseNames reads what a server certificate is to be valid for: IP addresses and host
// names, among which one may stand for all of a level (*.example.com). The first of them is
// never missing.
func ParseNames(texts []string) (Names, error) {
	var n Names
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			if a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
				return n, fmt.Errorf("%s is no address that a server has for its clients", text)
			}
			n.Addresses = append(n.Addresses, a)
			continue
		}
		host := strings.ToLower(strings.TrimSuffix(text, "."))
		below, all := strings.CutPrefix(host, "*.")
		if !validHost(below) || all && !strings.Contains(below, ".") {
			return n, fmt.Errorf("%q is neither a host name nor an IP address; clients compare it letter by letter with what they connect to", text)
		}
		n.Hosts = append(n.Hosts, host)
	}
	if len(texts) == 0 {
		return n, errors.New("a server certificate needs a name: what clients connect to")
	}
	if n = n.normal(); len(n.Hosts)+len(n.Addresses) > addressesMax {
		return n, fmt.Errorf("%d names in one certificate, which every handshake carries; the most is %d", len(n.Hosts)+len(n.Addresses), addressesMax)
	}
	return n, nil
}

// texts are the names as ParseNames reads them.
func (n Names) texts() []string {
	out := slices.Clone(n.Hosts)
	for _, a := range n.Addresses {
		out = append(out, a.String())
	}
	return out
}

// namesOf reads the names back from a certificate.
func namesOf(c *x509.Certificate) Names {
	n := Names{Hosts: c.DNSNames}
	for _, ip := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			n.Addresses = append(n.Addresses, a)
		}
	}
	return n.normal()
}

// validHost accepts what RFC 1123 calls a host name, at most 253 bytes in labels
// of at most 63. Underscores are tolerated inside because machines have them.
func validHost(h string) bool {
	if h == "" || len(h) > 253 {
		return false
	}
	for label := range strings.SplitSeq(h, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
