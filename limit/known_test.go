package limit

import (
	"net/netip"
	"testing"
	"time"
)

func TestKnown(t *testing.T) {
	k := NewKnown()
	now := time.Unix(1_800_000_000, 0)
	phone, home := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8:1:2::7")
	for _, a := range []netip.Addr{phone, home} {
		if k.Has(now, a) {
			t.Errorf("%v is known before it was ever there", a)
		}
		for range 2 {
			if !k.Enter(now, a) {
				t.Fatal("not entered")
			}
		}
	}
	now = now.Add(24 * time.Hour)
	for a, want := range map[string]bool{
		"198.51.100.7": true, "::ffff:198.51.100.7": true, "2001:db8:1:2::99": true, "2001:db8:1:2:ffff:ffff:ffff:ffff": true,
		"198.51.100.8": false, "2001:db8:1:3::7": false, "0:ffff:c633:6407::1": true, // the last is reserved: nobody comes from there
	} {
		if k.Has(now, netip.MustParseAddr(a)) != want {
			t.Errorf("%s: known %v", a, !want)
		}
	}
	if k.Has(now, netip.Addr{}) || k.Enter(now, netip.Addr{}) {
		t.Error("a unix socket has an address")
	}
	k.Gone(now, phone)
	if now = now.Add(time.Hour); !k.Has(now, phone) {
		t.Error("one of two is still there")
	}
	k.Gone(now, phone)
	if !k.Has(now.Add(KnownFor), phone) || k.Has(now.Add(KnownFor+time.Second), phone) {
		t.Error("not known for as long as it should be")
	}
	k.Sweep(now.Add(KnownFor+time.Second), 100)
	if n := k.Tracked(); n != 1 {
		t.Errorf("%d are remembered, want the one that is there", n)
	}
}

// A full table forgets those who have gone, never those who are there; and who
// finds no room is only not remembered.
func TestKnownIsBounded(t *testing.T) {
	k := NewKnown()
	k.max = 100
	now := time.Unix(1_800_000_000, 0)
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for i := range 60 {
		k.Enter(now, at(i))
	}
	for i := range 1000 {
		a := at(1000 + i)
		if k.Enter(now.Add(time.Duration(i)*time.Second), a) {
			k.Gone(now.Add(time.Duration(i)*time.Second), a)
		}
		if n := k.Tracked(); n > 100 {
			t.Fatalf("%d are remembered", n)
		}
	}
	for i := range 60 {
		if !k.Has(now, at(i)) {
			t.Fatal("one that is there was forgotten")
		}
	}
	k.Sweep(now.Add(time.Hour), 1000) // those who have gone
	for i := range 40 {
		if !k.Enter(now, at(200+i)) {
			t.Fatalf("no room for %d", i)
		}
	}
	if k.Enter(now, at(9999)) || k.Has(now, at(9999)) {
		t.Error("entered where no room is")
	}
}
