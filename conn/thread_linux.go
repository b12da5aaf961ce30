package conn

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// loopSlice is the slice of a loop's thread, and the shortest that the kernel takes. Others have some three
// milliseconds.
const loopSlice = 100 * time.Microsecond

// settle is called once by the loop's goroutine, and gives it a thread of its own that the kernel lets run
// as soon as it wakes up.
//
// The kernel lets a thread that runs go on for its slice, or until the next tick, four milliseconds often,
// before one that has woken up has the processor, unless that one has a shorter slice. Its part of a busy
// processor is the same: it runs more often, and not for as long. No privilege is needed. So a loop waits neither for a
// handshake that computes nor for the collector, a password or a reload.
//
// It does so only where there is a place of the runtime to spare (docs/adr/0018). Without one the loop has to offer its
// place to those whose answers it waits for, and that costs much from a thread of its own.
func (p *epoller) settle() {
	s := p.loop.server
	if !s.spare {
		return
	}
	runtime.LockOSThread() // until it ends: the thread ends with it, and its slice
	if shorten() {
		s.first.Store(true)
	}
}

// shorten gives the calling thread the slice of a loop; false: it has it not. The kernel has no slices of threads
// (Linux before 6.12, which takes what it is told and forgets it), or a filter of system calls forbids
// it, or the thread is scheduled in another way, by somebody's will, and stays so.
func shorten() bool {
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil || a.Policy != unix.SCHED_NORMAL {
		return false
	}
	if a.Runtime == 0 || a.Runtime > uint64(loopSlice) {
		a.Runtime = uint64(loopSlice)
		if unix.SchedSetAttr(0, a, 0) != nil {
			return false
		}
	}
	a, err = unix.SchedGetAttr(0, 0)
	return err == nil && a.Runtime > 0 && a.Runtime <= uint64(loopSlice)
}

// offer lets another thread that waits for the processor have it first.
func offer() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
