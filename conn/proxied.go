package conn

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// via is what stays of a PROXY header with the connection.
type via struct {
	name string // of the client's certificate, where the proxy is believed; empty: none
}

// certificate is what a proxy that is believed has said of its client's.
func (v *via) certificate() auth.Certificate { return auth.Certificate{Name: v.name} }

// Why a connection of a proxy is refused although its header can be read.
var (
	errProxyCert   = errors.New("the proxy has not accepted the certificate that its client has shown")
	errProxyNoName = errors.New("the proxy does not say the name in the certificate that its client has shown (HAProxy: send-proxy-v2-ssl-cn)")
	errProxyEnd    = errors.New("the proxy has closed the connection before its header")
	errProxyLate   = errors.New("no header came in time")
)

// introduce reads a whole header: who the client is, and what is kept of what the proxy
// said of it. A proxy that speaks for itself is the client.
func introduce(p *listener.Proxy, header []byte, proxy netip.AddrPort) (client netip.AddrPort, v *via, err error) {
	h, err := listener.ParseProxy(header)
	switch {
	case err != nil:
		return client, nil, err
	case h.Local:
		return proxy, &via{}, nil
	case !p.Trust || !h.TLS.Shown:
		return h.From, &via{}, nil
	case !h.TLS.Verified:
		return client, nil, errProxyCert
	case h.TLS.CN == "":
		return client, nil, errProxyNoName
	}
	return h.From, &via{name: h.TLS.CN}, nil
}

// misled counts and explains a connection of a proxy that never said whose it is. begun
// is whether anything came.
func (s *Server) misled(now time.Time, proxy netip.AddrPort, l *listener.Listener, err error, begun bool) {
	why, level := listener.BadHeader, slog.LevelWarn
	switch {
	case errors.Is(err, errProxyLate):
		why = listener.NoHeader
	case errors.Is(err, errProxyEnd):
		if why = listener.NoHeader; !begun {
			level = slog.LevelDebug // a health check that only opens a connection
		}
	case listener.ProxyUnknown(err):
		level = slog.LevelDebug
	}
	l.Misled(why)
	s.broker.Log().Stranger(now, level, "a proxy's connection is refused for its PROXY header", proxy.Addr(), err.Error(), func() []slog.Attr {
		return []slog.Attr{slog.String("address", proxy.String()), slog.String("listener", l.Name), slog.String("why", err.Error())}
	})
}

// admitProxy is admit where a proxy speaks first.
func (p *Portable) admitProxy(l *listener.Listener, nc net.Conn) {
	var place listener.Admission
	var w *wire
	p.server.guard(func() {
		now, proxy := p.server.clock.Now(), addrOf(nc.RemoteAddr())
		var refusal listener.Refusal
		if place, refusal = l.AdmitProxy(proxy.Addr()); refusal != "" {
			_ = nc.Close()
			p.server.keptOut(now, refusal, "", proxy, l)
			return
		}
		w = newWire(p, l, nc)
		place.Evictable(func() { _ = nc.Close() })
		p.mu.Lock()
		p.live[w] = struct{}{}
		if p.stopped {
			_ = nc.Close()
		}
		p.mu.Unlock()
		p.wait.Add(1)
		go func() {
			defer p.wait.Done()
			w.serveProxied(now, proxy, place)
		}()
	}, func() { p.undo(w, l, nc, &place) })
}

// serveProxied is serve once the header is there.
func (w *wire) serveProxied(accepted time.Time, proxy netip.AddrPort, place listener.Admission) {
	var client netip.AddrPort
	named := false
	w.engine.server.guard(func() { client, named = w.introduced(accepted, proxy, &place) }, func() {})
	if !named {
		w.gone(&place)
		return
	}
	w.serve(accepted, client, place)
}

// introduced reads the header and asks the door about the client. place is the proxy's
// before and the client's after; false: it is over.
func (w *wire) introduced(accepted time.Time, proxy netip.AddrPort, place *listener.Admission) (client netip.AddrPort, ok bool) {
	l, s := w.listener, w.engine.server
	client, begun, err := w.readHeader(accepted, proxy)
	evicted := place.Evicted()
	place.Leave()
	now := s.clock.Now()
	if evicted {
		s.count.Inc(metrics.ConnectionsClosedEvicted)
		return client, false
	}
	if err != nil {
		s.misled(now, proxy, l, err, begun)
		return client, false
	}
	var refusal listener.Refusal
	var by string
	if *place, refusal, by = l.Admit(now, client.Addr()); refusal != "" {
		s.keptOut(now, refusal, by, client, l)
		return client, false
	}
	w.enter()
	place.Evictable(func() { _ = w.raw.Close() })
	return client, true
}

// readHeader takes the header off, and not a byte of what is behind it.
func (w *wire) readHeader(accepted time.Time, proxy netip.AddrPort) (client netip.AddrPort, begun bool, err error) {
	p := w.listener.Proxy.Load()
	if p == nil { // a reload has just taken it away
		return client, false, errProxyEnd
	}
	_ = w.raw.SetReadDeadline(w.listener.ProxyDeadline(accepted))
	var b []byte
	for {
		need, err := listener.ProxySize(b)
		if err != nil {
			return client, true, err
		}
		if need <= len(b) {
			break
		}
		b = slices.Grow(b, need-len(b))
		n, err := w.raw.Read(b[len(b):need])
		b = b[:len(b)+n]
		var late net.Error
		switch {
		case n > 0: // an error comes again with the next read
		case errors.As(err, &late) && late.Timeout():
			return client, len(b) > 0, errProxyLate
		case err != nil:
			return client, len(b) > 0, errProxyEnd
		}
	}
	_ = w.raw.SetReadDeadline(time.Time{})
	client, w.via, err = introduce(p, b, proxy)
	return client, true, err
}
