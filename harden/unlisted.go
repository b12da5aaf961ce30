package harden

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/config"
)

// unlisted are the listeners that the broker says it has and the kernel lists no socket of: what is
// not in the list is not judged, and nobody may take the rest for all.
func (e *Env) unlisted(ctx context.Context, c *Check) (out []Result) {
	onTLS := strings.HasPrefix(c.ID, "P3.")
	if c.ID != "P1.3a" && c.ID != "P1.4" && (c.Demands != Behavioural || !onTLS && !strings.HasPrefix(c.ID, "P4.")) {
		return nil
	}
	all, err := e.listening(ctx)
	if err != nil {
		return nil // the row has said so
	}
	b, err := e.broker(ctx)
	if err != nil {
		return nil
	}
	for _, l := range b.Listeners {
		plain := l.Protocol == config.ProtocolMQTT || l.Protocol == config.ProtocolWS || l.Protocol == config.ProtocolUnix
		if onTLS && plain || slices.ContainsFunc(all, func(s socket) bool { return l.is(&s) }) {
			continue
		}
		q := e.inquire(fmt.Sprintf("listener:%s@%s", l.Name, l.Address))
		q.key = "listeners." + l.Name
		q.see(ReadKernel, "socket of a listener that the broker has", "among those of the process", "the kernel does not list it, so that nothing there was judged", Unknown)
		out = append(out, q.result(Kernel, ""))
	}
	return out
}

// is tells whether that socket is the listener's.
func (l *ListenerReport) is(s *socket) bool {
	switch l.Protocol {
	case config.ProtocolUnix:
		return s.network == networkUnix && s.path == l.Address
	case config.ProtocolQUIC:
		if s.network != networkUDP {
			return false
		}
	default:
		if s.network != "tcp" {
			return false
		}
	}
	a, err := netip.ParseAddrPort(l.Address)
	return err == nil && sameAddr(a, s.addr)
}
