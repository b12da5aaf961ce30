package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/config"
)

// What is banned by force only are the addresses of the machine and the proxies of every
// listener.
func TestOwnAddressesOfANode(t *testing.T) {
	c := &config.Config{Listeners: map[string]config.Listener{
		"open": {}, "behind": {ProxySources: []string{"10.1.0.0/24", "2001:db8::/64"}}, "after": {ProxySources: []string{"10.2.0.1/32"}},
	}}
	own := ownAddresses(c, []netip.Addr{netip.MustParseAddr("192.0.2.5")})
	if len(own) != 4 {
		t.Fatalf("%v", own)
	}
	for who, want := range map[string]string{
		"192.0.2.5": "it is this machine's own address 192.0.2.5", "192.0.2.6": "",
		"10.2.0.1":     "it is an address of 10.2.0.1/32, from where proxies bring the clients of listener after (proxy_sources)",
		"2001:db8::17": "it is an address of 2001:db8::/64, from where proxies bring the clients of listener behind (proxy_sources)",
	} {
		b := &bans.Ban{As: bans.Peerhost, Who: who}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		if got := b.Reaches(own); got != want {
			t.Errorf("%s: %q, want %q", who, got, want)
		}
	}
}

// status counts bans by who made them, and says nothing where there are none.
func TestStatusCountsBans(t *testing.T) {
	b, err := bans.Open(noKeeper{})
	if err != nil || banCounts(b) != nil {
		t.Errorf("without bans: %+v, %v", banCounts(b), err)
	}
	if text := statusText(t, &admin.StatusReport{}); strings.Contains(text, "bans") {
		t.Errorf("without bans:\n%s", text)
	}
	b = someBans(t)
	b.SetFile([]*bans.Ban{{As: bans.Username, Who: "x"}, {As: bans.Username, Who: "y"}})
	if text := statusText(t, &admin.StatusReport{EntranceStatus: admin.EntranceStatus{Bans: banCounts(b)}}); !strings.Contains(text, "\nbans               4 by operators, 2 from the file, 1 for flapping\n") {
		t.Errorf("with bans:\n%s", text)
	}
}
