package harden

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/redoubtmq/redoubt/config"
)

// Entrance is one address at which clients come in, and what an ordinary user got there.
type Entrance struct {
	Listener string
	Address  string
	In       bool   // CONNACK with success
	Said     string // in words
}

// Serving connects an ordinary user at every entrance, for who is about to change
// something and wants to know afterwards whether clients still get in.
func Serving(ctx context.Context, e *Env) ([]Entrance, error) {
	eps, _, err := e.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	if e.Broker == nil {
		return nil, fmt.Errorf("%s", e.NoBroker)
	}
	u, err := e.Broker.AddProbe(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("no user for a probe could be made: %w", err)
	}
	defer e.endProbe(ctx, &u)
	var out []Entrance
	for i := range eps {
		in := Entrance{Listener: eps[i].name, Address: eps[i].addr.String()}
		for _, level := range []byte{level5, level4} { // a listener may offer one of them
			m, s := e.connect(ctx, &eps[i], u.as(level))
			if in.Said = s.String(); m != nil {
				in.In = true
				m.leave()
				break
			}
		}
		out = append(out, in)
	}
	return out, nil
}

// Port is one address of the broker as a packet filter sees it.
type Port struct {
	Name string // listener or service
	UDP  bool
	Addr netip.AddrPort
	Open bool // clients are meant to reach it: it is encrypted
	// From are networks that may reach it though it is not: proxies in front.
	From []netip.Prefix
	// Accepted says who has accepted that anybody reaches it, until when; empty: nobody.
	Accepted string
}

// Ports are the addresses of the broker: those of its sockets as the kernel lists them, or,
// without a broker, those of the configuration. live tells which.
func Ports(ctx context.Context, e *Env) (all []Port, live bool, err error) {
	if e.Broker == nil {
		all, err = e.declaredPorts()
		return all, false, err
	}
	list, err := e.listening(ctx)
	if err != nil {
		return nil, true, err
	}
	for i := range list {
		s := &list[i]
		if s.network == networkUnix || s.name == "" || s.draining {
			continue
		}
		all = append(all, e.port(s.name, s.key, s.protocol, s.network == networkUDP, s.encrypted(), s.addr))
	}
	return all, true, nil
}

func (e *Env) port(name, key, protocol string, udp, open bool, addr netip.AddrPort) Port {
	p := Port{Name: name, UDP: udp, Addr: addr, Open: open}
	if l := e.Config.Listeners[name]; protocol != "" && l.ProxyProtocol == config.ProxyRequired {
		for _, text := range l.ProxySources {
			if n, err := netip.ParsePrefix(text); err == nil {
				p.From = append(p.From, n)
			}
		}
	}
	for _, w := range e.Config.Waivers {
		if w.ID == "P1.4" && w.Scope == key && e.Clock.Now().Before(w.Expires.End()) {
			p.Accepted = fmt.Sprintf("accepted by %s until %s", printable(w.Owner), w.Expires)
		}
	}
	return p
}

// declaredPorts are those of the configuration. What the kernel chooses is not known.
func (e *Env) declaredPorts() (all []Port, err error) {
	add := func(name, key, protocol string, open bool, binds []string) {
		for _, text := range binds {
			b, bad := config.ParseBind(text)
			switch {
			case bad != nil:
				err = bad
			case b.Interface != "":
				err = fmt.Errorf("%s.bind is of the interface %s, whose addresses only the running broker knows", key, printable(b.Interface))
			case b.Port == 0:
				err = fmt.Errorf("%s.bind has port 0, which the kernel chooses: only the running broker knows it", key)
			default:
				addr := b.Addr
				if !addr.IsValid() {
					addr = netip.IPv6Unspecified()
				}
				all = append(all, e.port(name, key, protocol, protocol == config.ProtocolQUIC, open, netip.AddrPortFrom(addr, b.Port)))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Config.Listeners)) {
		l := e.Config.Listeners[name]
		if l.Protocol != config.ProtocolUnix {
			add(name, "listeners."+name, l.Protocol, !l.Plaintext(), l.Bind)
		}
	}
	add("enrolment", "enroll", "", true, e.Config.Enroll.Bind)
	add("metrics", "metrics", "", false, e.Config.Metrics.Bind)
	return all, err
}
