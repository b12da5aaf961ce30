package cores

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// niceMax is as nice as the kernel has it.
const niceMax = 19

// behindNice is by how much a thread that is behind is nicer than the process: more than the others (Others).
const behindNice = 7

// Behind puts the goroutine that calls behind all others of the process, for good: it has a thread of its own, which ends with it, and
// which is nicer than the process. Beside one that is always busy such a thread has a sixth of a processor; of one that is
// left alone it has what there is. It is for work that takes long and that nobody who is served waits for: the kernel shares a
// processor out between threads alike, so that a few of those leave an event loop a third of it or less, however much it has to do.
// A part it has still, unlike with SCHED_IDLE: a thread that has none for long may hold a lock of the runtime for which all
// others wait.
//
// All of that work is behind, by the same: it has places of the runtime while it does not run, and if some of it came before the rest, the loops would
// wait with the rest for a place. So a program of the usual priority that wants the processor all the time, in the same group of the
// scheduler (a service of systemd and a container are groups of their own), holds up loops as well.
//
// slice is the slice of its thread, 0 for that of the others. One that wakes up and has a shorter one (Shorten) need not wait for the
// end of it, and it is what a thread that offers the processor (sched_yield) lets go before it has it again where others want it.
//
// No privilege is needed, and none would be given back. false: a filter of system calls forbids it, or the thread is
// scheduled in another way by somebody's will; then nothing has changed. The program must keep the first thread of the process to
// its main goroutine: that thread never ends, and its nice value is taken for that of the process.
func Behind(slice time.Duration) bool {
	runtime.LockOSThread()
	if err := behind(slice); err != nil {
		runtime.UnlockOSThread()
		return false
	}
	return true
}

func behind(slice time.Duration) error { return nicer(0, os.Getpid(), behindNice, slice) }

// nicer gives a thread, 0 is the one that calls, a nice value of so much more than the process has, unless it has more, and a slice
// if there is one to give.
func nicer(thread, process int, by int32, slice time.Duration) error {
	p, err := unix.SchedGetAttr(process, 0) // of its first thread
	if err != nil {
		return err
	}
	a, err := unix.SchedGetAttr(thread, 0)
	if err != nil {
		return err
	}
	if a.Policy != unix.SCHED_NORMAL {
		return unix.EINVAL
	}
	if slice > 0 {
		a.Runtime = uint64(slice)
	}
	a.Nice = max(a.Nice, min(niceMax, p.Nice+by))
	return unix.SchedSetAttr(thread, a, 0)
}
