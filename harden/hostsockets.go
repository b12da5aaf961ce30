package harden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/config"
)

// reachable is row P1.4. A socket that is bound to loopback cannot be reached from
// elsewhere, and on one where only TLS is answered there is no plain text to find:
// for those the kernel and a probe are enough. What something else on the host
// passes on, to a listener in plain text, only somebody outside can see.
func reachable(ctx context.Context, e *Env) []Result {
	all, err := e.listening(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	outside, out := e.fromOutside(ctx, all)
	for i := range all {
		if s := &all[i]; s.network != "unix" {
			out = append(out, e.judgeReach(ctx, s, outside))
			if e.behind(s) && !e.Quiet {
				out = append(out, e.judgeProxies(ctx, s))
			}
		}
	}
	return append(out, e.judgeSurroundings(ctx, all))
}

// plainClients tells whether MQTT is spoken there without TLS.
func (s *socket) plainClients() bool {
	return s.protocol == config.ProtocolMQTT || s.protocol == config.ProtocolWS
}

// encrypted tells whether the broker says that it is TLS and nothing else.
func (s *socket) encrypted() bool {
	return s.protocol == config.ProtocolMQTTS || s.protocol == config.ProtocolWSS || s.key == "enroll" || s.network == "udp" && s.name != ""
}

// judgeReach judges one socket of the process.
func (e *Env) judgeReach(ctx context.Context, s *socket, outside *beheld) Result {
	scope := "socket:" + s.String()
	if s.name != "" {
		scope = "listener:" + s.name + "@" + s.addr.String()
	}
	q := e.inquire(scope)
	q.key = s.key
	const what = "where the socket is bound"
	where := fmt.Sprintf("/proc/%d/net/%s", e.seen.report.PID, s.network)
	good, reached := "only TLS is answered", Kernel
	switch {
	case s.name == "":
		q.told("listening socket "+s.String(), "a listener or a service of the configuration", "nobody configured it", where, Fail)
		q.fixes = append(q.fixes, "find out what opened it (ss -lntup), and stop that")
	case s.encrypted():
		q.told(what, "anywhere: clients are meant to reach it", s.addr.String(), where, Pass)
		if e.Quiet && s.network == "tcp" { // QUIC has no form without TLS
			q.see(API, "what is spoken there", "TLS and nothing else", "TLS, says the process; whether plain text is answered is tried by redoubt doctor alone", Unknown)
			break
		}
		e.noPlainText(ctx, q, s)
		if outside.shows(q, s) {
			reached = External
		}
	case !s.addr.Addr().IsLoopback():
		q.told(what, "loopback: it is not encrypted", s.addr.String(), where, Fail)
		q.wantLoopback(s)
		q.mend("bind " + s.key + " to 127.0.0.1, or use a protocol with TLS")
	case s.plainClients():
		q.told(what, "loopback: it is not encrypted", s.addr.String(), where, Pass)
		if outside.passedOn(q, s) {
			good, reached = "bound to loopback, and nothing passes it on", External
		} else {
			q.see(ReadKernel, "whether something passes it on to others: a proxy, a published port", "nothing does",
				"can only be seen from another host: redoubt doctor --from outside", Unknown)
		}
		q.loopbackOnly(s)
	default:
		good = "bound to loopback"
		q.told(what, "loopback", s.addr.String(), where, Pass)
		q.loopbackOnly(s)
	}
	r := q.result(reached, good)
	r.Demands = Kernel // what only an outsider can tell was made unknown above
	r.Untried = e.Quiet && s.name != "" && s.encrypted() && r.State == Unknown
	return r
}

// noPlainText tries whether plain text gets an answer in MQTT where the broker says
// that there is TLS. Positive control: a ClientHello is answered with a ServerHello.
func (e *Env) noPlainText(ctx context.Context, q *inquiry, s *socket) {
	if s.network != "tcp" {
		return // QUIC has no form without TLS
	}
	var all []spot
	for _, a := range e.spots(s) {
		if !e.unheard(s, a) && !e.notServed(ctx, s, a) {
			all = append(all, a)
		}
	}
	if e.unheardSomewhere(s) {
		for _, p := range e.entrancesOf(ctx, s.name) {
			all = append(all, p.addr)
		}
		if len(all) == 0 {
			q.see(Probe, "CONNECT in plain text", "no CONNACK", "not tried: only its proxies are heard, and where clients connect is not known or not reached from here; name it in "+s.key+".advertised", Unknown)
		}
	}
	for _, a := range all {
		mark := len(q.obs)
		plain := e.anonymousPlain(ctx, a)
		state := Pass
		switch {
		case plain.packet != nil && plain.packet.typ == typeConnack:
			state = Fail
		case strings.HasPrefix(plain.other, "no connection"):
			state = Unknown
		}
		q.see(Probe, fmt.Sprintf("CONNECT in plain text at %s", a), "no CONNACK", plain.String(), state)
		g, err := e.greet(ctx, a, hello{legacy: tls12, supported: []uint16{tls13, tls12}, name: "localhost"}, true)
		if err != nil {
			g.other = shortened(err.Error())
		}
		state = passIf(err == nil && g.accepted != 0, Unknown)
		q.see(Probe, fmt.Sprintf("ClientHello at %s (positive control)", a), "ServerHello", g.String(), state)
		if state != Pass {
			q.doubt(mark)
		}
	}
}

// loopbackOnly makes sure that addresses of loopback are not taken from the wire,
// which one setting of an interface allows to whoever is on its network.
func (q *inquiry) loopbackOnly(s *socket) {
	if !s.addr.Addr().Is4() {
		return // IPv6 has no such setting
	}
	const what, want = "net.ipv4.conf.*.route_localnet", "0 for every interface"
	dir := q.e.sysctlPath("net.ipv4.conf")
	interfaces, err := os.ReadDir(dir)
	if err == nil && len(interfaces) == 0 {
		err = errors.New("no interface is listed")
	}
	var open []string
	for _, d := range interfaces {
		text, readErr := readSmall(filepath.Join(dir, d.Name(), "route_localnet"))
		if err = errors.Join(err, readErr); text != "0" && readErr == nil {
			open = append(open, d.Name())
		}
	}
	switch {
	case len(open) > 0:
		q.told(what, want, "not 0 for "+shortened(strings.Join(open, ", "))+": its network reaches 127.0.0.1", dir, Warn)
		for _, name := range open {
			q.set("net.ipv4.conf."+name+".route_localnet", 0)
		}
	case err != nil:
		q.blind(what, want, dir, err)
	default:
		q.told(what, want, "0", dir, Pass)
	}
}

// judgeSurroundings mentions what is around the broker, and decides nothing: other
// processes are not its own, and a packet filter that is there proves no packet.
func (e *Env) judgeSurroundings(ctx context.Context, own []socket) Result {
	q := e.inquire("host")
	pid := e.seen.report.PID
	others, err := e.othersOpen(pid, own)
	switch {
	case err != nil:
		q.see(ReadKernel, "other sockets of this network namespace", "", "cannot be listed: "+shortened(err.Error()), NotApplicable)
	case len(others) == 0:
		q.see(ReadKernel, "other sockets of this network namespace", "", "none is open to others", NotApplicable)
	default:
		q.see(ReadKernel, "other sockets of this network namespace", "", "open to others: "+strings.Join(others, ", "), NotApplicable)
	}
	if ours, err := e.inHostNetwork(); err != nil || !ours {
		q.see(ReadKernel, "network namespace", "", "one of its own: which ports are published is seen outside of it", NotApplicable)
	}
	rules, err := e.host().Ruleset(ctx)
	if err != nil {
		q.see(API, "packet filter", "", "not read: "+shortened(err.Error()), NotApplicable)
	} else {
		q.see(API, "packet filter", "", filtered(rules), NotApplicable)
	}
	return q.result(Kernel, "other sockets and the packet filter are evidence only: see --evidence")
}

// neighbours are ports that brokers are known by, which deserve a word.
var neighbours = map[uint16]string{1883: "MQTT in plain text", 8083: "MQTT over WebSocket in plain text", 4369: "EPMD", 18083: "a dashboard"}

// othersMax bounds how many are named.
const othersMax = 20

// othersOpen lists what listens off loopback and is not the broker's.
func (e *Env) othersOpen(pid int, own []socket) ([]string, error) {
	found, err := e.tcpListeners(pid)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range found {
		s := &found[i]
		mine := slices.ContainsFunc(own, func(o socket) bool { return o.network == "tcp" && o.inode == s.inode })
		if mine || s.addr.Addr().IsLoopback() {
			continue
		}
		name := s.addr.String()
		if what := neighbours[s.addr.Port()]; what != "" {
			name += " (by its port " + what + ")"
		}
		out = append(out, name)
	}
	slices.Sort(out)
	if len(out) > othersMax {
		out = append(out[:othersMax], fmt.Sprintf("and %d more", len(out)-othersMax))
	}
	return out, nil
}

// filtered is a ruleset in a few words.
func filtered(text []byte) string {
	var rules struct {
		Nftables []struct {
			Chain *struct {
				Family, Table, Name, Hook, Policy string
			}
		}
	}
	if err := json.Unmarshal(text, &rules); err != nil {
		return "not understood"
	}
	var chains []string
	for _, r := range rules.Nftables {
		if c := r.Chain; c != nil && c.Hook == "input" {
			chains = append(chains, shortened(fmt.Sprintf("%s %s %s: policy %s", c.Family, c.Table, c.Name, c.Policy)))
		}
	}
	if len(chains) == 0 {
		return "nothing filters what comes in (nft)"
	}
	return "what comes in passes " + strings.Join(chains, "; ") + " (nft; evidence, not proof)"
}
