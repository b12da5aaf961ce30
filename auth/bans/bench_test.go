package bans

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
)

// hundred is 100,000 bans: a fifth each of clients, clients of an identity, users,
// addresses and networks.
func hundred(t testing.TB) *Bans {
	b, _ := open(t)
	list := make([]*Ban, 0, Max)
	for i := range Max / 5 {
		n := fmt.Sprintf("%05d", i)
		list = append(list, &Ban{As: ClientID, Who: "client-" + n, By: "uid 0", Reason: "bench"}, &Ban{As: ClientID, Who: "shared-" + n, Identity: "user-" + n},
			&Ban{As: Username, Who: "user-x-" + n}, &Ban{As: Peerhost, Who: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}).String()},
			&Ban{As: PeerhostNet, Who: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 0}), 24).String()})
	}
	if _, err := b.Add(list, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLookupsAllocateNothing(t *testing.T) {
	b := hundred(t)
	p, a := client("client-x", "user-y", "192.0.2.1"), netip.MustParseAddr("192.0.2.1")
	hit := netip.MustParseAddr("100.1.1.9")
	if n := testing.AllocsPerRun(1000, func() {
		if b.Judge(noon, p) != nil || b.Address(noon, a) != nil || b.Address(noon, hit) == nil {
			t.Fatal("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkJudge100k(b *testing.B) {
	set := hundred(b)
	p := client("client-x", "user-y", "192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		set.Judge(noon, p)
	}
}

func BenchmarkAddress100k(b *testing.B) {
	set := hundred(b)
	a := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		set.Address(noon, a)
	}
}

func BenchmarkThousandPatterns(b *testing.B) {
	set, _ := open(b)
	for i := range PatternsMax {
		_, _ = set.Add([]*Ban{ban(b, ClientIDRe, fmt.Sprintf("^fleet-%d-[0-9]+$", i))}, nil)
	}
	p := client("fleet-x-17", "user-y", "192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		set.Judge(noon, p)
	}
}

func BenchmarkMemory100k(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var set *Bans
	for b.Loop() {
		set = hundred(b)
		set.ledger.keeper.(*vault).kept = nil
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/Max, "B/ban")
	runtime.KeepAlive(set)
}
