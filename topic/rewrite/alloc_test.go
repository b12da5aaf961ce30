//go:build !race

package rewrite

import "testing"

// Rules that are about other topics cost no allocation, which is nearly every
// message's case.
func TestAllocNothingMatches(t *testing.T) {
	r := mustCompile(t, Rule{All, "old/#", "^old/(.*)$", "new/$1"}, Rule{All, "+/old", "(.*)", "new"})
	name, filter := []byte("devices/1/state"), "devices/+/state"
	var dst []byte
	if n := testing.AllocsPerRun(100, func() { _, _, _ = r.Publish(dst, name, ann) }); n != 0 {
		t.Errorf("Publish allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = r.Subscribe(filter, ann) }); n != 0 {
		t.Errorf("Subscribe allocates %v times", n)
	}
}
