package harden

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// outsideAhead is how far the clock of the other host may be before ours.
const outsideAhead = 5 * time.Minute

// beheld is a report from outside that was found to be about this broker, and of now.
type beheld struct {
	*Outside
	keys map[string]bool // public keys that the broker shows
	when string
}

// fromOutside judges the report of another host, if there is one: whether it counts, and every port that
// answered there. What counts is a report of the last day in which a port showed a
// certificate that the broker shows here: that is its positive control, since a port that is closed on
// the wrong host is closed, too.
func (e *Env) fromOutside(ctx context.Context, all []socket) (*beheld, []Result) {
	o := e.Outside
	if o == nil {
		return nil, nil
	}
	q := e.inquire("outside:" + o.Target)
	source := "a report of redoubt doctor --from outside of " + o.Started.UTC().Format("2006-01-02 15:04 UTC")
	doubted := func(what, want, actual string) (*beheld, []Result) {
		q.see(Probe, what, want, actual, Unknown)
		q.source(source)
		// Without its name, which comes from elsewhere: this is pasted into a shell.
		q.fixes = append(q.fixes, "redoubt doctor --from outside --target HOST -o json, again, on a host of the clients' network")
		return nil, []Result{q.result("", "")}
	}
	now := e.Clock.Now()
	if age := now.Sub(o.Started); age > evidenceFor || age < -outsideAhead {
		return doubted("when somebody looked from outside", "within the last "+evidenceFor.String(), o.Started.UTC().Format("2006-01-02 15:04 UTC")+": it proves nothing about now")
	}
	b := &beheld{Outside: o, keys: map[string]bool{}, when: "from outside at " + o.Started.UTC().Format("15:04 UTC")}
	meant := map[uint16]bool{}
	for i := range all {
		s := &all[i]
		if !s.encrypted() || s.name == "" {
			continue
		}
		meant[s.addr.Port()] = true
		for _, a := range e.spots(s) {
			if e.unheard(s, a) || e.notServed(ctx, s, a) {
				continue
			}
			for _, p := range e.shownAt(ctx, s, a).all {
				b.keys[spkiOf(p)] = true
			}
		}
	}
	for _, x := range e.adverts() {
		meant[x.Port] = true
	}
	ours := slices.IndexFunc(o.Ports, func(p OutsidePort) bool { return p.State == portOpen && b.keys[p.SPKI] })
	if ours < 0 {
		return doubted("a port that shows a certificate of this broker (positive control)", "at least one", "none: it may be another host, or TLS ends in front of the broker, so that what is closed there proves nothing")
	}
	q.see(Probe, "a port that shows a certificate of this broker (positive control)", "at least one", o.Ports[ours].at(), Pass)
	q.source(source)
	untried := 0
	for i := range o.Ports {
		p := &o.Ports[i]
		if p.State == portUntried {
			untried++
		}
		if p.State != portOpen {
			continue
		}
		state, what := p.judge(meant)
		q.see(Probe, "what answers at "+p.at()+" from outside", "TLS of a listener for clients, or nothing", what, state)
		q.source(source)
	}
	if untried > 0 {
		q.see(Probe, "ports of "+o.Target, "all that were meant to be are tried", fmt.Sprintf("%d were not: its time ran out", untried), Unknown)
		q.source(source)
	}
	if slices.ContainsFunc(q.obs, func(x Observation) bool { return x.State == Fail || x.State == Warn }) {
		q.fixes = append(q.fixes, "let a packet filter keep clients from all ports but those of listeners with TLS: redoubt fix P1.4 --firewall")
	}
	return b, []Result{q.result(External, fmt.Sprintf("%d ports tried from outside; only TLS of listeners answers", len(o.Ports)))}
}

func (p *OutsidePort) at() string {
	return p.Network + ":" + netip.AddrPortFrom(p.Address, p.Port).String()
}

// tried are the answers at a port, at each address of the host; nil: none was tried, or not everywhere.
func (b *beheld) tried(port uint16, network string) (found []*OutsidePort) {
	if b == nil {
		return nil
	}
	for i := range b.Ports {
		p := &b.Ports[i]
		if p.Port != port || p.Network != network {
			continue
		}
		if p.State == portUntried {
			return nil
		}
		found = append(found, p)
	}
	return found
}

// passedOn adds to a listener in plain text on loopback what somebody outside saw of it: whether
// something passes it on. It answers false where nobody has tried its port.
func (b *beheld) passedOn(q *inquiry, s *socket) bool {
	const what, want = "whether something passes it on to others: a proxy, a published port", "nothing in plain text answers outside"
	found := b.tried(s.addr.Port(), s.network)
	if len(found) == 0 {
		return false
	}
	for i := range b.Ports {
		if p := &b.Ports[i]; p.State == portOpen && p.plain() {
			q.see(Probe, what, want, p.at()+" answers in plain text, seen "+b.when, Fail)
			return true
		}
	}
	q.see(Probe, what, want, fmt.Sprintf("none of %d ports that were tried does, its own among them, seen %s", len(b.Ports), b.when), Pass)
	return true
}

// shows adds to a listener with TLS how it was met outside. It answers whether it was.
func (b *beheld) shows(q *inquiry, s *socket) bool {
	for _, p := range b.tried(s.addr.Port(), s.network) {
		if p.State == portOpen && b.keys[p.SPKI] && !p.plain() {
			q.see(Probe, "port "+strconv.Itoa(int(p.Port))+" from outside", "TLS and nothing else", "TLS, with a certificate of the broker, seen "+b.when, Pass)
			return true
		}
	}
	return false
}
