package harden

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki"
)

// Clients may reach a listener by a name, and through something that stands in front and may
// end TLS. What they meet there is what counts for them, so that it is tried like a
// socket of the broker.

// eachSocket judges every socket of the broker on which TLS may be spoken, at each of its addresses, and where
// clients are told to connect. judged is false where there is nothing to judge.
func (e *Env) eachSocket(ctx context.Context, judge func(context.Context, *socket, spot) (r Result, judged bool)) (out []Result) {
	all, err := e.listening(ctx)
	if err != nil {
		out = unknown(e, err.Error())
	}
	for i := range all {
		s := &all[i]
		if s.network != "tcp" && !s.isQUIC() {
			continue
		}
		for _, a := range e.spots(s) {
			if e.unheard(s, a) { // see unprobed
				continue
			}
			if r, judged := judge(ctx, s, a); judged {
				out = append(out, r)
			}
		}
	}
	for _, x := range e.adverts() {
		out = append(out, e.eachAddress(ctx, x, judge)...)
	}
	return out
}

// advert is an address that clients are given.
type advert struct {
	config.Advertised
	text     string
	listener string // empty: it is not known which
	key      string
	protocol string // which speaks TLS
}

// adverts are those of the configuration and of the run. What is no such address was
// refused by whoever read it.
func (e *Env) adverts() (all []advert) {
	for name, l := range e.Config.Listeners {
		protocol := config.ProtocolMQTTS
		switch {
		case l.WebSocket():
			protocol = config.ProtocolWSS
		case l.Protocol == config.ProtocolQUIC:
			protocol = config.ProtocolQUIC
		}
		for _, text := range l.Advertised {
			if a, err := config.ParseAdvertised(text); err == nil {
				all = append(all, advert{a, text, name, "listeners." + name + ".advertised", protocol})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b advert) int { // listeners come in any order
		return slices.Compare([]string{a.listener, a.text}, []string{b.listener, b.text})
	})
	for _, text := range e.Targets {
		if a, err := config.ParseAdvertised(text); err == nil {
			all = append(all, advert{a, text, "", "", config.ProtocolMQTTS})
		}
	}
	return all
}

// addressesMax bounds how many addresses of one name are tried.
const addressesMax = 4

// eachAddress judges those that a name has from here. Where nobody can be reached the
// verdict is unknown: from where clients are it may be different.
func (e *Env) eachAddress(ctx context.Context, x advert, judge func(context.Context, *socket, spot) (Result, bool)) (out []Result) {
	q := e.inquire("advertised:" + x.text)
	q.key = x.key
	addrs, err := e.lookup(ctx, x.Host)
	if err != nil {
		q.see(Probe, "address of "+x.Host, "known here", shortened(err.Error()), Unknown)
		return []Result{q.result("", "")}
	}
	for i, addr := range addrs {
		if i == addressesMax {
			q.see(Probe, "addresses of "+x.Host, fmt.Sprintf("each is tried, up to %d", addressesMax), fmt.Sprintf("%d more were not", len(addrs)-i), Unknown)
			return append(out, q.result("", ""))
		}
		a := spot{AddrPort: netip.AddrPortFrom(addr, x.Port), network: "tcp"}
		if x.protocol == config.ProtocolQUIC {
			a.network = networkUDP
		}
		c, err := e.dial(ctx, a)
		if err != nil {
			r := e.inquire(q.scope + "@" + addr.String())
			r.key = x.key
			r.see(Probe, "connection", "accepted", shortened(err.Error())+": run redoubt doctor --target "+x.text+" from where clients are", Unknown)
			out = append(out, r.result("", ""))
			continue
		}
		_ = c.Close()
		s := &socket{network: a.network, addr: a.AddrPort, name: x.listener, key: x.key, protocol: x.protocol, host: x.Host}
		if r, judged := judge(ctx, s, a); judged {
			out = append(out, r)
		}
	}
	return out
}

// lookup asks for the addresses of a host, in an order that stays.
func (e *Env) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	find := e.Lookup
	if find == nil {
		find = net.DefaultResolver.LookupNetIP
	}
	within, cancel := context.WithDeadline(ctx, e.deadline(ctx))
	defer cancel()
	addrs, err := find(within, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs), nil
}

// scope is what a result about one address of a socket is filed under.
func (s *socket) scope(a spot) string {
	switch {
	case s.host != "":
		return "advertised:" + net.JoinHostPort(s.host, strconv.Itoa(int(a.Port()))) + "@" + a.Addr().String()
	case s.name == "":
		return "listener:unrecognised@" + a.String()
	}
	return "listener:" + s.name + "@" + a.String()
}

// serverName is what a client of TLS would ask for; empty: it has an address only.
func (s *socket) serverName() string {
	if s.host == "" {
		return "localhost"
	}
	if _, err := netip.ParseAddr(s.host); err == nil {
		return ""
	}
	return s.host
}

// advertised judges what is shown to clients there: valid for the name they use, whole, and
// with a life before it. Whose certificate it is does not matter to them.
func (j *certJudge) advertised() {
	j.chains = map[string][]*x509.Certificate{}
	if l, known := j.e.Config.Listeners[j.s.name]; known && !l.Plaintext() {
		for _, file := range j.e.certFiles(&socket{name: j.s.name, protocol: j.s.protocol}) {
			j.chains[file], _ = readChain(file) // the listener's own result tells of what cannot be read
		}
	}
	j.shown = j.e.shownAt(j.ctx, j.s, j.a)
	name := j.s.serverName()
	i := slices.IndexFunc(j.shown.all, func(p *presented) bool { return p.name == name })
	if i < 0 {
		words := "none was"
		if len(j.shown.troubles) > 0 {
			words = j.shown.troubles[0]
		}
		j.see(Probe, "handshake "+asked(name), "a certificate is shown", words, Unknown)
		return
	}
	p := j.shown.all[i]
	what, want := "certificate that is shown "+asked(name), "valid for "+j.s.host
	if err := p.leaf().VerifyHostname(j.s.host); err != nil {
		j.see(Probe, what, want, "clients that connect to "+j.s.host+" refuse it: "+shortened(err.Error()), Fail)
		j.fixes = append(j.fixes, "let "+j.s.host+" be a name of the certificate, or correct "+j.key)
	} else {
		j.see(Probe, what, want, pki.Describe(p.leaf()), Pass)
	}
	if file := j.fileOf(p); file != "" {
		j.see(Probe, "whose it is", "", "that of the listener", Pass)
		j.source(file)
	} else {
		j.see(Probe, "whose it is", "", "not of a file of the listener: TLS ends in front of the broker", NotApplicable)
	}
	j.whole(p)
	j.life(p.leaf())
}
