package listener

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func accessOf(t testing.TB, rules ...string) *Access {
	t.Helper()
	var list []AccessRule
	for _, text := range rules {
		verb, what, _ := strings.Cut(text, " ")
		r := AccessRule{Allow: verb == "allow", Text: text}
		switch {
		case what == "all":
		case strings.Contains(what, "/"):
			r.Network = netip.MustParsePrefix(what)
		default:
			a := netip.MustParseAddr(what)
			r.Network = netip.PrefixFrom(a, a.BitLen())
		}
		list = append(list, r)
	}
	return NewAccess(list)
}

// The first rule that matches decides, whatever its length.
func TestTheFirstAccessRuleDecides(t *testing.T) {
	for _, row := range []struct {
		rules []string
		from  string
		ok    bool
		by    string
	}{
		{nil, "203.0.113.9", true, ""},
		{[]string{"allow 10.0.0.0/8", "deny all"}, "10.1.2.3", true, "allow 10.0.0.0/8"},
		{[]string{"allow 10.0.0.0/8", "deny all"}, "11.1.2.3", false, "deny all"},
		{[]string{"allow 10.0.0.0/8", "deny all"}, "fd00::1", false, "deny all"},
		{[]string{"allow 10.0.0.0/8", "deny all"}, "::ffff:10.1.2.3", true, "allow 10.0.0.0/8"},
		{[]string{"deny 10.0.0.0/8"}, "::ffff:10.1.2.3", false, "deny 10.0.0.0/8"},
		{[]string{"deny 10.0.0.0/8"}, "11.1.2.3", true, NoAccessRule},
		{[]string{"allow 10.0.0.0/8"}, "11.1.2.3", false, NoAccessRule},
		{[]string{"deny 10.0.0.0/8", "allow 10.1.0.0/16"}, "10.1.2.3", false, "deny 10.0.0.0/8"},
		{[]string{"allow 10.1.0.0/16", "deny 10.0.0.0/8"}, "10.1.2.3", true, "allow 10.1.0.0/16"},
		{[]string{"allow 10.1.0.0/16", "deny 10.0.0.0/8", "allow all"}, "10.2.2.3", false, "deny 10.0.0.0/8"},
		{[]string{"allow all", "deny 10.0.0.0/8"}, "10.2.2.3", true, "allow all"},
		{[]string{"deny fe80::/10", "allow all"}, "fe80::1%eth0", false, "deny fe80::/10"},
		{[]string{"deny 192.0.2.7", "allow all"}, "192.0.2.7", false, "deny 192.0.2.7"},
		{[]string{"deny 192.0.2.7", "allow all"}, "192.0.2.8", true, "allow all"},
		{[]string{"deny 0.0.0.0/0", "allow all"}, "2001:db8::1", true, "allow all"},
	} {
		ok, by := accessOf(t, row.rules...).Judge(netip.MustParseAddr(row.from))
		if ok != row.ok || by != row.by {
			t.Errorf("%v, %s: %v by %q, want %v by %q", row.rules, row.from, ok, by, row.ok, row.by)
		}
	}
	if ok, _ := (*Access)(nil).Judge(netip.Addr{}); !ok {
		t.Error("a listener without a list refuses somebody")
	}
	if ok, _ := accessOf(t, "allow 10.0.0.0/8").Judge(netip.Addr{}); ok {
		t.Error("a list lets in who has no address")
	}
}

// What is compiled says the same as the rules gone through one by one.
func TestAccessLikeItsSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rules []AccessRule
		for range rapid.IntRange(1, 12).Draw(t, "rules") {
			r := AccessRule{Allow: rapid.Bool().Draw(t, "allow")}
			if rapid.IntRange(0, 7).Draw(t, "all") > 0 {
				a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 1).Draw(t, "b")), byte(rapid.IntRange(0, 1).Draw(t, "c")), byte(rapid.IntRange(0, 3).Draw(t, "d"))})
				r.Network, _ = a.Prefix(rapid.SampledFrom([]int{0, 8, 15, 16, 23, 24, 31, 32}).Draw(t, "bits"))
			}
			r.Text = r.Network.String()
			rules = append(rules, r)
		}
		compiled := NewAccess(rules)
		for range 20 {
			from := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 2).Draw(t, "b")), byte(rapid.IntRange(0, 2).Draw(t, "c")), byte(rapid.IntRange(0, 4).Draw(t, "d"))})
			want, rest := false, true
			matched := false
			for _, r := range rules {
				rest = rest && !r.Allow
				if !matched && (r.Network == netip.Prefix{} || r.Network.Contains(from)) {
					matched, want = true, r.Allow
				}
			}
			if !matched {
				want = rest
			}
			if ok, by := compiled.Judge(from); ok != want {
				t.Fatalf("%v: %v by %q, want %v; rules %v", from, ok, by, want, rules)
			}
		}
	})
}

func TestAccessDoesNotAllocate(t *testing.T) {
	a := accessOf(t, "allow 10.1.0.0/16", "deny 10.0.0.0/8", "allow fd00::/8", "deny all")
	from := netip.MustParseAddr("10.1.2.3")
	if n := testing.AllocsPerRun(100, func() { a.Judge(from) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
