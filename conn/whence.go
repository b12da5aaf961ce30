package conn

import "net/netip"

// whence is where a connection came from, for people.
func whence(from netip.AddrPort) string {
	if !from.IsValid() {
		return "unix"
	}
	return from.String()
}

func whenceAddr(a netip.Addr) string {
	if !a.IsValid() {
		return "unix"
	}
	return a.String()
}
