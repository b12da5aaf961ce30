package harden

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/config"
)

// ciphers is row P3.2: with which suites, groups and extras of the protocol every
// socket that speaks TLS answers.
func ciphers(ctx context.Context, e *Env) []Result {
	out := e.eachSocket(ctx, e.judgeCiphers)
	if len(out) == 0 {
		return []Result{{Scope: "node", State: NotApplicable, Summary: "no socket of the broker speaks TLS", Confidence: Behavioural}}
	}
	return out
}

// cipherProbe is one address whose suites are enumerated.
type cipherProbe struct {
	*inquiry
	ctx      context.Context
	a        spot
	listener string
	name     string // of the server
	has12    bool
	has13    bool
	accepted []uint16 // good suites of TLS 1.2
	words    []byte   // of a client, which whoever listens answers
}

// judgeCiphers enumerates at one address. judged is false where nobody meant TLS
// and none is spoken.
func (e *Env) judgeCiphers(ctx context.Context, s *socket, a spot) (r Result, judged bool) {
	p := &cipherProbe{inquiry: e.at(s.scope(a), a), ctx: ctx, a: a, listener: s.name, name: s.serverName()}
	p.key = s.key
	nobody := connectPacket{level: level4, clientID: e.clientID()}
	if p.words = nobody.encode(); s.protocol != config.ProtocolMQTTS {
		p.words = []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	modern, err := e.greet(ctx, a, hello{legacy: tls12, supported: []uint16{tls13}, name: p.name}, s.speaksTLS())
	if err != nil {
		if e.notServed(ctx, s, a) {
			return r, false // the socket does not serve this family
		}
		p.see(Probe, "connection", "accepted", err.Error(), Unknown)
		return p.result("", ""), s.speaksTLS()
	}
	older := p.greet(hello{legacy: tls12, suites: goodSuites}, s.speaksTLS())
	if !s.speaksTLS() && modern.accepted == 0 && older.accepted == 0 && !modern.alerted && !older.alerted {
		return r, false
	}
	p.has13, p.has12 = modern.accepted == tls13, older.accepted == tls12
	if !p.has12 && !p.has13 {
		p.see(Probe, "hello with good suites (positive control)", "ServerHello", "TLS 1.3: "+modern.String()+"; TLS 1.2: "+older.String(), Unknown)
		return p.result("", ""), true
	}
	if p.has12 {
		p.suites12(e.shownAt(ctx, s, a).names)
		p.extras12(older)
	} else {
		state := Unknown
		if older.alerted && older.alert == alertProtocolVersion {
			state = NotApplicable
		}
		p.see(Probe, "suites of TLS 1.2", "within the six of the checklist", "TLS 1.2 is refused: "+older.String(), state)
	}
	if p.has13 {
		p.suites13()
		p.groups13()
	} else {
		p.see(Probe, "hello with TLS 1.3", "ServerHello for TLS 1.3", modern.String(), Warn)
		p.groups12()
	}
	p.applicationProtocol(s)
	if a.network == networkUDP {
		p.early()
	}
	return p.result(Behavioural, "suites and groups of the checklist only"), true
}

// greet is Env.greet whose errors are words.
func (p *cipherProbe) greet(h hello, meant bool) greeting {
	g, err := p.e.greet(p.ctx, p.a, h, meant)
	if err != nil {
		g.other = shortened(err.Error())
	}
	return g
}

// suites12 finds which good suites are accepted, one after the other with a list
// that shrinks, and tries each class of bad ones by itself. A bad one is refused
// when the same hello with a good one behind it is answered.
func (p *cipherProbe) suites12(names []string) {
	left := slices.Clone(goodSuites)
	for len(left) > 0 {
		g := p.greet(hello{legacy: tls12, suites: left, name: p.name}, true)
		i := slices.Index(left, g.hello.suite)
		if g.accepted != tls12 || i < 0 {
			break
		}
		p.accepted = append(p.accepted, left[i])
		left = slices.Delete(left, i, i+1)
	}
	p.see(Probe, "TLS 1.2: good suites (positive control)", "at least one", suiteList(p.accepted), passIf(len(p.accepted) > 0, Unknown))
	for _, c := range weakSuites {
		p.classRefused(c, p.name, Fail)
	}
	p.classRefused(offList, p.name, Warn)
	var bad []uint16
	for _, c := range weakSuites {
		bad = append(bad, c.suites...)
	}
	slices.Sort(bad)
	for _, name := range names {
		if name != p.name {
			p.classRefused(suiteClass{"every bad suite", slices.Compact(bad)}, name, Fail)
		}
	}
}

// classRefused offers the suites of a class and nothing else. All that are accepted
// are found, one at a time.
func (p *cipherProbe) classRefused(c suiteClass, name string, bad State) {
	left, found := slices.Clone(c.suites), []uint16(nil)
	var g greeting
	for len(left) > 0 {
		g = p.greet(hello{legacy: tls12, suites: left, name: name}, true)
		i := slices.Index(left, g.hello.suite)
		if g.accepted == 0 || i < 0 {
			break
		}
		found = append(found, left[i])
		left = slices.Delete(left, i, i+1)
	}
	what := fmt.Sprintf("TLS 1.2 %s: %s", asked(name), c.what)
	if len(found) > 0 {
		p.see(Probe, what, "refused", "accepts "+suiteList(found), bad)
		return
	}
	if !g.alerted {
		p.see(Probe, what, "alert handshake_failure (40)", g.String(), Unknown)
		return
	}
	control := p.greet(hello{legacy: tls12, suites: slices.Concat(left, p.accepted), name: name}, true)
	chosen := control.accepted == tls12 && slices.Contains(p.accepted, control.hello.suite)
	actual := g.String()
	if !chosen {
		actual += " (proves nothing: with a good suite behind it the answer was " + control.String() + ")"
	}
	p.see(Probe, what, "alert handshake_failure (40)", actual, passIf(chosen, Unknown))
}

// extras12 judges what TLS 1.3 does not have any more.
func (p *cipherProbe) extras12(older greeting) {
	g := p.greet(hello{legacy: tls12, suites: p.accepted, name: p.name, deflate: true}, true)
	switch {
	case g.accepted == tls12 && g.hello.compression == 0, g.alerted:
		p.see(Probe, "TLS compression, offered before none", "not chosen", "not chosen: "+g.String(), Pass)
	case g.accepted != 0:
		p.see(Probe, "TLS compression, offered before none", "not chosen", fmt.Sprintf("method %d is chosen", g.hello.compression), Fail)
	default:
		p.see(Probe, "TLS compression, offered before none", "not chosen", g.String(), Unknown)
	}
	p.see(Probe, "secure renegotiation (RFC 5746)", "confirmed in the ServerHello", map[bool]string{true: "confirmed", false: "not confirmed: a stranger could put words before a client's"}[older.hello.renegotiation],
		passIf(older.hello.renegotiation, Fail))
	p.renegotiation()
	weak := p.greet(hello{legacy: tls12, suites: p.accepted, name: p.name, groups: weakGroups}, true)
	state := Unknown
	switch {
	case weak.accepted != 0:
		state = Fail
	case weak.alerted:
		state = Pass // the suites alone were accepted above
	}
	p.see(Probe, "TLS 1.2: curves below 128-bit strength", "alert handshake_failure (40)", weak.String(), state)
}

// suites13 tries those of TLS 1.3 that are not good.
func (p *cipherProbe) suites13() {
	h := hello{legacy: tls12, supported: []uint16{tls13}, name: p.name, suites: weakSuites13.suites}
	g := p.greet(h, true)
	state, actual := Unknown, g.String()
	switch {
	case g.accepted != 0:
		state, actual = Fail, "accepts "+suiteName(g.hello.suite)
	case g.alerted:
		h.suites = slices.Concat(weakSuites13.suites, suites13)
		control := p.greet(h, true)
		state = passIf(control.accepted == tls13 && slices.Contains(suites13, control.hello.suite), Unknown)
	}
	p.see(Probe, weakSuites13.what, "alert handshake_failure (40)", actual, state)
}

// groups13 has the server choose among groups for none of which it has a key: it
// says in a HelloRetryRequest which one it wants. What it wants is taken off the
// list until it wants nothing.
func (p *cipherProbe) groups13() {
	h := hello{legacy: tls12, supported: []uint16{tls13}, name: p.name, shares: []uint16{}, groups: slices.Concat(otherGroups, []uint16{groupP384, groupP256, groupX25519, groupMLKEM768})}
	var found []uint16
	var g greeting
	for len(h.groups) > 0 {
		g = p.greet(h, true)
		i := slices.Index(h.groups, g.hello.group)
		if g.accepted != tls13 || i < 0 {
			break
		}
		found = append(found, h.groups[i])
		h.groups = slices.Delete(h.groups, i, i+1)
	}
	good := slices.ContainsFunc(found, func(x uint16) bool { return slices.Contains(goodGroups, x) })
	p.see(Probe, "TLS 1.3: groups (positive control)", "one of the checklist's is chosen", groupList(found), passIf(good, Unknown))
	for _, x := range found {
		switch {
		case slices.Contains(weakGroups, x):
			p.see(Probe, "TLS 1.3: group "+groupName(x), "refused", "accepted, and weak", Fail)
		case !slices.Contains(goodGroups, x):
			p.see(Probe, "TLS 1.3: group "+groupName(x), "refused", "accepted; it is not on the list", Warn)
		}
	}
	if len(h.groups) > 0 && !g.alerted {
		p.see(Probe, "TLS 1.3: groups that are not on the list", "alert handshake_failure (40)", g.String(), Unknown)
	}
	both := hello{legacy: tls12, supported: []uint16{tls13}, name: p.name, groups: []uint16{groupX25519, groupMLKEM768}, shares: []uint16{groupX25519, groupMLKEM768}}
	g = p.greet(both, true)
	const what = "TLS 1.3: X25519MLKEM768 offered behind X25519"
	switch {
	case g.accepted == tls13 && g.hello.group == groupMLKEM768:
		p.see(Probe, what, "chosen", "chosen", Pass)
	case g.accepted == tls13:
		p.see(Probe, what, "chosen", groupName(g.hello.group)+" is chosen: what is recorded today can be read when there are quantum computers", Warn)
	default:
		p.see(Probe, what, "chosen", g.String(), Unknown)
	}
}

// groups12 is for a server that has no TLS 1.3.
func (p *cipherProbe) groups12() {
	g := p.greet(hello{legacy: tls12, suites: p.accepted, name: p.name, groups: otherGroups}, true)
	p.see(Probe, "TLS 1.2: groups that are not on the list", "refused", g.String(), passIf(g.alerted, Warn))
}

// applicationProtocol offers one that no broker speaks: a connection that was meant
// for another service must not end here.
func (p *cipherProbe) applicationProtocol(s *socket) {
	own := map[string]string{config.ProtocolMQTTS: "mqtt", config.ProtocolQUIC: quicALPN, config.ProtocolWSS: "http/1.1"}[s.protocol]
	if own == "" {
		return
	}
	h := hello{legacy: tls12, suites: p.accepted, name: p.name, alpn: own}
	if p.has13 {
		h.supported, h.suites = []uint16{tls13}, suites13
	}
	control := p.greet(h, true)
	h.alpn = "probe-" + randomText()
	g := p.greet(h, true)
	state := Unknown
	switch {
	case g.accepted != 0 && s.host != "":
		state = Warn // what is in front takes no notice of the names, and passes on to MQTT alone
	case g.accepted != 0:
		state = Fail
	case g.alerted && control.accepted != 0:
		state = Pass
	}
	p.see(Probe, "an application protocol nobody speaks, and no other", "alert no_application_protocol (120); "+own+" is accepted", g.String()+"; "+own+": "+control.String(), state)
}

func suiteName(x uint16) string {
	if n := suiteNames[x]; n != "" {
		return n
	}
	return fmt.Sprintf("0x%04X", x)
}

func suiteList(all []uint16) string { return listed(all, suiteName) }

func groupName(x uint16) string {
	if n := groupNames[x]; n != "" {
		return n
	}
	return fmt.Sprintf("group %d", x)
}

func groupList(all []uint16) string { return listed(all, groupName) }

func listed(all []uint16, name func(uint16) string) string {
	if len(all) == 0 {
		return "none"
	}
	var out []string
	for _, x := range all {
		out = append(out, name(x))
	}
	return strings.Join(out, ", ")
}
