package cores

import (
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who is first has a thread that stays as it is; all others come after it, those that begin later as well, and it becomes one of them
// when it leaves.
func TestFirstAndOthers(t *testing.T) {
	process, slices := scheduled(t, os.Getpid()), hasSlices(t)
	others := min(niceMax, process.Nice+otherNice)
	aside(func() {
		before := scheduled(t, 0)
		leave := First()
		if !Others() || !Others() { // the second time nothing is left to do
			t.Error("the others are not behind")
			return
		}
		if after := scheduled(t, 0); after != before {
			t.Errorf("who is first: %+v, it was %+v", after, before)
		}
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Error(err)
			return
		}
		for _, of := range threads {
			id, _ := strconv.Atoi(of.Name())
			if id == os.Getpid() || id == unix.Gettid() {
				continue
			}
			if a, err := unix.SchedGetAttr(id, 0); err == nil && (a.Nice < others || slices && a.Nice == others && a.Runtime != uint64(otherSlice)) {
				t.Errorf("thread %d: %+v", id, *a)
			}
		}
		for range 4 {
			aside(func() { // begun for who is first
				if a := scheduled(t, 0); a.Nice != others || slices && a.Runtime != uint64(otherSlice) {
					t.Errorf("a thread that began later: %+v", a)
				}
				Behind(2 * time.Millisecond)
				if a := scheduled(t, 0); a.Nice != min(niceMax, process.Nice+behindNice) {
					t.Errorf("who is behind has a nice value of %d", a.Nice)
				}
			})
		}
		if leave(); scheduled(t, 0).Nice != others {
			t.Errorf("who has left: %+v", scheduled(t, 0))
		}
	})
	if a := scheduled(t, os.Getpid()); a != process {
		t.Errorf("the process: %+v, it was %+v", a, process)
	}
}

// A thread that somebody schedules in another way stays as it is, which is told; the others are behind all the same.
func TestOthersLeaveAPolicyAlone(t *testing.T) {
	aside(func() {
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH}, 0); err != nil {
			t.Error(err)
			return
		}
		before := scheduled(t, 0)
		if Others() {
			t.Error("all others are behind, one of them by another policy")
		}
		if after := scheduled(t, 0); after != before {
			t.Errorf("%+v, it was %+v", after, before)
		}
	})
}
