package listener

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// OfInterface is every address of a network interface with this port, as Move takes them:
// of both families, those of the link with their zone. An error names the interfaces there
// are.
func OfInterface(name string, port uint16) (addresses []string, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("there is no network interface %s%s", name, others())
	}
	found, err := i.Addrs()
	if err != nil {
		return nil, fmt.Errorf("the addresses of the interface %s: %w", name, err)
	}
	for _, a := range found {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := p.Addr()
		if addr.IsLinkLocalUnicast() && addr.Is6() {
			addr = addr.WithZone(name)
		}
		addresses = append(addresses, net.JoinHostPort(addr.String(), strconv.Itoa(int(port))))
	}
	return addresses, nil
}

// others says which interfaces there are.
func others() string {
	list, err := net.Interfaces()
	if err != nil || len(list) == 0 {
		return ""
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return "; there is " + strings.Join(names, ", ")
}
