package harden

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// listenQUIC opens a listener of QUIC, by the library that the broker uses, which knows nothing of
// the packets that the probes make by hand.
func (f *fake) listenQUIC(name, address string) netip.AddrPort {
	f.t.Helper()
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address))
	socket, err := net.ListenUDP("udp", at)
	if err != nil {
		f.t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(socket.LocalAddr().String())
	f.mu.Lock()
	f.opened(socket)
	f.addrs = append(f.addrs, addr.String())
	f.listeners = append(f.listeners, ListenerReport{name, addr.String(), "quic"})
	f.mu.Unlock()
	conf := &tls.Config{NextProtos: []string{"mqtt"}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := f.serverConf("quic")
		c.NextProtos = []string{"mqtt"}
		if f.has(anyProtocol) {
			c.NextProtos = nil
		}
		return c, nil
	}}
	carrier := &quic.Transport{Conn: socket, VerifySourceAddress: func(net.Addr) bool { return true }}
	l, err := carrier.ListenEarly(conf, &quic.Config{Allow0RTT: f.has(takesEarlyData), MaxIdleTimeout: time.Minute})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = l.Close()
		_ = carrier.Close()
		_ = socket.Close()
	})
	f.wait.Add(1)
	go func() {
		defer f.wait.Done()
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			f.wait.Add(1)
			go func() {
				defer f.wait.Done()
				f.serveQUIC(c)
			}()
		}
	}()
	return addr
}

func (f *fake) serveQUIC(c *quic.Conn) {
	defer c.CloseWithError(0, "")
	if !f.has(takesEarlyData) {
		select {
		case <-c.HandshakeComplete():
		case <-c.Context().Done():
			return
		}
	}
	s, err := c.AcceptStream(c.Context())
	if err != nil {
		return
	}
	named, print := shownBy(c.ConnectionState().TLS)
	f.talkOn(lastWords{&quicStream{s, c}}, "quic", named, print)
	_ = s.Close()
	select { // what was said last has to arrive
	case <-c.Context().Done():
	case <-time.After(time.Second):
	}
}

// shownBy is the common name and the fingerprint of a client's certificate.
func shownBy(s tls.ConnectionState) (named, print string) {
	if len(s.PeerCertificates) > 0 {
		return s.PeerCertificates[0].Subject.CommonName, revoke.FingerprintID(s.PeerCertificates[0])
	}
	return "", ""
}

// lastWords closes as a test wants it: at once.
type lastWords struct{ *quicStream }

// behindProxy takes the header off a connection to a listener that wants one, as the broker reads it; nil:
// it was closed.
func (f *fake) behindProxy(c net.Conn, name string) (again net.Conn, named string) {
	f.mu.Lock()
	l := f.config[name]
	f.mu.Unlock()
	if l.ProxyProtocol != config.ProxyRequired {
		return c, ""
	}
	from := netip.MustParseAddrPort(c.RemoteAddr().String()).Addr()
	p := listener.Proxy{Sources: l.ProxyNetworks()}
	if !p.Hears(from) && !f.has(believesAnybody) {
		_ = c.Close()
		return nil, ""
	}
	r := bufio.NewReader(c)
	first, err := r.Peek(1)
	if err == nil && first[0] != 'P' && first[0] != '\r' && f.has(needsNoHeader) {
		return &replayed{c, r}, ""
	}
	b := []byte{}
	for {
		need, err := listener.ProxySize(b)
		if err == nil && need <= len(b) {
			break
		}
		more := make([]byte, max(need-len(b), 0))
		if err == nil {
			_, err = io.ReadFull(r, more)
		}
		if err != nil {
			_ = c.Close()
			return nil, ""
		}
		b = append(b, more...)
	}
	h, err := listener.ParseProxy(b)
	if err != nil || h.From.String() != c.RemoteAddr().String() {
		f.t.Errorf("a header that is not true: %v, %+v from %s", err, h, c.RemoteAddr())
	}
	if l.ProxyTLS == config.ProxyTLSTrust && h.TLS.Verified {
		named = h.TLS.CN
	}
	return &replayed{c, r}, named
}

// flaps counts connects, and tells whether the client is banned.
func (f *fake) flaps(p *mqtt.Connect, in bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	has := func(x flaw) bool {
		for _, y := range f.flaws {
			if x == y {
				return true
			}
		}
		return false
	}
	if f.flapping.Connects == 0 || has(countsNobody) || !in && !has(countsFailures) {
		return false
	}
	key := p.Username + "/" + p.ClientID
	if has(bansNames) {
		key = p.ClientID
	}
	if f.banned[key] {
		return in
	}
	if f.connects == nil {
		f.connects, f.banned = map[string]int{}, map[string]bool{}
	}
	most := f.flapping.Connects
	if has(bansEarly) {
		most--
	}
	if f.connects[key]++; f.connects[key] > most {
		delete(f.connects, key)
		f.banned[key] = true
		return in
	}
	return false
}

// EndBan implements Broker.
func (f *fake) EndBan(_ context.Context, clientID string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.flaws {
		switch x {
		case cannotLift:
			return errors.New("there is no such operation")
		case keepsBan:
			return nil
		}
	}
	for key := range f.banned {
		if len(key) >= len(clientID) && key[len(key)-len(clientID):] == clientID {
			delete(f.banned, key)
			return nil
		}
	}
	return errors.New("no such ban")
}
