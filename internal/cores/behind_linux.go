package cores

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// behindNice is how much nicer than the process a thread is that is behind: beside one that is always
// busy it has a tenth of a processor.
const behindNice = 10

// niceMax is as nice as the kernel has it.
const niceMax = 19

// Behind puts the goroutine that calls behind all others of the process, for good: it has a thread of its own,
// which ends with it, and of a processor that event loops keep busy a tenth. Of one that they leave alone it has what there is. It
// is for work that takes long and has nobody waiting for it who is to be served at once: the kernel shares a processor out between
// threads alike, so that a few of those leave a loop a third of it or less, however much it has to do (docs/performance/store.md).
//
// No privilege is needed, and none would be given back. false: a filter of system calls forbids it, or the thread is
// scheduled in another way by somebody's will; then nothing has changed.
func Behind() bool {
	runtime.LockOSThread()
	if err := behind(); err != nil {
		runtime.UnlockOSThread()
		return false
	}
	return true
}

func behind() error {
	process, err := unix.SchedGetAttr(os.Getpid(), 0) // of its first thread
	if err != nil {
		return err
	}
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return err
	}
	if a.Policy != unix.SCHED_NORMAL {
		return unix.EINVAL
	}
	if nice := min(niceMax, process.Nice+behindNice); a.Nice < nice {
		a.Nice = nice
		return unix.SchedSetAttr(0, a, 0)
	}
	return nil
}
