package config

import (
	"errors"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Advertised is an address by which clients reach a listener from elsewhere.
type Advertised struct {
	Host string // a name in lower case, or an IP address without brackets
	Port uint16
}

// hostName is what a client can resolve; one label will do inside a plant.
var hostName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ParseAdvertised reads "mqtt.example.com:8883", "192.0.2.1:8883" or "[2001:db8::1]:8883".
// It asks nobody. Errors are sentences without the value.
func ParseAdvertised(text string) (Advertised, error) {
	i := strings.LastIndexByte(text, ':')
	if i < 1 {
		return Advertised{}, errors.New(`has no host or no port. Write host:port as clients do, such as "mqtt.example.com:8883"`)
	}
	host, portText := text[:i], text[i+1:]
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || strings.HasPrefix(portText, "+") {
		return Advertised{}, errors.New("has no port from 1 to 65535 after its last colon")
	}
	a := Advertised{Port: uint16(port)}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return Advertised{}, errors.New("has no IPv6 address between its brackets")
		}
		a.Host = addr.String()
		return a, nil
	}
	if strings.Contains(host, ":") {
		return Advertised{}, errors.New(`has an IPv6 address without brackets. Write "[address]:port"`)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		a.Host = addr.String()
		return a, nil
	}
	a.Host = strings.ToLower(host)
	last := a.Host[strings.LastIndexByte(a.Host, '.')+1:]
	if len(a.Host) > 253 || !hostName.MatchString(a.Host) || strings.Trim(last, "0123456789") == "" {
		return Advertised{}, errors.New("has neither a host name nor an address before its port")
	}
	return a, nil
}

// checkAdvertised refuses what no client could connect to.
func (l *loader) checkAdvertised(ln *Listener, key string) {
	for _, text := range ln.Advertised {
		if _, err := ParseAdvertised(text); err != nil {
			l.wrong(key+".advertised", quote(text), "%v.", err)
		}
	}
}
