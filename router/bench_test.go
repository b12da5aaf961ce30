package router

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// heap is the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fill also answers the bytes that one filter with one subscriber costs, its
// strings included.
func fill(n int, filter func(i int) string) (*Index, float64) {
	before := heap()
	x := New()
	for i := range n {
		x.Subscribe(filter(i), Subscriber{Ref: Ref{Slot: uint32(i), Gen: 1}, Opts: 1})
	}
	return x, float64(heap()-before) / float64(n)
}

func exactFilter(i int) string { return fmt.Sprintf("devices/%07d/cmd", i) }

// wildFilter makes the shapes of the comparison with other brokers.
func wildFilter(i int) string {
	if i%2 == 0 {
		return fmt.Sprintf("w/a%d/+/b%d/#", i/100, i%100)
	}
	return fmt.Sprintf("w/+/a%d/b%d/+", i/100, i%100)
}

func BenchmarkMatchExact(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			names := make([][]byte, 1024)
			for i := range names {
				names[i] = []byte(exactFilter(i * 7919 % n))
			}
			var m Matches
			i := 0
			x, bytes := fill(n, exactFilter)
			b.ReportAllocs()
			for b.Loop() {
				x.Match(names[i&1023], &m)
				if len(m.Subs) != 1 {
					b.Fatal("not found")
				}
				i++
			}
			b.ReportMetric(bytes, "B/filter")
		})
	}
}

func BenchmarkMatchWild(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			names := make([][]byte, 1024)
			for i := range names {
				k := i * 7919 % n
				names[i] = fmt.Appendf(nil, "w/a%d/x%d/b%d/t/u", k/100, i%50, k%100&^1)
			}
			var m Matches
			i := 0
			x, bytes := fill(n, wildFilter)
			b.ReportAllocs()
			for b.Loop() {
				x.Match(names[i&1023], &m)
				if len(m.Subs) != 1 {
					b.Fatal(len(m.Subs))
				}
				i++
			}
			b.ReportMetric(bytes, "B/filter")
		})
	}
}

// One device, one filter, and another shape: the fleet's usual.
func BenchmarkMatchWildPerDevice(b *testing.B) {
	x, bytes := fill(100_000, func(i int) string { return fmt.Sprintf("devices/%07d/#", i) })
	var m Matches
	name := []byte("devices/0004711/state/x")
	for b.Loop() {
		x.Match(name, &m)
	}
	if len(m.Subs) != 1 {
		b.Fatal(len(m.Subs))
	}
	b.ReportMetric(bytes, "B/filter")
}

// The most one topic name can cost, whatever has been subscribed.
func BenchmarkMatchWorst(b *testing.B) {
	x := New()
	combinations(x, 14)
	name := []byte(strings.Repeat("x/", 14) + "x")
	var m Matches
	for b.Loop() {
		x.Match(name, &m)
	}
	if !m.Truncated {
		b.Fatal("this was not the worst case")
	}
}

func BenchmarkFanOut(b *testing.B) {
	for _, filter := range []string{"fo/1", "fo/+"} {
		b.Run(filter, func(b *testing.B) {
			x := New()
			for i := range 1000 {
				x.Subscribe(filter, Subscriber{Ref: Ref{Slot: uint32(i)}})
			}
			var m Matches
			for b.Loop() {
				x.Match([]byte("fo/1"), &m)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/subscriber")
		})
	}
}

// A subscription comes and goes, in a set of that many others and among that many
// other filters: neither may show.
func BenchmarkSubscribe(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		x := New()
		for i := range n {
			x.Subscribe("all/+", Subscriber{Ref: Ref{Slot: uint32(i)}})
			x.Subscribe(exactFilter(i), Subscriber{Ref: Ref{Slot: uint32(i)}})
		}
		for _, filter := range []string{"all/+", "devices/x/cmd"} {
			b.Run(fmt.Sprintf("%s/%d", filter, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					x.Subscribe(filter, Subscriber{Ref: Ref{Home: 1}})
					x.Unsubscribe(filter, Ref{Home: 1})
				}
			})
		}
	}
}

func BenchmarkMatchParallel(b *testing.B) {
	x, _ := fill(100_000, exactFilter)
	b.RunParallel(func(pb *testing.PB) {
		var m Matches
		name := []byte(exactFilter(4711))
		for pb.Next() {
			x.Match(name, &m)
		}
	})
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{3, 100, 10_000} {
		for strategy, name := range map[Strategy]string{RoundRobin: "round_robin", Random: "random", Sticky: "sticky", HashTopic: "hash_topic"} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				g, group, _ := club(n)
				b.ReportAllocs()
				for i := uint64(0); b.Loop(); i++ {
					g.Pick(group, Choice{Strategy: strategy, Random: mix(i), Topic: i})
				}
			})
		}
	}
}

// The worst case: nobody accepts, and everybody is asked.
func BenchmarkPickNobodyAccepts(b *testing.B) {
	g, group, m := club(10_000)
	for _, m := range m {
		m.SetState(Offline)
	}
	for b.Loop() {
		g.Pick(group, Choice{})
	}
}

// A member comes and goes in a group of that many others.
func BenchmarkJoin(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, _, _ := club(n)
			m := &Member{}
			b.ReportAllocs()
			for b.Loop() {
				g.Join("g", "jobs/+", Subscriber{Ref: Ref{Home: 1}}, m)
				g.Leave("g", "jobs/+", Ref{Home: 1})
			}
		})
	}
}
