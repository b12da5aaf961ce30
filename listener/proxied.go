package listener

import (
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// ProxyWait is how long a proxy may take for its header, from accept on, unless there is
// less patience at the door. It writes the header in the first packet; three seconds are
// for one that was lost on the way.
const ProxyWait = 3 * time.Second

// Proxy is who may speak for others at a listener. It does not change: a reload makes
// another one. Where a listener has one, every connection is a proxy's, and says first
// whose it really is; nothing is ever guessed from what comes.
type Proxy struct {
	Sources []netip.Prefix // of proxies; nobody else is heard
	// Trust believes a proxy also about the certificate that its client has shown.
	Trust bool
}

// Hears tells whether a connection from this address is a proxy's.
func (p *Proxy) Hears(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	for _, s := range p.Sources {
		if s.Contains(from) {
			return true
		}
	}
	return false
}

// Refusals of what comes through a proxy, or should.
const (
	NoProxy   Refusal = "proxy_sources"
	BadHeader Refusal = "proxy_header"
	NoHeader  Refusal = "proxy_wait"
)

// AdmitProxy gives a connection of a proxy its place until its header is there. Rates and
// caps of the proxy's own address are not asked: they are the client's, and Admit asks
// for them when the client is known, once this place was given back. What all have
// together is, so that headers which never come cannot take more than strangers may.
func (l *Listener) AdmitProxy(from netip.Addr) (Admission, Refusal) {
	d := l.Door
	if p := l.Proxy.Load(); p == nil || !p.Hears(from) { // nil: a reload has just taken PROXY away
		d.count.Inc(metrics.ConnectionsRefusedProxySource)
		l.Tally.Refuse(NoProxy)
		return Admission{}, NoProxy
	}
	place, refusal := d.admitUnnamed(from)
	if refusal != "" {
		l.Tally.Refuse(refusal)
	}
	return place, refusal
}

// admitUnnamed is Admit for somebody whose own address is not known yet.
func (d *Door) admitUnnamed(proxy netip.Addr) (Admission, Refusal) {
	if d.shut() {
		return d.refused(OverMemory)
	}
	place := Admission{door: d}
	in := false
	defer func() {
		if !in {
			place.Leave()
		}
	}()
	if refusal := place.among(proxy); refusal != "" {
		return d.refused(refusal)
	}
	place.counted()
	in = true
	return place, ""
}

// ProxyDeadline is when the header of a connection accepted now must be there.
func (l *Listener) ProxyDeadline(now time.Time) time.Time {
	return now.Add(min(ProxyWait, l.Door.Patience()))
}

// Misled counts a connection whose header never came, or was none.
func (l *Listener) Misled(r Refusal) {
	l.Tally.Refuse(r)
	if r == NoHeader {
		l.Door.count.Inc(metrics.ConnectionsRefusedProxyWait)
	} else {
		l.Door.count.Inc(metrics.ConnectionsRefusedProxyHeader)
	}
}
