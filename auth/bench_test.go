package auth

import (
	"fmt"
	"testing"
)

// thousand is a policy as an operator with many exceptions has it: a rule for each
// of 1,000 users, 20 for everybody, and the grant of one's own devices last.
func thousand(t testing.TB) *Policy {
	var specs []RuleSpec
	for i := range 1000 {
		s := deny(fmt.Sprintf("plant/%d/#", i))
		s.Users = []string{fmt.Sprintf("u%d", i)}
		specs = append(specs, s)
	}
	for i := range 20 {
		specs = append(specs, deny(fmt.Sprintf("devices/+/closed%d", i)))
	}
	return compile(t, append(specs, allow("devices/${username}/#"))...)
}

func BenchmarkDecide(b *testing.B) {
	p, by, a := thousand(b), who("u500", "c1"), Access{Action: Publish, Topic: []byte("devices/u500/temp")}
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(by, a)
	}
}

func BenchmarkDecideCached(b *testing.B) {
	p, by, a := thousand(b), who("u500", "c1"), Access{Action: Publish, Topic: []byte("devices/u500/temp")}
	c := NewCache(1024)
	b.ReportAllocs()
	for b.Loop() {
		c.Decide(p, 1, by, a)
	}
}
