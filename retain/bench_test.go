package retain

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func name(i int) string { return fmt.Sprintf("ret/%d/%d/v", i/1000, i%1000) }

// fill also answers the bytes that a message of 64 B costs, frame included.
func fill(b *testing.B, n int) (*Store, float64) {
	payload := strings.Repeat("x", 64)
	before := heap()
	s := New(unlimited)
	for i := range n {
		put(b, s, frame(name(i), payload))
	}
	return s, float64(heap()-before) / float64(n)
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, bytes := fill(b, n)
			i := 0
			for b.Loop() {
				put(b, s, frame(name(i*7919%n), "new"))
				i++
			}
			b.ReportMetric(bytes, "B/message")
		})
	}
}

func BenchmarkWalk(b *testing.B) {
	s, _ := fill(b, 100_000)
	for _, filter := range []string{"ret/#", "ret/+/+/v", "ret/+/7/v", "ret/5/#", "ret/5/7/v"} {
		b.Run(filter, func(b *testing.B) {
			visited := 0
			for b.Loop() {
				var cur Cursor
				for !s.Walk(at(0), filter, &cur, 64, func(*mqtt.Frame) bool { visited++; return true }) {
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(visited), "ns/message")
		})
	}
}
