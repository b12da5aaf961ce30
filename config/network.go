package config

import (
	"fmt"
	"net/netip"
)

// hostPattern is a host name with a domain, as public CAs take it.
const hostPattern = `^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`

func publicHost(s string) bool { return len(s) <= 253 && shape(hostPattern).MatchString(s) }

// checkACME refuses what could not work, or was not agreed to.
func (l *loader) checkACME(ln *Listener, key string) {
	a := &ln.TLS.ACME
	if len(a.Names) == 0 {
		return
	}
	switch {
	case len(ln.TLS.Certificates) > 0:
		l.wrong(key+".tls.acme.names", "", "asks for certificates where certificates names some. Remove one of the two.")
	case !a.Agree:
		l.wrong(key+".tls.acme.names", "", "asks a CA for certificates to whose terms nobody has agreed. Read them (Let's Encrypt: https://letsencrypt.org/repository) and set agree: true.")
	}
	if _, err := ParseBind(a.ChallengeBind); err != nil && !l.problems.about(key+".tls.acme.challenge_bind") {
		l.wrong(key+".tls.acme.challenge_bind", quote(a.ChallengeBind), "%v.", err)
	}
}

// checkNetwork refuses what is no network in the form address/length. Bits behind the prefix
// are refused: of 10.1.2.3/8 nobody knows which of the two was meant.
func checkNetwork(s string) error {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return fmt.Errorf("is one address. Write %s/%d for it alone", a, a.BitLen())
		}
		return fmt.Errorf("is no network. Write an address and the length of the prefix, such as 10.0.0.0/8")
	case p.Addr().Is4In6():
		return fmt.Errorf("is an IPv4 network in the form of IPv6. Write it as IPv4, such as 10.0.0.0/8")
	case p != p.Masked():
		return fmt.Errorf("has more than the network in it. Write %s, or %s/%d for the address alone", p.Masked(), p.Addr(), p.Addr().BitLen())
	}
	return nil
}

// Networks are those of FetchFrom.
func (t *TLS) Networks() (list []netip.Prefix) {
	for _, s := range t.FetchFrom {
		if p, err := netip.ParsePrefix(s); err == nil { // the schema has judged it
			list = append(list, p)
		}
	}
	return list
}
