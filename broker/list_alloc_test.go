//go:build !race

package broker

import (
	"fmt"
	"testing"
)

// TestAllocWalk: a step of a list keeps nothing, whatever the home holds; what it
// shows is its caller's.
func TestAllocWalk(t *testing.T) {
	d := crowd(t)
	for i := range 5000 {
		d.enter("u", fmt.Sprint("client-", i), fmt.Sprint("open/", i))
	}
	h := d.homes[0]
	n := 0
	got := testing.AllocsPerRun(100, func() {
		h.Walk(new(Place), &Selection{Match: Pattern{}}, StepEffort, func(i SessionInfo) bool { n += i.Subscriptions; return true })
		h.WalkSubscriptions(new(Place), &SubscriptionSelection{Match: []byte("open/7")}, StepEffort, func(SubscriptionInfo) bool { n++; return true })
	})
	if got > 0 || n == 0 {
		t.Errorf("%v allocations for %d rows", got, n)
	}
}
