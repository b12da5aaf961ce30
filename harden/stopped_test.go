package harden

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// A listener that was stopped is not judged in the rows about what clients meet, with the
// reason; a socket of QUIC that only carries who came before is its own, and not probed; and
// who says that it is stopped while the kernel lists its socket is not believed.
func TestAStoppedListenerIsNotFine(t *testing.T) {
	b := &BrokerReport{
		Listeners: []ListenerReport{{Name: "mqtts", Address: "127.0.0.1:8883", Protocol: "mqtts"}, {Name: "liar", Address: "127.0.0.1:8884", Protocol: "mqtts"}},
		Stopped:   []StoppedListener{{"udp", time.Unix(1_800_000_000, 0), "uid 7"}, {"liar", time.Unix(1_800_000_000, 0), "uid 7"}},
		Draining:  []DrainingSocket{{"udp", "127.0.0.1:14567"}},
	}
	all := []socket{
		{network: "tcp", addr: netip.MustParseAddrPort("127.0.0.1:8883")}, {network: "tcp", addr: netip.MustParseAddrPort("127.0.0.1:8884")},
		{network: "udp", addr: netip.MustParseAddrPort("127.0.0.1:14567")}, {network: "udp", addr: netip.MustParseAddrPort("127.0.0.1:14568")},
	}
	e := &Env{Clock: clock.System{}, Config: &config.Config{}, Broker: struct{ Broker }{}}
	for i := range all {
		e.recognise(&all[i], b)
	}
	if all[2].name != "udp" || !all[2].draining || all[2].key != "listeners.udp" || all[3].name != "" {
		t.Errorf("%+v", all[2:])
	}
	e.seen.sockets, e.seen.report = &sockets{list: all}, b
	judged := 0
	for _, c := range Checks {
		out := e.stopped(t.Context(), c)
		if c.Demands != Behavioural || !strings.HasPrefix(c.ID, "P3.") && !strings.HasPrefix(c.ID, "P4.") {
			if len(out) != 0 {
				t.Errorf("%s: %+v", c.ID, out)
			}
			continue
		}
		judged++
		if len(out) != 2 || out[0].State != NotApplicable || out[0].Scope != "listener:udp" || !strings.Contains(out[0].Summary, "stopped since 2027-01-15T08:00:00Z by uid 7") ||
			out[1].State != Fail || out[1].Scope != "listener:liar" {
			t.Errorf("%s: %+v", c.ID, out)
		}
		if un := e.unprobed(t.Context(), c); len(un) != 0 {
			t.Errorf("%s: a socket that takes nobody is probed: %+v", c.ID, un)
		}
	}
	if judged < 6 {
		t.Errorf("%d rows", judged)
	}
}
