package harden

import (
	"context"
	"strings"

	"github.com/redoubtmq/redoubt/config"
)

// recogniseFile finds the listener whose socket is a file.
func (s *socket) recogniseFile(b *BrokerReport) {
	for _, l := range b.Listeners {
		if l.Protocol == config.ProtocolUnix && l.Address == s.path {
			s.name, s.key, s.protocol = l.Name, "listeners."+l.Name, l.Protocol
			return
		}
	}
}

// unprobed are the sockets of listeners at which a row has no probe: those that hear proxies
// only, and in phase 3 those without TLS of their own.
func (e *Env) unprobed(ctx context.Context, c *Check) (out []Result) {
	onTLS, onMQTT := strings.HasPrefix(c.ID, "P3."), strings.HasPrefix(c.ID, "P4.")
	if c.Demands != Behavioural || !onTLS && !onMQTT {
		return nil
	}
	all, err := e.listening(ctx)
	if err != nil {
		return nil // the row has said so
	}
	for i := range all {
		s := &all[i]
		switch {
		case s.draining || !strings.HasPrefix(s.key, "listeners."):
			continue
		case onTLS && s.network == networkUnix:
			q := e.inquire("listener:" + s.name + "@" + s.String())
			q.key = s.key
			q.see(ReadKernel, "TLS", "", "none is spoken on a unix socket: what is said there does not leave the host", NotApplicable)
			out = append(out, q.result(Behavioural, "no TLS on a unix socket: what is said there does not leave the host"))
			continue
		case onTLS && e.behind(s) && !s.speaksTLS():
			out = append(out, e.endsBefore(c, s))
			continue
		}
		for _, a := range e.spots(s) {
			if e.unheard(s, a) && !e.notServed(ctx, s, a) {
				out = append(out, e.notHeard(ctx, s, a))
			}
		}
	}
	return out
}
