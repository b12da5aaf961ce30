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

// unprobed are the entrances for clients that no probe speaks to yet. What holds at the
// others is likely to hold there, and was not seen: unknown.
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
		if s.network == "tcp" || s.draining || !strings.HasPrefix(s.key, "listeners.") || onTLS && s.network == "unix" {
			continue
		}
		what := "QUIC"
		if s.network == "unix" {
			what = "a unix socket"
		}
		q := e.inquire("listener:" + s.name + "@" + s.String())
		q.key = s.key
		q.see(Probe, what, "a probe", "there is none for it", Unknown)
		out = append(out, q.result(Behavioural, "not probed: the probes of this row speak TCP, and this listener is "+what))
	}
	return out
}
