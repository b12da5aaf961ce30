package harden

import (
	"net/netip"
	"testing"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// Sockets of listeners are known for what they are, and no others.
func TestSocketsOfEveryKindAreRecognised(t *testing.T) {
	b := &BrokerReport{Listeners: []ListenerReport{
		{Name: "udp", Address: "127.0.0.1:14567", Protocol: "quic"}, {Name: "local", Address: "/run/redoubt/mqtt.sock", Protocol: "unix"},
		{Name: "mqtts", Address: "127.0.0.1:14567", Protocol: "mqtts"},
	}}
	all := []socket{
		{network: "udp", addr: netip.MustParseAddrPort("127.0.0.1:14567")}, {network: "unix", path: "/run/redoubt/mqtt.sock"},
		{network: "udp", addr: netip.MustParseAddrPort("127.0.0.1:5353")}, {network: "unix", path: "/run/other.sock"},
		{network: "tcp", addr: netip.MustParseAddrPort("127.0.0.1:14567")},
	}
	e := &Env{Clock: clock.System{}, Config: &config.Config{}}
	for i := range all {
		e.recognise(&all[i], b)
	}
	if all[0].name != "udp" || !all[0].isQUIC() || all[1].name != "local" || all[2].name != "" || all[3].name != "" || all[4].name != "mqtts" || all[4].isQUIC() {
		t.Errorf("%+v", all)
	}
}
