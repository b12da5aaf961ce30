package cores

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The first thread of a process never ends while the process is there: it stays with the goroutine that runs the tests.
func init() { runtime.LockOSThread() }

// scheduled is how the kernel schedules a thread; 0 is the one that calls.
func scheduled(t *testing.T, thread int) unix.SchedAttr {
	t.Helper()
	a, err := unix.SchedGetAttr(thread, 0)
	if err != nil {
		t.Error(err)
		return unix.SchedAttr{}
	}
	return *a
}

// aside runs f on a thread that ends with it, and waits for that.
func aside(f func()) {
	thread := make(chan int)
	go func() {
		runtime.LockOSThread()
		f()
		thread <- unix.Gettid()
	}()
	for dir := "/proc/self/task/" + strconv.Itoa(<-thread); ; runtime.Gosched() {
		if _, err := os.Stat(dir); err != nil {
			return
		}
	}
}

// hasSlices tells whether the kernel remembers the slice of a thread (Linux 6.12).
func hasSlices(t *testing.T) (has bool) {
	aside(func() {
		a := scheduled(t, 0)
		a.Runtime = uint64(10 * time.Millisecond)
		has = unix.SchedSetAttr(0, &a, 0) == nil && scheduled(t, 0).Runtime == a.Runtime
	})
	return has
}

// Who is scheduled in another way, because somebody wants it so, stays as it is; and then not all are short.
func TestShortenLeavesAPolicyAlone(t *testing.T) {
	aside(func() {
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH}, 0); err != nil {
			t.Error(err)
			return
		}
		before := scheduled(t, 0)
		if Shorten() {
			t.Error("all threads are short, one of them by another policy")
		}
		if after := scheduled(t, 0); after != before {
			t.Errorf("%+v, it was %+v", after, before)
		}
	})
}

// Threads that are there have the short slice, and those that begin later. A kernel that knows none gets none.
func TestShorten(t *testing.T) {
	has := hasSlices(t)
	for range 2 {
		if got := Shorten(); got != has {
			t.Fatalf("short: %t; the kernel has slices: %t", got, has)
		}
	}
	if !has {
		return
	}
	var here, all sync.WaitGroup
	here.Add(20)
	for range 20 {
		all.Go(func() {
			runtime.LockOSThread()
			here.Done()
			here.Wait() // on threads of their own, some of them new
			if a := scheduled(t, 0); a.Runtime != uint64(threadSlice) || a.Policy != unix.SCHED_NORMAL {
				t.Errorf("a thread that began later: %+v", a)
			}
		})
	}
	all.Wait()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range threads {
		id, _ := strconv.Atoi(of.Name())
		if a, err := unix.SchedGetAttr(id, 0); err == nil && a.Runtime != uint64(threadSlice) {
			t.Errorf("thread %d: %+v", id, *a)
		}
	}
}
