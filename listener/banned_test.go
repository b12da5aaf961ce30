package listener

import (
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// A banned address is refused before anything is counted against anybody.
func TestBannedAtTheDoor(t *testing.T) {
	m := metrics.New()
	d, err := NewDoor(DoorLimits{ConnectionsTotal: 1, UnauthenticatedTotal: 1, HandshakesTotal: 1, RatePerPrefix: map[string]int{"/24": 1}}, m.NewShard())
	if err != nil {
		t.Fatal(err)
	}
	bad, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1_700_000_000, 0)
	d.Bar(func(at time.Time, a netip.Addr) bool { return at.Equal(now) && a == bad })
	for range 3 {
		if _, why := d.Admit(now, bad, true); why != Banned {
			t.Errorf("refused with %q", why)
		}
	}
	if _, why := d.Admit(now, netip.MustParseAddr("192.0.2.2"), true); why != "" {
		t.Errorf("somebody else of the network: %q", why)
	}
	if n := m.Value(metrics.ConnectionsRefusedBanned); n != 3 {
		t.Errorf("%d are counted", n)
	}
	if Banned.Key("x") != "" || OverPrefix.Key("x") != "limits.connections_per_prefix" {
		t.Error("the log names a setting that is not")
	}
}
