package limit

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(t *testing.T, caps map[string]int) *Prefixes {
	t.Helper()
	p, err := NewPrefixes(caps)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPrefixesCapEachWidth(t *testing.T) {
	p := prefixes(t, map[string]int{"/32": 2, "/24": 3, "/64": 2, "/56": 3})
	for _, c := range []struct {
		addr string
		full string // "" : admitted
	}{
		{"192.0.2.1", ""}, {"192.0.2.1", ""}, {"192.0.2.1", "192.0.2.1/32"},
		{"192.0.2.2", ""}, {"192.0.2.3", "192.0.2.0/24"},
		{"::ffff:192.0.2.9", "192.0.2.0/24"}, // a dual-stack socket is no second allowance
		{"192.0.3.1", ""},
		{"2001:db8::1", ""}, {"2001:db8::2", ""}, {"2001:db8::3", "2001:db8::/64"},
		{"2001:db8:0:1::1", ""}, {"2001:db8:0:2::1", "2001:db8::/56"},
		{"2001:db8:0:100::1", ""},
		{"fe80::1%eth0", ""}, {"fe80::1%eth1", ""}, {"fe80::1%eth2", "fe80::/64"}, // zones are not addresses
	} {
		full, ok := p.Acquire(addr(c.addr))
		if ok != (c.full == "") || (!ok && full.String() != c.full) {
			t.Errorf("%s: %v %v, want %q", c.addr, ok, full, c.full)
		}
	}
	p.Release(addr("::ffff:192.0.2.1"))
	if _, ok := p.Acquire(addr("192.0.2.3")); !ok {
		t.Error("a released place is not free")
	}
	if _, ok := p.Acquire(netip.Addr{}); !ok {
		t.Error("a unix socket was counted")
	}
	p.Release(netip.Addr{})
}

// What leaves is forgotten: a table of addresses must not grow with the Internet.
func TestPrefixesForget(t *testing.T) {
	p := prefixes(t, map[string]int{"/32": 9, "/24": 9, "/64": 9, "/56": 9})
	for i := range 2000 {
		a := addr(fmt.Sprintf("10.%d.%d.1", i/250, i%250))
		b := addr(fmt.Sprintf("2001:db8:%x::1", i))
		p.Acquire(a)
		p.Acquire(b)
		p.Release(a)
		p.Release(b)
	}
	if n := p.Tracked(); n != 0 {
		t.Errorf("%d entries are left of sockets that are gone", n)
	}
	defer func() {
		if r := recover(); r == nil || !strings.HasPrefix(r.(string), "BUG: ") {
			t.Errorf("a second release: %v", r)
		}
	}()
	p.Release(addr("10.0.0.1"))
}

func TestPrefixesAreCountedAnewForOtherWidths(t *testing.T) {
	p := prefixes(t, map[string]int{"/24": 10})
	for _, a := range []string{"10.0.0.1", "10.0.1.1", "10.0.1.1"} {
		p.Acquire(addr(a))
	}
	if err := p.SetCaps(map[string]int{"/16": 4}); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Acquire(addr("10.0.2.1")); !ok {
		t.Error("the fourth of four was refused")
	}
	if full, ok := p.Acquire(addr("10.0.3.1")); ok || full.String() != "10.0.0.0/16" {
		t.Error("sockets that exist were not counted for the new width")
	}
	if err := p.SetCaps(map[string]int{"/16": 0}); err == nil {
		t.Error("a cap of 0 was taken")
	}
	for _, a := range []string{"10.0.0.1", "10.0.1.1", "10.0.1.1", "10.0.2.1"} {
		p.Release(addr(a))
	}
	if p.Tracked() != 0 || p.InUse(addr("10.0.0.1")) != 0 {
		t.Error("something is left")
	}
}

func TestPrefixLengthsThatAreNone(t *testing.T) {
	for _, key := range []string{"", "24", "/", "/0", "/129", "/-1", "/+24", "/024", "/a", "/24 "} {
		if _, err := NewPrefixes(map[string]int{key: 1}); err == nil || !strings.Contains(err.Error(), "/1 to /32 for IPv4") {
			t.Errorf("%q: %v", key, err)
		}
		if _, err := NewConnects(map[string]int{key: 1}); err == nil {
			t.Errorf("%q was taken as a rate", key)
		}
	}
}

// The accept loops of several listeners share one table.
func TestPrefixesUnderConcurrency(t *testing.T) {
	p := prefixes(t, map[string]int{"/24": 50})
	total := NewTotal(40)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			a := addr(fmt.Sprintf("10.0.0.%d", i))
			for range 2000 {
				if !total.Acquire() {
					continue
				}
				if _, ok := p.Acquire(a); ok {
					p.Release(a)
				} else {
					t.Error("refused below the cap")
				}
				total.Release()
			}
		}()
	}
	wg.Wait()
	if p.Tracked() != 0 || total.InUse() != 0 {
		t.Errorf("%d entries and %d places are left", p.Tracked(), total.InUse())
	}
}

func TestTotal(t *testing.T) {
	n := NewTotal(2)
	if !n.Acquire() || !n.Acquire() || n.Acquire() {
		t.Error("the cap of 2 is not 2")
	}
	n.SetMax(1)
	n.Release()
	if n.Acquire() {
		t.Error("a lower cap admits while it is reached")
	}
	n.Release()
	if !n.Acquire() || n.InUse() != 1 || n.Max() != 1 {
		t.Error("a lower cap never admits again")
	}
	n.Release()
	if NewTotal(0).Acquire() || (&Total{}).Acquire() {
		t.Error("a cap of nothing admits")
	}
	defer func() {
		if recover() == nil {
			t.Error("a release too many went unnoticed")
		}
	}()
	n.Release()
}
