package cores

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Who is behind is nicer than the process by ten and keeps its slice. No other thread is, those that begin later
// neither.
func TestBehind(t *testing.T) {
	process := scheduled(t, os.Getpid())
	aside(func() {
		before := scheduled(t, 0)
		if !Behind() || !Behind() { // the second time nothing is left to do
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
		if Behind() {
			t.Error("it is behind, by another policy")
		}
		if after := scheduled(t, 0); after != before {
			t.Errorf("%+v, it was %+v", after, before)
		}
	})
}
