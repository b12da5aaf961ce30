package cores

import (
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// threadSlice is the slice of our threads, and the shortest that the kernel takes. It gives some three milliseconds
// by itself.
const threadSlice = 100 * time.Microsecond

// Shorten has each thread of the process, and those that it begins later, let another one that wakes up have the
// processor after a tenth of a millisecond. It is called once, before there is much to do; false: it is not so.
//
// The kernel lets a thread that runs go on for its slice, or until the next tick, four milliseconds often, before
// one that has woken up has the processor. So an event loop waits for a handshake that computes, or the collector, or a
// password. With a slice as short as that it does not, and its part of a busy processor is the same. No
// privilege is needed.
//
// It is not so where the kernel has no slices of threads (Linux before 6.12, which takes what it is told and forgets
// it), where a filter of system calls forbids it, and where a thread is scheduled in another way, by
// somebody's will: that stays so.
func Shorten() bool { return everyThread(nil, shorten) }

// everyThread does something to each thread of the process but those that skip names, until there are none that have begun meanwhile, by one it was not done
// to yet. false: it could not be done to one of them.
func everyThread(skip []int, do func(id int) error) bool {
	ok := true
	var done []int
	for {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return false
		}
		before := len(done)
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil || slices.Contains(done, id) || slices.Contains(skip, id) {
				continue
			}
			if err := do(id); err != nil && err != unix.ESRCH { // it has ended
				ok = false
			}
			done = append(done, id)
		}
		if len(done) == before {
			return ok
		}
	}
}

// shorten does so for one thread; 0 is the one that calls.
func shorten(thread int) error {
	a, err := unix.SchedGetAttr(thread, 0)
	if err != nil {
		return err
	}
	if a.Policy != unix.SCHED_NORMAL {
		return unix.EINVAL
	}
	if a.Runtime != 0 && a.Runtime <= uint64(threadSlice) {
		return nil
	}
	a.Runtime = uint64(threadSlice)
	if err := unix.SchedSetAttr(thread, a, 0); err != nil {
		return err
	}
	if a, err = unix.SchedGetAttr(thread, 0); err == nil && a.Runtime != uint64(threadSlice) {
		return unix.ENOTSUP
	}
	return err
}
