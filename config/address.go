package config

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Bind is where a listener listens. Either Interface or Addr is set, or none:
// then it is every address.
type Bind struct {
	Addr      netip.Addr
	Interface string
	Port      uint16 // 0: the kernel chooses
}

// ParseBind reads ":8883", "192.0.2.1:8883", "[2001:db8::1]:8883" or
// "eth1:8883". It asks nobody: whether the address or the interface exists is
// found at start. Errors are sentences without the value.
func ParseBind(text string) (Bind, error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return Bind{}, errors.New(`has no port. Write address:port, such as "127.0.0.1:8883", or ":8883" for every address`)
	}
	host, portText := text[:i], text[i+1:]
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || strings.HasPrefix(portText, "+") {
		return Bind{}, errors.New("has no port from 0 to 65535 after its last colon")
	}
	b := Bind{Port: uint16(port)}
	switch {
	case host == "":
		return b, nil
	case strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]"):
		b.Addr, err = netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !b.Addr.Is6() {
			return Bind{}, errors.New("has no IPv6 address between its brackets")
		}
		if zone := b.Addr.Zone(); zone != "" && !interfaceName(zone) && strings.Trim(zone, "0123456789") != "" {
			return Bind{}, errors.New("has something after the % of its address that is not the name or the number of a network interface")
		}
		return b, nil
	case strings.Contains(host, ":"):
		return Bind{}, errors.New(`has an IPv6 address without brackets. Write "[address]:port"`)
	}
	if b.Addr, err = netip.ParseAddr(host); err == nil {
		return b, nil
	}
	b.Addr = netip.Addr{}
	if host == "localhost" {
		return Bind{}, errors.New(`has a host name. Write "127.0.0.1:` + portText + `" or "[::1]:` + portText + `"`)
	}
	if !interfaceName(host) {
		return Bind{}, errors.New("has neither an address nor the name of a network interface before its port. Host names are not taken")
	}
	b.Interface = host
	return b, nil
}

// interfaceName tells whether the kernel could call an interface so: 15 bytes
// at most, and here only letters, digits, dots, dashes and underscores. What
// is all digits and dots is a mistyped address.
func interfaceName(s string) bool {
	if len(s) > 15 || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && (c == '.' || c == '-' || c == '_')) {
			return false
		}
	}
	return true
}

// Loopback tells whether only this host can reach it. An interface by name,
// lo included, is not taken for loopback: what addresses it holds is not known
// here.
func (b Bind) Loopback() bool { return b.Addr.IsValid() && b.Addr.Unmap().IsLoopback() }

// String is what ParseBind reads.
func (b Bind) String() string {
	host := b.Interface
	if b.Addr.IsValid() {
		host = b.Addr.String()
		if b.Addr.Is6() {
			host = "[" + host + "]"
		}
	}
	return host + ":" + strconv.Itoa(int(b.Port))
}

// clashes tells whether the kernel would refuse one after the other.
func (b Bind) clashes(o Bind) bool {
	if b.Port != o.Port || b.Port == 0 {
		return false
	}
	everywhere := func(x Bind) bool { return x == Bind{Port: x.Port} }
	return b == o || everywhere(b) || everywhere(o)
}
