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
		name        string
		environment string
		set, want   int // GOMAXPROCS
	}{
		{"all processors", "", runtime.NumCPU(), runtime.NumCPU() + 1},
		{"the environment says how many", "1", runtime.NumCPU(), runtime.NumCPU()},
		{"a quota of the cgroup", "", runtime.NumCPU() + 2, runtime.NumCPU() + 2},
	} {
		t.Setenv("GOMAXPROCS", c.environment)
		spare.Store(0)
		runtime.GOMAXPROCS(c.set)
		Spare()
		Spare()
		if got := runtime.GOMAXPROCS(0); got != c.want || Count() != c.set {
			t.Errorf("%s: %d at a time, %d to deal out; want %d and %d", c.name, got, Count(), c.want, c.set)
		}
	}
}
