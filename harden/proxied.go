package harden

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"github.com/redoubtmq/redoubt/config"
)

// A listener with proxy_protocol: required hears its proxies and nobody else. Where the
// doctor's own address is one of theirs it speaks as they do, and says of the client what is
// true: that it is the doctor, at that address. Rates, caps, access rules and bans are then
// those for this address, as at any other listener.
//
// Rules: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt §2.2, written apart from
// what package listener reads it with.

// behind tells whether a socket belongs to a listener that hears proxies only.
func (e *Env) behind(s *socket) bool {
	l, known := e.Config.Listeners[s.name]
	return known && s.protocol != "" && l.ProxyProtocol == config.ProxyRequired
}

// heard tells whether a connection from here to an address of this host comes from one of the
// proxies. The kernel takes the address itself as the source.
func (e *Env) heard(s *socket, to netip.Addr) bool {
	l := e.Config.Listeners[s.name]
	return amongProxies(&l, to)
}

func amongProxies(l *config.Listener, a netip.Addr) bool {
	for _, p := range l.ProxyNetworks() {
		if p.Contains(a.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// announceClient writes a header of version 2 that names the other side of c, which is us. vouches is the
// common name of a certificate that the client has shown to the proxy; empty: it has none.
func announceClient(c net.Conn, vouches string) error {
	from, ok := c.LocalAddr().(*net.TCPAddr)
	to, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return errors.New("there is none for a connection that is not TCP")
	}
	_, err := c.Write(proxyHeader(from.AddrPort(), to.AddrPort(), vouches))
	return err
}

func proxyHeader(from, to netip.AddrPort, vouches string) []byte {
	const proxy, tcp4, tcp6 = 0x21, 0x11, 0x21
	src, dst := from.Addr().Unmap().WithZone(""), to.Addr().Unmap().WithZone("")
	family := byte(tcp4)
	if src.Is6() {
		family = tcp6
	}
	body := append(src.AsSlice(), dst.AsSlice()...)
	body = binary.BigEndian.AppendUint16(body, from.Port())
	body = binary.BigEndian.AppendUint16(body, to.Port())
	if vouches != "" {
		const ssl, commonName, encryptedAndShown = 0x20, 0x22, 0x01 | 0x02
		said := []byte{encryptedAndShown, 0, 0, 0, 0} // and verified: 0
		said = vector16(append(said, commonName), []byte(vouches))
		body = vector16(append(body, ssl), said)
	}
	return vector16(append([]byte("\r\n\r\n\x00\r\nQUIT\n"), proxy, family), body)
}
