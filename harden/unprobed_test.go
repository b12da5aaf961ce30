package harden

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// A listener that no probe speaks to is unknown in every row it is a matter of, and is
// nobody's socket in none.
func TestEntrancesWithoutAProbeAreUnknown(t *testing.T) {
	b := &BrokerReport{Listeners: []ListenerReport{
		{Name: "udp", Address: "127.0.0.1:14567", Protocol: "quic"}, {Name: "local", Address: "/run/redoubt/mqtt.sock", Protocol: "unix"},
		{Name: "mqtts", Address: "127.0.0.1:14567", Protocol: "mqtts"},
	}}
	all := []socket{
		{network: "udp", addr: netip.MustParseAddrPort("127.0.0.1:14567")}, {network: "unix", path: "/run/redoubt/mqtt.sock"},
		{network: "udp", addr: netip.MustParseAddrPort("127.0.0.1:5353")}, {network: "unix", path: "/run/other.sock"},
	}
	e := &Env{Clock: clock.System{}, Config: &config.Config{}}
	for i := range all {
		e.recognise(&all[i], b)
	}
	if all[0].name != "udp" || all[1].name != "local" || all[2].name != "" || all[3].name != "" {
		t.Errorf("%+v", all)
	}
	e.seen.sockets = &sockets{list: all}
	for id, want := range map[string]string{"P3.1": "udp", "P4.1": "udp local", "P2.2": ""} {
		var names []string
		for _, c := range Checks {
			if c.ID != id {
				continue
			}
			for _, res := range e.unprobed(t.Context(), c) {
				if res.State != Unknown || res.Key == "" {
					t.Errorf("%s: %+v", id, res)
				}
				name, _, _ := strings.Cut(strings.TrimPrefix(res.Scope, "listener:"), "@")
				names = append(names, name)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: unknown are %q, want %q", id, got, want)
		}
	}
}
