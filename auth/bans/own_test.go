package bans

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var own = []Own{
	OwnAddress(netip.MustParseAddr("192.0.2.5")), OwnAddress(netip.MustParseAddr("::ffff:192.0.2.6")), OwnAddress(netip.MustParseAddr("fe80::1%eth0")),
	OwnProxies("behind", netip.MustParsePrefix("10.1.0.0/24")),
}

// An address of this machine or of a proxy is banned on purpose only.
func TestReachesOwnAddresses(t *testing.T) {
	for _, c := range []struct {
		as   As
		who  string
		want string
	}{
		{Peerhost, "192.0.2.5", "it is this machine's own address 192.0.2.5"},
		{Peerhost, "::ffff:192.0.2.5", "it is this machine's own address 192.0.2.5"},
		{Peerhost, "192.0.2.6", "it is this machine's own address 192.0.2.6"},
		{Peerhost, "fe80::1", "it is this machine's own address fe80::1"},
		{PeerhostNet, "192.0.2.0/24", "it holds this machine's own address 192.0.2.5"},
		{Peerhost, "10.1.0.9", "it is an address of 10.1.0.0/24, from where proxies bring the clients of listener behind"},
		{PeerhostNet, "10.1.0.128/25", "it holds an address of 10.1.0.0/24"},
		{PeerhostNet, "10.0.0.0/8", "it holds an address of 10.1.0.0/24"},
		{Peerhost, "192.0.2.7", ""}, {Peerhost, "10.1.1.0", ""}, {PeerhostNet, "10.2.0.0/16", ""}, {PeerhostNet, "2001:db8::/32", ""},
		{ClientID, "192.0.2.5", ""}, {UsernameRe, "^192.0.2.5$", ""},
	} {
		b := &Ban{As: c.as, Who: c.who}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		if got := b.Reaches(own); got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%v %s: %q, want %q", c.as, c.who, got, c.want)
		}
	}
}

// So is one in a file that is imported; its line is named.
func TestFileReachesOwnAddresses(t *testing.T) {
	file := []byte("as,who\npeerhost,192.0.2.9\npeerhost_net,192.0.2.0/29\n")
	_, _, err := Read("x.csv", file, time.Unix(0, 0), "me", false, own...)
	if err == nil || !strings.Contains(err.Error(), "x.csv:3: peerhost_net") || !strings.Contains(err.Error(), "own address 192.0.2.5") {
		t.Errorf("%v", err)
	}
	if list, _, err := Read("x.csv", file, time.Unix(0, 0), "me", true, own...); err != nil || len(list) != 2 {
		t.Errorf("by force: %d, %v", len(list), err)
	}
}
