package bench

import "testing"

// What a stranger takes may be less than nothing, and is nothing at all only where it could not be read.
func TestMemoryOfAStranger(t *testing.T) {
	for name, c := range map[string]struct {
		open, before, after int64
		want                int64
		none                bool
	}{
		"grew":             {10, 1000, 1500, 50, false},
		"shrank":           {10, 1000, 900, -10, false},
		"as it was":        {10, 1000, 1000, 0, false},
		"nobody is there":  {0, 1000, 1500, 0, true},
		"not read before":  {10, 0, 1500, 0, true},
		"not read at last": {10, 1000, 0, 0, true},
	} {
		got := perStranger(c.open, c.before, c.after)
		if (got == nil) != c.none || got != nil && *got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
