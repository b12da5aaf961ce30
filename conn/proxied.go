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
	s.broker.Log().Stranger(now, level, "a proxy's connection is refused for its PROXY header", proxy.Addr(), err.Error(),
		slog.String("address", proxy.String()), slog.String("listener", l.Name), slog.String("why", err.Error()))
}

// admitProxy is admit where a proxy speaks first.
func (p *Portable) admitProxy(l *listener.Listener, nc net.Conn, now time.Time, proxy netip.AddrPort) {
	place, refusal := l.AdmitProxy(proxy.Addr())
	if refusal != "" {
		_ = nc.Close()
		p.server.keptOut(now, refusal, "", proxy, l)
		return
	}
	place.Evictable(func() { _ = nc.Close() })
	w := &wire{engine: p, listener: l, raw: nc, nc: nc, credit: make(chan struct{}, 1), done: make(chan struct{}), readerGone: make(chan struct{})}
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
}

// serveProxied is serve once the header is there.
func (w *wire) serveProxied(accepted time.Time, proxy netip.AddrPort, place listener.Admission) {
	l, s := w.listener, w.engine.server
	client, begun, err := w.readHeader(accepted, proxy)
	evicted := place.Evicted()
	place.Leave()
	now := s.clock.Now()
	if evicted {
		s.count.Inc(metrics.ConnectionsClosedEvicted)
		w.unknown()
		return
	}
	if err != nil {
		s.misled(now, proxy, l, err, begun)
		w.unknown()
		return
	}
	place, refusal, by := l.Admit(now, client.Addr())
	if refusal != "" {
		s.keptOut(now, refusal, by, client, l)
		w.unknown()
		return
	}
	l.Open.Add(1)
	place.Evictable(func() { _ = w.raw.Close() })
	w.serve(accepted, client, place)
}

// unknown ends a connection that no client came to have.
func (w *wire) unknown() {
	_ = w.raw.Close()
	w.engine.mu.Lock()
	delete(w.engine.live, w)
	w.engine.mu.Unlock()
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
