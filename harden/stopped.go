package harden

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// StoppedListener is one that an operator has stopped while the broker runs.
type StoppedListener struct {
	Name  string
	Since time.Time
	By    string
}

// DrainingSocket is a UDP socket at which nobody can connect any more, and which lives for
// the connections of QUIC that came in there.
type DrainingSocket struct{ Name, Address string }

// recogniseDraining finds the listener a UDP socket was of.
func (s *socket) recogniseDraining(b *BrokerReport) {
	for _, d := range b.Draining {
		if a, err := netip.ParseAddrPort(d.Address); err == nil && sameAddr(a, s.addr) {
			s.name, s.key, s.draining = d.Name, "listeners."+d.Name, true
			return
		}
	}
}

// stopped says of listeners that are stopped why rows about what clients meet do not judge
// them: the kernel lists no socket of theirs, so that nothing was seen, and nobody can meet
// it. They are judged again when they are started.
func (e *Env) stopped(ctx context.Context, c *Check) (out []Result) {
	if c.Demands != Behavioural || !strings.HasPrefix(c.ID, "P3.") && !strings.HasPrefix(c.ID, "P4.") {
		return nil
	}
	b, err := e.broker(ctx)
	if err != nil {
		return nil // the row has said so
	}
	all, err := e.listening(ctx)
	if err != nil {
		return nil
	}
	for _, l := range b.Stopped {
		q := e.inquire("listener:" + l.Name)
		q.key = "listeners." + l.Name
		since := fmt.Sprintf("stopped since %s by %s", l.Since.UTC().Format(time.RFC3339), l.By)
		for i := range all {
			if s := &all[i]; s.key == q.key && !s.draining { // whatever the broker says, somebody can connect
				q.see(ReadKernel, "listening socket "+s.String(), "none: the broker says that it is "+since, "the kernel lists it", Fail)
			}
		}
		if len(q.obs) > 0 {
			out = append(out, q.result(Behavioural, ""))
			continue
		}
		q.see(ReadKernel, "listening sockets of the listener", "", "none: it is "+since, NotApplicable)
		r := q.result(Behavioural, "")
		r.State, r.Summary = NotApplicable, "not judged: the listener is "+since+", and nobody can connect there"
		out = append(out, r)
	}
	return out
}
