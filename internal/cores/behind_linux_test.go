package cores

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A thread that is behind has a smaller part of the processor, and a longer slice than those who interrupt it.
func TestBehind(t *testing.T) {
	slices := hasSlices(t)
	aside(func() {
		before := scheduled(t, 0)
		if !Behind() {
			t.Error("it is like any other")
		}
		after := scheduled(t, 0)
		if after.Nice != min(before.Nice+behindNice, 19) || slices && (after.Runtime != uint64(behindSlice) || after.Runtime <= uint64(threadSlice)) {
			t.Errorf("nice %d and slice %d ns, before %d and %d", after.Nice, after.Runtime, before.Nice, before.Runtime)
		}
		for range 10 {
			Behind()
		}
		if a := scheduled(t, 0); a.Nice != 19 {
			t.Errorf("nice %d in the end", a.Nice)
		}
	})
}

// Who is scheduled in another way, because somebody wants it so, stays as it is.
func TestBehindLeavesAPolicyAlone(t *testing.T) {
	aside(func() {
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH}, 0); err != nil {
			t.Error(err)
			return
		}
		before := scheduled(t, 0)
		if Behind() {
			t.Error("it was put behind")
		}
		if after := scheduled(t, 0); after != before {
			t.Errorf("%+v, before %+v", after, before)
		}
	})
}
