package test

import "testing"

// What a siege takes for a leak, with figures that were seen: the same memory is garbage
// where the collector says that it may be, and held where it does not.
func TestVitals(t *testing.T) {
	const mib = 1 << 20
	calm := vitals{memory: 14 * mib, live: 3 * mib, goroutines: 30, descriptors: 30}
	for _, c := range []struct {
		what string
		now  vitals
		over bool
	}{
		{"after a storm", vitals{memory: 33 * mib, live: 5 * mib}, false},
		{"passwords, not collected yet", vitals{memory: 88 * mib, live: 28 * mib}, false},
		{"the same, collected and not returned", vitals{memory: 88 * mib, live: 5 * mib}, true},
		{"held", vitals{memory: 88 * mib, live: (5 + 44 + 8*19) * mib}, true},
		{"not of the heap", vitals{memory: 75 * mib, live: 5 * mib}, true},
		{"goroutines", vitals{memory: 14 * mib, live: 3 * mib, goroutines: 60}, true},
		{"descriptors", vitals{memory: 14 * mib, live: 3 * mib, descriptors: 60}, true},
	} {
		if c.now.over(calm) != c.over {
			t.Errorf("%s: %+v after %+v is too much: %v", c.what, c.now, calm, !c.over)
		}
	}
}
