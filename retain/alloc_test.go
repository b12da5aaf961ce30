//go:build !race

package retain

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// A walk allocates its cursor's key, and nothing for each message.
func TestWalkAllocations(t *testing.T) {
	s := New(unlimited)
	for i := range 10_000 {
		put(t, s, frame(fmt.Sprintf("ret/%d/%d/v", i/100, i%100), "x"))
	}
	n := 0
	for _, filter := range []string{"ret/#", "ret/+/7/v", "ret/3/4/v"} {
		got := testing.AllocsPerRun(10, func() {
			var cur Cursor
			for !s.Walk(at(0), filter, &cur, 64, func(*mqtt.Frame) bool { n++; return true }) {
			}
		})
		if got > 8 {
			t.Errorf("%s: %v allocations", filter, got)
		}
	}
	if n < 11*10_101 {
		t.Errorf("%d visited", n)
	}
}
