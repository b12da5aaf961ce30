package cores

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// firsts are the threads that come first.
var firsts struct {
	mu  sync.Mutex // guards everything below
	ids []int
}

// otherNice is by how much the threads that are not first are nicer than the process, and otherSlice their slice.
const (
	otherNice  = 5
	otherSlice = time.Millisecond
)

// First gives the goroutine that calls a thread of its own, which Others does not put behind, until leave. It is for event loops: they
// have little to do at a time, and clients wait for it.
func First() (leave func()) {
	runtime.LockOSThread()
	id := unix.Gettid()
	firsts.mu.Lock()
	defer firsts.mu.Unlock()
	firsts.ids = append(firsts.ids, id)
	return func() {
		firsts.mu.Lock()
		defer firsts.mu.Unlock()
		firsts.ids = slices.DeleteFunc(firsts.ids, func(first int) bool { return first == id })
		_ = other(0, os.Getpid())
		runtime.UnlockOSThread()
	}
}

// Others has all other threads of the process come after those that are first, for good, and those that begin later: the collector's, which
// would have as much of a processor as an event loop and could not be interrupted before the kernel's next tick, 4 ms later, and whoever
// else computes. They are nicer than the process and have a longer slice, so that a loop that wakes up need not wait for the end of
// it. Beside a loop that is always busy each of them has a quarter of a processor: what loops wait for, the log for one, must go on.
//
// The runtime begins new threads from one that is not first: who has a thread of its own does not begin any. The first thread of the
// process stays as it is (Behind says why). false: a filter of system calls forbids it, or a thread is scheduled in another way by somebody's
// will; those that could be put behind are.
func Others() bool {
	firsts.mu.Lock()
	defer firsts.mu.Unlock()
	process := os.Getpid()
	return everyThread(append([]int{process}, firsts.ids...), func(id int) error { return other(id, process) })
}

// other puts one thread behind; 0 is the one that calls.
func other(thread, process int) error { return nicer(thread, process, otherNice, otherSlice) }
