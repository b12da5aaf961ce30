//go:build !race

package auth

import (
	"testing"
)

// The budget of the publish path: a judgement allocates nothing, cached or not.
func TestJudgementsAllocateNothing(t *testing.T) {
	p, by := thousand(t), who("u500", "c1")
	c := NewCache(64)
	topic := []byte("devices/u500/temp")
	for name, f := range map[string]func(){
		"publish":         func() { p.Decide(by, Access{Action: Publish, Topic: topic, QoS: 1}) },
		"delivery":        func() { p.DecideDelivery(by, topic) },
		"cached publish":  func() { c.Decide(p, 1, by, Access{Action: Publish, Topic: topic}) },
		"cached delivery": func() { c.DecideDelivery(p, 1, by, topic) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if !p.Decide(by, Access{Action: Publish, Topic: topic}).Allow {
		t.Error("the judged access is not the allowed one, so the walk was short")
	}
}
