package conn

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// giveWay has a handshake that computes give way to an event loop that wakes up.
// The kernel lets a thread that runs go on for a slice, or until the next tick,
// four milliseconds often, before one that has woken up has the processor; and to
// the kernel one handshake after the other on the same thread is one that runs. A
// thread with a longer slice has no such protection from threads with a shorter
// one, and its part of a busy processor is the same: it runs less often, and for
// longer. No privilege is needed, as it would be for a priority that is taken back.
//
// It does so only while clients who are in are served: a storm of connects alone costs 9 to 17 % less
// where the loop finds much each time it comes.
//
// Where the kernel has no slices of threads (Linux before 6.12), or a filter of
// system calls forbids it, the thread offers the processor after each turn.
//
// It belongs to one turn of one handshake, and its goroutine stays on its thread
// for that time: nothing is waited for in a turn.
type giveWay struct {
	gives  bool            // in this turn
	before *unix.SchedAttr // of the thread; nil: it was left as it is
}

// shakeSlice is several times the kernel's own for any number of processors.
const shakeSlice = 20 * time.Millisecond

// enter begins a turn.
func (g *giveWay) enter() {
	if g.gives = true; !hasSlices() {
		return
	}
	runtime.LockOSThread()
	before, err := lengthen()
	if err != nil || before == nil {
		runtime.UnlockOSThread()
		return
	}
	g.before = before
}

// leave ends it.
func (g *giveWay) leave() {
	if !g.gives {
		return
	}
	if g.gives = false; g.before == nil {
		offer()
		return
	}
	_ = unix.SchedSetAttr(0, g.before, 0) // as it was, which is allowed
	g.before = nil
	runtime.UnlockOSThread()
}

// offer lets another thread that waits for the processor have it first.
func offer() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// lengthen gives the thread a long slice, and answers what it had; nil: it is not
// scheduled as threads usually are, by somebody's will, and stays so.
func lengthen() (before *unix.SchedAttr, err error) {
	before, err = unix.SchedGetAttr(0, 0)
	if err != nil || before.Policy != unix.SCHED_NORMAL || before.Runtime >= uint64(shakeSlice) {
		return nil, err
	}
	long := *before
	long.Runtime = uint64(shakeSlice)
	if err := unix.SchedSetAttr(0, &long, 0); err != nil {
		return nil, err
	}
	return before, nil
}

// hasSlices tells whether the kernel has them. An older one takes what it is told and
// forgets it.
var hasSlices = sync.OnceValue(func() bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := lengthen()
	if err != nil || before == nil {
		return false
	}
	now, err := unix.SchedGetAttr(0, 0)
	_ = unix.SchedSetAttr(0, before, 0)
	return err == nil && now.Runtime == uint64(shakeSlice)
})
