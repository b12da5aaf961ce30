package cores

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// behindNice is by how much the part of the processor that a thread behind has is smaller: a third of that of the others, where
	// both want all they can have.
	behindNice = 5
	// behindSlice is its slice. A thread that wakes up and has a shorter one (Shorten) need not wait for the end of it, and it
	// is what a thread that offers the processor (sched_yield) lets go before it has it again where others want it.
	behindSlice = 3 * time.Millisecond
)

// Behind has the thread that calls come after the others of the process, for good: to take the nice value back is a privilege. The
// goroutine must have the thread to itself (runtime.LockOSThread). false: it is like any other, because somebody
// has decided how it is scheduled, or a filter of system calls forbids it.
//
// It is a part of the processor still, unlike with SCHED_IDLE: a thread that has none for long may hold a lock of the runtime for
// which all others wait.
func Behind() bool {
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil || a.Policy != unix.SCHED_NORMAL {
		return false
	}
	a.Nice = min(a.Nice+behindNice, 19)
	a.Runtime = uint64(behindSlice)
	return unix.SchedSetAttr(0, a, 0) == nil
}
