package cores

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who is behind is nicer than the process and keeps its slice, or has the one it is given. No other thread is, those that begin later
// neither.
func TestBehind(t *testing.T) {
	process, slices := scheduled(t, os.Getpid()), hasSlices(t)
	aside(func() {
		before := scheduled(t, 0)
		if !Behind(0) || !Behind(0) { // the second time nothing is left to do
			t.Error("it is not behind")
			return
		}
		after := scheduled(t, 0)
		if want := min(niceMax, process.Nice+behindNice); after.Nice != want {
			t.Errorf("a nice value of %d, want %d", after.Nice, want)
		}
		if after.Nice = before.Nice; after != before {
			t.Errorf("%+v, it was %+v", after, before)
		}
		if !Behind(7 * time.Millisecond) {
			t.Error("it has no slice of its own")
		}
		if a := scheduled(t, 0); a.Nice != min(niceMax, process.Nice+behindNice) || slices && a.Runtime != uint64(7*time.Millisecond) {
			t.Errorf("nice %d, a slice of %d ns", a.Nice, a.Runtime)
		}
		aside(func() {
			if a := scheduled(t, 0); a.Nice != before.Nice {
				t.Errorf("a thread that somebody behind began has a nice value of %d, want %d", a.Nice, before.Nice)
			}
		})
	})
	if a := scheduled(t, os.Getpid()); a != process {
		t.Errorf("the process: %+v, it was %+v", a, process)
	}
}

// A thread that somebody schedules in another way stays as it is.
func TestBehindLeavesAPolicyAlone(t *testing.T) {
	aside(func() {
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH}, 0); err != nil {
			t.Error(err)
			return
		}
		before := scheduled(t, 0)
		if Behind(time.Millisecond) {
			t.Error("it is behind, by another policy")
		}
		if after := scheduled(t, 0); after != before {
			t.Errorf("%+v, it was %+v", after, before)
		}
	})
}
