package harden

import (
	"context"
	"fmt"
)

// tlsVersions is row P3.1: every socket that speaks TLS, whatever it is for,
// refuses what RFC 8996 retired.
func tlsVersions(ctx context.Context, e *Env) []Result {
	out := e.eachSocket(ctx, e.judgeVersions)
	if len(out) == 0 {
		return []Result{{Scope: "node", State: NotApplicable, Summary: "no socket of the broker speaks TLS", Confidence: Behavioural}}
	}
	return out
}

// retired are the hellos that must be refused. Each differs from an accepted one
// in its version only.
var retired = []struct {
	what  string
	hello hello
}{
	{"SSL 3.0", hello{legacy: ssl30}},
	{"TLS 1.0", hello{legacy: tls10}},
	{"TLS 1.1", hello{legacy: tls11}},
	{"TLS 1.1, 1.0 in supported_versions", hello{legacy: tls12, supported: []uint16{tls11, tls10}}},
}

// judgeVersions offers every version at one address. judged is false where
// nobody meant TLS and none is spoken.
func (e *Env) judgeVersions(ctx context.Context, s *socket, a spot) (r Result, judged bool) {
	meant := s.speaksTLS()
	q := e.at(s.scope(a), a)
	q.key = s.key
	if a.network == networkUDP {
		q.quicVersions(ctx, s, a)
		return q.result(Behavioural, "accepts TLS 1.3 only"), true
	}
	modern, err := e.greet(ctx, a, hello{legacy: tls12, supported: []uint16{tls13}, name: s.serverName()}, meant)
	if err != nil {
		if e.notServed(ctx, s, a) {
			return r, false // the socket does not serve this family
		}
		q.see(Probe, "connection", "accepted", err.Error(), Unknown)
		return q.result("", ""), meant
	}
	older, err := e.greet(ctx, a, hello{legacy: tls12, name: s.serverName()}, meant)
	if err != nil {
		older = greeting{other: err.Error()}
	}
	if !meant && modern.accepted == 0 && older.accepted == 0 && !modern.alerted && !older.alerted {
		return r, false
	}
	control := modern.accepted == tls13 || older.accepted == tls12
	q.see(Probe, "hello with TLS 1.3 (positive control)", "ServerHello for TLS 1.3", modern.String(), passIf(modern.accepted == tls13, Unknown))
	// A listener with tls.profile modern refuses 1.2 too, which is more than asked.
	q.see(Probe, "hello with TLS 1.2 (positive control)", "ServerHello for TLS 1.2, or alert protocol_version where the profile is modern", older.String(),
		passIf(older.accepted == tls12 || older.alerted && older.alert == alertProtocolVersion && modern.accepted == tls13, Unknown))
	mark := len(q.obs)
	served := e.shownAt(ctx, s, a)
	for _, name := range served.names {
		for _, old := range retired {
			h := old.hello
			if h.name = name; h.legacy == ssl30 && name != "" {
				continue // it has no extension to name a host in
			}
			q.versionRefused(ctx, a, old.what, h, older.accepted == tls12)
		}
	}
	if served.untried > 0 {
		q.see(Probe, "names of its certificates", fmt.Sprintf("each is asked for, up to %d", namesMax), fmt.Sprintf("%d more were not", served.untried), Unknown)
	}
	if !control {
		q.doubt(mark)
	}
	return q.result(Behavioural, "accepts TLS 1.2 or 1.3 only"), true
}

// versionRefused offers one retired version. An alert that names the version
// proves why it was refused; another one does so where the same hello with TLS 1.2
// was accepted.
func (q *inquiry) versionRefused(ctx context.Context, a spot, what string, h hello, control12 bool) {
	g, err := q.e.greet(ctx, a, h, true)
	if err != nil {
		g.other = err.Error()
	}
	s := Unknown
	switch {
	case g.accepted != 0:
		s = Fail
		q.fixes = []string{"find out what answers there: this broker cannot be configured to accept it"}
	case g.alerted && (g.alert == alertProtocolVersion || control12):
		s = Pass
	}
	q.see(Probe, fmt.Sprintf("hello with %s %s", what, asked(h.name)), "alert protocol_version (70)", g.String(), s)
}

func passIf(ok bool, otherwise State) State {
	if ok {
		return Pass
	}
	return otherwise
}
