package session

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRingTwin plays pushes and pops against a slice. What was popped must be
// gone from the buffer, too: a frame it pointed at may be another message now.
func TestRingTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring[int]
		var plain []int
		for n := range rapid.IntRange(0, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "push") > 0 {
				r.push(n + 1)
				plain = append(plain, n+1)
			} else if len(plain) > 0 {
				if got := r.pop(); got != plain[0] {
					t.Fatalf("%d, want %d", got, plain[0])
				}
				plain = plain[1:]
			}
			var got, buf []int
			for i := range r.len() {
				got = append(got, *r.at(i))
			}
			if !slices.Equal(got, plain) || r.len() > 0 && *r.front() != plain[0] {
				t.Fatalf("%v, want %v", got, plain)
			}
			if r.in != nil {
				for _, v := range r.in.buf {
					if v != 0 {
						buf = append(buf, v)
					}
				}
			}
			if len(buf) != len(plain) || len(plain) == 0 && r.in != nil {
				t.Fatalf("the buffer still holds %v, want %v", buf, plain)
			}
		}
	})
}
