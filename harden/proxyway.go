package harden

import (
	"context"
	"net/netip"
	"strings"

	"github.com/redoubtmq/redoubt/config"
)

// unheard tells whether a spot is that of a listener that hears proxies only, and we are none.
func (e *Env) unheard(s *socket, a spot) bool { return e.behind(s) && !a.proxied }

// entrancesBefore are the ways of clients to listeners that do not hear us: by the proxies, at
// the addresses that clients are given.
func (e *Env) entrancesBefore(ctx context.Context, all []socket) (eps []endpoint) {
	done := map[string]bool{}
	for i := range all {
		s := &all[i]
		if done[s.name] || !e.unheardSomewhere(s) {
			continue
		}
		done[s.name] = true
		eps = append(eps, e.entrancesOf(ctx, s.name)...)
	}
	return eps
}

func (e *Env) unheardSomewhere(s *socket) bool {
	for _, a := range e.spots(s) {
		if e.unheard(s, a) {
			return true
		}
	}
	return false
}

// entrancesOf are those of one listener that can be reached from here.
func (e *Env) entrancesOf(ctx context.Context, listener string) (eps []endpoint) {
	for _, x := range e.adverts() {
		if x.listener != listener {
			continue
		}
		e.eachAddress(ctx, x, func(_ context.Context, s *socket, a spot) (Result, bool) {
			eps = append(eps, e.entrance(s, a))
			return Result{}, false
		})
	}
	return eps
}

// notHeard is the result about a spot that hears proxies only. Elsewhere the way of clients is
// tried; if there is none from here, nothing was seen.
func (e *Env) notHeard(ctx context.Context, s *socket, a spot) Result {
	q := e.inquire(s.scope(a))
	q.key = s.key
	answered, words := e.answersAt(ctx, s, asIfProxy(a))
	what, want := "a connection from here, whose address is in no network of proxy_sources", "closed"
	switch eps := e.entrancesOf(ctx, s.name); {
	case answered:
		q.see(Probe, what, want, words+": is this the configuration it runs with? See row P1.4", Unknown)
	case len(eps) == 0:
		q.see(Probe, what, want, words, Unknown)
		q.fixes = append(q.fixes, "name in "+s.key+".advertised where clients connect, and run redoubt doctor from where that is reached")
		return q.result("", "")
	default:
		q.see(Probe, what, want, words+"; the row is judged at "+eps[0].scope(), NotApplicable)
	}
	return q.result(Behavioural, "only its proxies are heard: judged where clients connect")
}

// asIfProxy is a spot with a header from who may not send one.
func asIfProxy(a spot) spot {
	a.proxied = true
	return a
}

// answersAt tells whether anything of TLS or MQTT is answered at a spot.
func (e *Env) answersAt(ctx context.Context, s *socket, a spot) (answered bool, words string) {
	if s.speaksTLS() {
		g, err := e.greet(ctx, a, hello{legacy: tls12, supported: []uint16{tls13, tls12}, name: s.serverName()}, true)
		if err != nil {
			return false, shortened(err.Error())
		}
		return g.accepted != 0 || g.alerted, g.String()
	}
	p := e.entrance(s, a)
	p.byCert = false // nobody vouches for us
	m, said := e.connect(ctx, &p, connectPacket{level: level4})
	m.leave()
	if w := said.String(); said.packet == nil && strings.HasPrefix(w, "no connection: WebSocket") {
		return false, "the upgrade was not answered"
	}
	return said.packet != nil, said.String()
}

// endsBefore is the result of a row of phase 3 about a listener behind which TLS ends at a proxy.
func (e *Env) endsBefore(c *Check, s *socket) Result {
	q := e.inquire("listener:" + s.name + "@" + s.addr.String())
	q.key = s.key
	l := e.Config.Listeners[s.name]
	const what = "where TLS ends"
	onCerts := c.ID == "P3.4" || c.ID == "P3.5"
	switch {
	case onCerts && l.ProxyTLS == config.ProxyTLSTrust:
		q.see(ReadConfig, what, "", "at a proxy, which alone judges certificates of clients, and is believed (proxy_tls: trust)", Unknown)
	case onCerts:
		q.see(ReadConfig, what, "", "at a proxy, if anywhere; what it says of certificates is not believed (proxy_tls: ignore)", NotApplicable)
	case len(l.Advertised) == 0:
		q.see(ReadConfig, what, "", "at a proxy, if anywhere: where clients connect is not known here", Unknown)
		q.fixes = append(q.fixes, "name in "+s.key+".advertised where clients connect")
	default:
		q.see(ReadConfig, what, "", "at a proxy; judged where clients connect: "+shortened(strings.Join(l.Advertised, ", ")), NotApplicable)
	}
	return q.result(Behavioural, "TLS ends at a proxy: judged where clients connect")
}

// judgeProxies is a result of its own, so that a waiver for a listener without TLS does not cover it.
func (e *Env) judgeProxies(ctx context.Context, s *socket) Result {
	q := e.inquire("proxies:" + s.name + "@" + s.addr.String())
	q.key = s.key + ".proxy_sources"
	q.onlyProxies(ctx, s)
	r := q.result(Behavioural, "hears its proxies and nobody else")
	r.Demands = Kernel // an outsider could see no more
	return r
}

// onlyProxies is the part of row P1.4 about a listener that believes what proxies say: nobody
// else may be heard, and nobody without a header. Positive control: we are, with one, where our address is
// that of a proxy.
func (q *inquiry) onlyProxies(ctx context.Context, s *socket) {
	l := q.e.Config.Listeners[s.name]
	for _, a := range q.e.spots(s) {
		if q.e.notServed(ctx, s, a) {
			continue
		}
		if q.e.unheard(s, a) {
			answered, words := q.e.answersAt(ctx, s, asIfProxy(a))
			q.see(Probe, "a PROXY header at "+a.String()+" from an address that is in no network of proxy_sources", "closed", words, passIf(!answered, Fail))
			if answered {
				q.mend("redoubt reload: the broker believes who is no proxy", Want{Kind: WantReload})
			}
			continue
		}
		mark := len(q.obs)
		bare := a
		bare.proxied = false
		answered, words := q.e.answersAt(ctx, s, bare)
		q.see(Probe, "a client at "+a.String()+" without a PROXY header", "closed", words, passIf(!answered, Fail))
		if from := strangeLoopback(&l, a); from.IsValid() {
			other := a
			other.from = from
			answered, words = q.e.answersAt(ctx, s, other)
			q.see(Probe, "a PROXY header at "+a.String()+" from "+from.String()+", which is in no network of proxy_sources", "closed", words, passIf(!answered, Fail))
		}
		answered, words = q.e.answersAt(ctx, s, a)
		q.see(Probe, "a PROXY header at "+a.String()+" from our own address, which is in proxy_sources (positive control)", "answered", words, passIf(answered, Unknown))
		if !answered {
			q.doubt(mark)
		}
	}
}

// strangeLoopback is an address of this host from which a loopback address can be reached, and
// that is no proxy's; the zero Addr: there is none.
func strangeLoopback(l *config.Listener, to spot) netip.Addr {
	if !to.Addr().Is4() || !to.Addr().IsLoopback() {
		return netip.Addr{}
	}
	for _, last := range []byte{2, 77, 201} {
		if a := netip.AddrFrom4([4]byte{127, last, 0, last}); !amongProxies(l, a) {
			return a
		}
	}
	return netip.Addr{}
}
