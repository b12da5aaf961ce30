package cores

import (
	"runtime"
	"testing"
)

// What there is to deal out is the same with the spare place as without.
func TestSpare(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer func() { spare.Store(0); runtime.GOMAXPROCS(before) }()
	for _, c := range []struct {
		name      string
		said      bool
		set, want int // GOMAXPROCS
	}{
		{"all processors", false, runtime.NumCPU(), runtime.NumCPU() + 1},
		{"the environment says how many", true, runtime.NumCPU(), runtime.NumCPU()},
		{"a quota of the cgroup", false, runtime.NumCPU() + 2, runtime.NumCPU() + 2},
	} {
		spare.Store(0)
		runtime.GOMAXPROCS(c.set)
		Spare(c.said)
		Spare(c.said)
		if got := runtime.GOMAXPROCS(0); got != c.want || Count() != c.set {
			t.Errorf("%s: %d at a time, %d to deal out; want %d and %d", c.name, got, Count(), c.want, c.set)
		}
	}
}
